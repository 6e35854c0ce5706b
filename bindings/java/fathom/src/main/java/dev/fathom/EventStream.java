package dev.fathom;

import static dev.fathom.Library.RAW;

import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Flow;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * One answer on its way. It has one consumer, who pulls with next(), events() or text(), or has it
 * pushed with publisher() or answer(). While a consumer is slow, the library holds a few dozen
 * events and computes no more of this answer. cancel() and usage() are for any thread.
 */
public final class EventStream implements AutoCloseable {
    final Handle handle;
    final Watch watch;
    private final EventReader reader = new EventReader();
    private final AtomicBoolean reading = new AtomicBoolean();

    EventStream(long address, Handle.Lease lease) {
        Watch shared = new Watch();
        watch = shared;
        handle = new Handle("stream", address, lease, stream -> {
            shared.end();
            RAW.streamRelease(stream);
        }).ownedBy(this);
    }

    /**
     * Waits for the next event. An interrupt cancels the stream and ends the wait with {@link
     * Status#CANCELLED}; the thread stays interrupted. Behind {@link Event.Done} this fails with
     * {@link Status#BAD_STATE}.
     */
    public Event next() {
        return next(-1L);
    }

    /** As next(), or empty when the time is over first. */
    public Optional<Event> next(Duration timeout) {
        return Optional.ofNullable(next(Struct.nanoseconds(timeout)));
    }

    /** As next() without waiting. */
    public Optional<Event> poll() {
        return Optional.ofNullable(read());
    }

    /** {@code timeout} as the library counts it: -1 is for ever. */
    private Event next(long timeout) {
        long start = System.nanoTime();
        Watch.Waiting waiting = null;
        try {
            while (true) {
                if (Thread.interrupted()) {
                    cancel();
                    Thread.currentThread().interrupt();
                    throw new FathomException(Status.CANCELLED,
                            "stream: interrupted, and cancelled for it");
                }
                Event event = read();
                if (event != null || timeout == 0) {
                    return event;
                }
                long left = timeout == -1 ? -1 : timeout - (System.nanoTime() - start);
                if (left <= 0 && timeout != -1) {
                    return null;
                }
                if (waiting == null) {
                    waiting = new Watch.Waiting(Thread.currentThread());
                    watch.add(waiting);
                }
                waiting.prepare();
                watch.arm(handle);
                waiting.park(left);
            }
        } finally {
            if (waiting != null) {
                watch.remove(waiting);
            }
        }
    }

    /** The next event if there is one, else null. Never blocks. */
    Event read() {
        if (!reading.compareAndSet(false, true)) {
            throw new FathomException(Status.BUSY, "stream: another thread reads it");
        }
        try {
            long stream = handle.enter();
            try {
                return reader.read(stream);
            } finally {
                handle.leave();
            }
        } finally {
            reading.set(false);
        }
    }

    /** All events up to and with {@link Event.Done}. Closing it closes this stream. */
    public Stream<Event> events() {
        Iterator<Event> iterator = new Iterator<>() {
            private boolean done;

            @Override
            public boolean hasNext() {
                return !done;
            }

            @Override
            public Event next() {
                if (done) {
                    throw new NoSuchElementException("the last event was delivered");
                }
                Event event = EventStream.this.next();
                done = event instanceof Event.Done;
                return event;
            }
        };
        int traits = Spliterator.ORDERED | Spliterator.NONNULL | Spliterator.IMMUTABLE;
        return StreamSupport.stream(Spliterators.spliteratorUnknownSize(iterator, traits), false)
                .onClose(this::close);
    }

    /** The pieces of the answer alone. Fails when the answer does. Closing it closes this. */
    public Stream<String> text() {
        return events().mapMulti((event, out) -> {
            if (event instanceof Event.Text piece) {
                out.accept(piece.text());
            } else if (event instanceof Event.Done done) {
                Failed.check(done);
            }
        });
    }

    /** As publisher(Executor) on the common pool. */
    public Flow.Publisher<Event> publisher() {
        return publisher(ForkJoinPool.commonPool());
    }

    /**
     * The events, as many as are requested, for one subscriber, who is called by {@code executor}.
     * What is not requested stays in the library, and a full queue there holds up this answer
     * alone. The subscription closes the stream at its end, whatever that is.
     */
    public Flow.Publisher<Event> publisher(Executor executor) {
        return new EventPublisher(this, executor);
    }

    /**
     * The whole answer. Fails with {@link FathomException} when the answer does. Cancelling the
     * future cancels the stream, which is closed at the end.
     */
    public CompletableFuture<Answer> answer() {
        return AnswerCollector.collect(this);
    }

    /** Asks the stream to end within one step. {@link Event.Done} follows. */
    public void cancel() {
        long stream;
        try {
            stream = handle.enter();
        } catch (FathomException closed) {
            return; // It was cancelled when it was closed.
        }
        RAW.streamCancel(stream);
        handle.leave();
    }

    /** The stream's counts, final once finished. */
    public Usage usage() {
        long stream = handle.enter();
        try {
            return EventReader.usage(stream);
        } finally {
            handle.leave();
        }
    }

    /** Cancels what still runs. A reader in another thread is woken and fails. */
    @Override
    public void close() {
        cancel();
        handle.close();
        watch.run();
    }
}
