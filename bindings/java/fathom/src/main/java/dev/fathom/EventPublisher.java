package dev.fathom;

import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Pushes the events of one stream to one subscriber, as many as it requests. */
final class EventPublisher implements Flow.Publisher<Event> {
    private final EventStream stream;
    private final Executor executor;
    private final AtomicBoolean subscribed = new AtomicBoolean();

    EventPublisher(EventStream stream, Executor executor) {
        this.stream = stream;
        this.executor = executor;
    }

    @Override
    public void subscribe(Flow.Subscriber<? super Event> subscriber) {
        if (!subscribed.compareAndSet(false, true)) {
            subscriber.onSubscribe(new Flow.Subscription() {
                @Override
                public void request(long count) {}

                @Override
                public void cancel() {}
            });
            subscriber.onError(new IllegalStateException("a stream has one subscriber"));
            return;
        }
        Delivery delivery = new Delivery(stream, executor, subscriber);
        try {
            subscriber.onSubscribe(delivery);
        } catch (Throwable failure) {
            delivery.cancel();
            throw failure;
        }
        delivery.begin();
    }

    /**
     * Runs on the executor whenever there is something to deliver and somebody who asked for it;
     * never on two threads at once. Between times it is nothing but an entry of the waiter.
     */
    private static final class Delivery implements Flow.Subscription, Runnable {
        private final EventStream stream;
        private final Executor executor;
        private final Flow.Subscriber<? super Event> subscriber;
        private final AtomicLong requested = new AtomicLong();
        // Wishes to run that were not yet granted; the one who makes it 1 calls the executor.
        private final AtomicInteger wishes = new AtomicInteger(1); // begin() is awaited.
        private final Runnable ready = this::wish;
        private volatile boolean cancelled;
        private volatile Throwable refused;
        private boolean ended; // Of run() alone.

        Delivery(EventStream stream, Executor executor, Flow.Subscriber<? super Event> subscriber) {
            this.stream = stream;
            this.executor = executor;
            this.subscriber = subscriber;
        }

        /** From here on, and not inside onSubscribe(), events may come. */
        void begin() {
            stream.watch.add(ready);
            execute();
        }

        @Override
        public void request(long count) {
            if (count <= 0) {
                refused = new IllegalArgumentException("requested " + count + ", wanted 1 or more");
            } else {
                requested.accumulateAndGet(count, (now, more) ->
                        now + more < 0 ? Long.MAX_VALUE : now + more);
            }
            wish();
        }

        @Override
        public void cancel() {
            cancelled = true;
            stream.cancel();
            wish();
        }

        private void wish() {
            if (wishes.getAndIncrement() == 0) {
                execute();
            }
        }

        private void execute() {
            try {
                executor.execute(this);
            } catch (Throwable failure) {
                // The executor was shut down: nobody is left to tell the subscriber.
                stream.close();
                throw failure;
            }
        }

        @Override
        public void run() {
            int seen = wishes.get();
            do {
                if (!ended) {
                    deliver();
                }
                seen = wishes.addAndGet(-seen);
            } while (seen != 0);
        }

        private void deliver() {
            try {
                while (true) {
                    if (cancelled) {
                        end();
                        return;
                    }
                    if (refused != null) {
                        end();
                        subscriber.onError(refused);
                        return;
                    }
                    if (requested.get() == 0) {
                        return;
                    }
                    Event event = stream.read();
                    if (event == null) {
                        stream.watch.arm(stream.handle);
                        return;
                    }
                    requested.accumulateAndGet(1, (now, one) ->
                            now == Long.MAX_VALUE ? now : now - one);
                    subscriber.onNext(event);
                    if (event instanceof Event.Done) {
                        end();
                        subscriber.onComplete();
                        return;
                    }
                }
            } catch (Throwable failure) {
                fail(failure);
            }
        }

        /** A subscriber that throws, or a stream that was closed by somebody else. */
        private void fail(Throwable failure) {
            boolean first = !ended;
            end();
            try {
                if (first && !cancelled) {
                    subscriber.onError(failure);
                }
            } catch (Throwable worse) {
                Thread thread = Thread.currentThread();
                thread.getUncaughtExceptionHandler().uncaughtException(thread, worse);
            }
        }

        private void end() {
            ended = true;
            stream.watch.remove(ready);
            stream.close();
        }
    }
}
