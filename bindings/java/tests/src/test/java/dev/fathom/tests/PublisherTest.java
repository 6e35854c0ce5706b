package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.Session;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Flow;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class PublisherTest {
    // Events that the library holds for a reader who does not come.
    private static final int QUEUE = 64;
    private static Demo demo;

    @BeforeAll
    static void open() {
        demo = Demo.threaded();
    }

    @AfterAll
    static void close() {
        demo.awaitNoPages();
        demo.close();
    }

    /** Notes what it is told, and whether two threads told it at once. */
    private static class Recorder implements Flow.Subscriber<Event> {
        final List<Event> events = Collections.synchronizedList(new ArrayList<>());
        final AtomicInteger inside = new AtomicInteger();
        volatile Flow.Subscription subscription;
        volatile Throwable failure;
        volatile boolean complete;
        volatile boolean overlapped;

        @Override
        public void onSubscribe(Flow.Subscription given) {
            subscription = given;
        }

        @Override
        public void onNext(Event event) {
            overlapped |= inside.getAndIncrement() != 0;
            events.add(event);
            inside.getAndDecrement();
        }

        @Override
        public void onError(Throwable given) {
            failure = given;
        }

        @Override
        public void onComplete() {
            complete = true;
        }
    }

    // If this fails, a subscriber that requests one by one gets more, fewer, or in wrong order.
    @Test
    void deliversWhatIsRequested() {
        try (Session session = demo.model.newSession()) {
            Recorder recorder = new Recorder();
            demo.ask(session, null).publisher().subscribe(recorder);
            for (int i = 1; !recorder.complete; i++) {
                int wanted = i;
                recorder.subscription.request(1);
                Demo.await("event " + i,
                        () -> recorder.events.size() == wanted || recorder.complete);
                assertTrue(recorder.events.size() <= wanted);
            }
            for (int i = 0; i < recorder.events.size(); i++) {
                assertEquals(i, recorder.events.get(i).sequence());
            }
            assertInstanceOf(Event.Done.class, recorder.events.get(recorder.events.size() - 1));
            assertNull(recorder.failure);
        }
    }

    // If this fails, back-pressure ends somewhere on the way and the model computes for nobody.
    @Test
    void backPressureReachesTheModel() {
        try (Demo manual = Demo.manual();
                Session session = manual.model.newSession()) {
            Recorder recorder = new Recorder();
            manual.endless(session).publisher().subscribe(recorder);
            recorder.subscription.request(10);
            for (int i = 0; i < 300; i++) {
                manual.engine.step(Duration.ZERO);
            }
            Demo.await("10 events", () -> recorder.events.size() == 10);
            for (int i = 0; i < 300; i++) {
                manual.engine.step(Duration.ZERO);
            }
            assertEquals(10, recorder.events.size());
            long computed = manual.engine.stats().decodeTokens();
            assertTrue(computed <= 10 + QUEUE, computed + " tokens for 10 requested events");
            recorder.subscription.request(20);
            Demo.await("20 more", () -> recorder.events.size() == 30);
            manual.engine.step(Duration.ZERO);
            assertTrue(manual.engine.stats().decodeTokens() > computed);
            recorder.subscription.cancel();
            manual.engine.step(Duration.ZERO);
            Demo.await("the stream to end", () -> !session.describe().running());
        }
    }

    // If this fails, requests from many threads at once are lost or deliveries overlap.
    @Test
    void requestsFromManyThreads() throws InterruptedException {
        try (Session session = demo.model.newSession()) {
            Recorder recorder = new Recorder();
            demo.endless(session).publisher(command -> new Thread(command).start())
                    .subscribe(recorder);
            Thread[] threads = new Thread[8];
            for (int i = 0; i < threads.length; i++) {
                threads[i] = new Thread(() -> {
                    for (int n = 0; n < 25; n++) {
                        recorder.subscription.request(1);
                    }
                });
                threads[i].start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
            Demo.await("200 events", () -> recorder.events.size() == 200);
            assertEquals(false, recorder.overlapped);
            recorder.subscription.cancel();
        }
    }

    // If this fails, a subscriber that throws is called again, or leaves its pages behind.
    @Test
    void throwingSubscriberEndsItsStreamAlone() {
        try (Session session = demo.model.newSession()) {
            Recorder recorder = new Recorder() {
                @Override
                public void onNext(Event event) {
                    super.onNext(event);
                    if (event.sequence() == 2) {
                        throw new ArithmeticException("the subscriber's own mistake");
                    }
                }
            };
            demo.endless(session).publisher().subscribe(recorder);
            recorder.subscription.request(Long.MAX_VALUE);
            Demo.await("onError", () -> recorder.failure != null);
            assertInstanceOf(ArithmeticException.class, recorder.failure);
            assertEquals(3, recorder.events.size());
            Demo.await("the stream to end", () -> !session.describe().running());
        }
        demo.awaitNoPages();
    }

    // If this fails, the rules of Flow are broken: one subscriber, positive requests.
    @Test
    void refusesWhatFlowForbids() {
        try (Session session = demo.model.newSession()) {
            Recorder first = new Recorder();
            Recorder second = new Recorder();
            Flow.Publisher<Event> publisher = demo.endless(session).publisher();
            publisher.subscribe(first);
            publisher.subscribe(second);
            assertInstanceOf(IllegalStateException.class, second.failure);
            first.subscription.request(0);
            Demo.await("onError", () -> first.failure != null);
            assertInstanceOf(IllegalArgumentException.class, first.failure);
            Demo.await("the stream to end", () -> !session.describe().running());
        }
    }

    // If this fails, an executor that was shut down stops the waiter, and with it all streams.
    @Test
    void refusingExecutorHarmsNobodyElse() {
        AtomicInteger calls = new AtomicInteger();
        try (Session session = demo.model.newSession();
                Session other = demo.model.newSession()) {
            Recorder recorder = new Recorder();
            EventStream stream = demo.endless(session);
            stream.publisher(command -> {
                if (calls.incrementAndGet() > 1) {
                    throw new RejectedExecutionException("shut down");
                }
                command.run();
            }).subscribe(recorder);
            try {
                recorder.subscription.request(Long.MAX_VALUE);
            } catch (RejectedExecutionException expected) {
                assertEquals(2, calls.get());
            }
            Demo.await("the stream to end", () -> !session.describe().running());
            assertEquals("46", demo.ask(other, null).answer().join().text());
        }
    }
}
