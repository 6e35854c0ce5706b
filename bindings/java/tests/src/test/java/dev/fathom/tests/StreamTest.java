package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Answer;
import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.FinishReason;
import dev.fathom.GenerateOptions;
import dev.fathom.Session;
import dev.fathom.Status;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class StreamTest {
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

    // If this fails, a Stream of events loses events, or ends too early or never.
    @Test
    void eventsAreAStream() {
        try (Session session = demo.model.newSession();
                EventStream stream = demo.ask(session, null);
                Stream<Event> events = stream.events()) {
            List<Event> all = events.toList();
            for (int i = 0; i < all.size(); i++) {
                assertEquals(i, all.get(i).sequence());
            }
            Event.Done done = (Event.Done) all.get(all.size() - 1);
            assertEquals(FinishReason.END_OF_TURN, done.finishReason());
            assertEquals(stream.usage(), done.usage());
            assertTrue(done.usage().finished());
        }
    }

    // If this fails, text() is not the answer alone.
    @Test
    void textLeavesReasoningOut() {
        try (Session session = demo.model.newSession();
                Stream<String> text = demo.ask(session, null).text()) {
            assertEquals("46", text.collect(Collectors.joining()));
        }
    }

    // If this fails, a consumer that throws in the middle takes KV pages or the engine with it.
    @Test
    void throwingConsumerFreesThePages() {
        try (Session session = demo.model.newSession()) {
            assertThrows(ArithmeticException.class, () -> {
                try (Stream<Event> events = demo.endless(session).events()) {
                    events.forEach(event -> {
                        if (event.sequence() == 3) {
                            throw new ArithmeticException("the consumer's own mistake");
                        }
                    });
                }
            });
            Demo.await("the stream to end", () -> !session.describe().running());
        }
        demo.awaitNoPages();
        answerIsWhole();
    }

    // If this fails, the future of a whole answer lacks a part of it.
    @Test
    void answerIsWhole() {
        try (Session session = demo.model.newSession()) {
            Answer answer = demo.ask(session, null).answer().join();
            assertEquals("46", answer.text());
            assertTrue(answer.reasoning().startsWith("b1a2+b3a4"), answer.reasoning());
            assertEquals(FinishReason.END_OF_TURN, answer.finishReason());
        }
    }

    // If this fails, cancelling a future leaves the model at work.
    @Test
    void cancelledFutureCancelsTheStream() {
        try (Session session = demo.model.newSession()) {
            CompletableFuture<Answer> answer = demo.endless(session).answer();
            assertTrue(answer.cancel(true));
            assertThrows(CancellationException.class, answer::join);
            Demo.await("the stream to end", () -> !session.describe().running());
        }
    }

    // If this fails, an interrupted reader hangs, or its answer is computed to nobody's use.
    @Test
    void interruptCancels() throws InterruptedException {
        try (Session session = demo.model.newSession();
                EventStream stream = demo.endless(session)) {
            AtomicReference<Throwable> caught = new AtomicReference<>();
            AtomicReference<Boolean> stillInterrupted = new AtomicReference<>();
            Thread reader = new Thread(() -> {
                try {
                    while (true) {
                        stream.next();
                    }
                } catch (FathomException failure) {
                    caught.set(failure);
                    stillInterrupted.set(Thread.currentThread().isInterrupted());
                }
            });
            reader.start();
            reader.interrupt();
            reader.join();
            assertEquals(Status.CANCELLED, ((FathomException) caught.get()).status());
            assertTrue(stillInterrupted.get());
            Event last = stream.next();
            while (!(last instanceof Event.Done)) {
                last = stream.next();
            }
            assertEquals(FinishReason.CANCELLED, ((Event.Done) last).finishReason());
        }
    }

    // If this fails, a reader that sleeps cannot be interrupted.
    @Test
    void interruptWakesTheReader() throws InterruptedException {
        try (Demo manual = Demo.manual();
                Session session = manual.model.newSession();
                EventStream stream = manual.endless(session)) {
            AtomicReference<Throwable> caught = new AtomicReference<>();
            Thread reader = new Thread(() -> {
                try {
                    stream.next();
                } catch (FathomException failure) {
                    caught.set(failure);
                }
            });
            reader.start();
            Demo.await("the reader to sleep", () -> reader.getState() == Thread.State.WAITING);
            reader.interrupt();
            reader.join();
            assertEquals(Status.CANCELLED, ((FathomException) caught.get()).status());
            manual.engine.step(Duration.ZERO);
            assertFalse(session.describe().running());
        }
    }

    // If this fails, closing a stream leaves its reader asleep for ever.
    @Test
    void closingWakesTheReader() throws Exception {
        try (Demo manual = Demo.manual();
                Session session = manual.model.newSession()) {
            EventStream stream = manual.endless(session);
            CompletableFuture<Event> read = CompletableFuture.supplyAsync(stream::next);
            // Nobody steps, so no event comes; the reader is asleep, or finds out by itself.
            assertThrows(java.util.concurrent.TimeoutException.class,
                    () -> read.get(20, TimeUnit.MILLISECONDS));
            stream.close();
            Throwable failure = assertThrows(java.util.concurrent.ExecutionException.class,
                    () -> read.get(30, TimeUnit.SECONDS)).getCause();
            assertEquals(Status.BAD_STATE, ((FathomException) failure).status());
        }
    }

    // If this fails, waiting ends at the wrong time or reports what is not there.
    @Test
    void timeoutsAreKept() {
        try (Demo manual = Demo.manual();
                Session session = manual.model.newSession();
                EventStream stream = manual.ask(session, null)) {
            long start = System.nanoTime();
            assertTrue(stream.next(Duration.ofMillis(30)).isEmpty());
            assertTrue(System.nanoTime() - start >= 30_000_000);
            assertTrue(stream.poll().isEmpty());
            assertTrue(manual.engine.waitAny(List.of(stream), Duration.ofMillis(5)).isEmpty());
            manual.engine.step(Duration.ZERO);
            assertTrue(stream.next(Duration.ZERO).isPresent());
            assertTrue(stream.next(Duration.ofSeconds(-1)).isPresent());
            assertTrue(stream.poll().isEmpty());
        }
    }

    // If this fails, waitAny sleeps through an event or names the wrong stream.
    @Test
    void waitAnyWakes() {
        try (Demo manual = Demo.manual();
                Session one = manual.model.newSession();
                Session other = manual.model.newSession();
                EventStream silent = manual.ask(one, null)) {
            while (manual.engine.step(Duration.ZERO)) {
                silent.poll();
            }
            while (!(silent.next() instanceof Event.Done)) {
                continue;
            }
            try (EventStream stream = manual.ask(other, null)) {
                CompletableFuture<EventStream> found = CompletableFuture.supplyAsync(() ->
                        manual.engine.waitAny(List.of(silent, stream), Duration.ofSeconds(50))
                                .orElseThrow());
                manual.engine.step(Duration.ZERO);
                assertEquals(stream, found.join());
            }
        }
    }

    // If this fails, a closed object reaches the library, or closing twice does.
    @Test
    void closedObjectsSaySo() {
        Session session = demo.model.newSession();
        EventStream stream = demo.ask(session, new GenerateOptions().maxTokens(1));
        stream.close();
        stream.close();
        stream.cancel();
        session.close();
        session.close();
        for (Runnable call : List.<Runnable>of(stream::next, stream::poll, stream::usage,
                session::describe, () -> session.truncate(0))) {
            FathomException failure = assertThrows(FathomException.class, call::run);
            assertEquals(Status.BAD_STATE, failure.status());
            assertTrue(failure.getMessage().endsWith("it is closed"), failure.getMessage());
        }
    }

    // If this fails, two readers share one event, or the second waits instead of being told.
    @Test
    void secondReaderIsRefusedOrServed() throws Exception {
        try (Session session = demo.model.newSession();
                EventStream stream = demo.endless(session)) {
            int[] counts = new int[2];
            Thread[] readers = new Thread[2];
            for (int i = 0; i < 2; i++) {
                int me = i;
                readers[i] = new Thread(() -> {
                    for (int reads = 0; reads < 200; reads++) {
                        try {
                            counts[me] += stream.next() == null ? 0 : 1;
                        } catch (FathomException failure) {
                            assertEquals(Status.BUSY, failure.status());
                        }
                    }
                });
                readers[i].start();
            }
            for (Thread reader : readers) {
                reader.join();
            }
            // Every event that was read has its own number, so the next one tells the count.
            assertEquals(counts[0] + counts[1], stream.next().sequence());
        }
    }

    // If this fails, the garbage collector does not release what was never closed.
    @Test
    void forgottenStreamIsReleased() {
        try (Session session = demo.model.newSession()) {
            demo.endless(session);
            Demo.await("the cleaner to find it", () -> {
                System.gc();
                return !session.describe().running();
            });
            assertFalse(session.describe().running());
        }
    }
}
