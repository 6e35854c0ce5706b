package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Answer;
import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Prompt;
import dev.fathom.Session;
import dev.fathom.Thinking;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class ScaleTest {
    private static final int STREAMS = 5000;
    private static final int MORE_THREADS_MAX = 8;
    private static final long HEAP_EACH_MAX = 4096;

    private static Demo demo() {
        return new Demo(Demo.options().maxSequences(256).maxBatchRows(4096));
    }

    /** Streams with little to compute and two events at least to wait for. */
    private static List<EventStream> streams(Demo demo, List<Session> sessions) {
        List<EventStream> streams = new ArrayList<>();
        try (Prompt prompt = demo.question("Hi", Thinking.OFF)) {
            for (int i = 0; i < STREAMS; i++) {
                Session session = demo.model.newSession(32);
                sessions.add(session);
                streams.add(session.generate(prompt, new GenerateOptions().maxTokens(2)));
            }
        }
        return streams;
    }

    /** A sample of the threads while `left` is above zero. */
    private static long threadsMost(CountDownLatch left) throws InterruptedException {
        long most = 0;
        while (!left.await(5, TimeUnit.MILLISECONDS)) {
            most = Math.max(most, Demo.threads());
        }
        return most;
    }

    // If this fails, 5,000 subscribers cost threads, or some of them never hear the end.
    @Test
    void subscribersShareThreads() throws InterruptedException {
        List<Session> sessions = new ArrayList<>();
        try (Demo demo = demo()) {
            long before = Demo.threads();
            CountDownLatch left = new CountDownLatch(STREAMS);
            AtomicInteger good = new AtomicInteger();
            for (EventStream stream : streams(demo, sessions)) {
                stream.answer().whenComplete((answer, failure) -> {
                    if (failure == null && answer.usage().outputTokens() == 2) {
                        good.incrementAndGet();
                    }
                    left.countDown();
                });
            }
            long most = threadsMost(left) - before;
            assertEquals(STREAMS, good.get());
            System.out.println("5,000 subscribers: " + most + " threads more");
            assertTrue(most <= Runtime.getRuntime().availableProcessors() + MORE_THREADS_MAX,
                    most + " threads more");
            sessions.forEach(Session::close);
            demo.awaitNoPages();
        }
    }

    // If this fails, 5,000 virtual threads that wait cost threads of the system.
    @Test
    void virtualReadersShareThreads() throws InterruptedException {
        ExecutorService threads = Demo.virtualThreads();
        Assumptions.assumeTrue(threads != null, "this JVM has no virtual threads");
        List<Session> sessions = new ArrayList<>();
        try (Demo demo = demo()) {
            long before = Demo.threads();
            CountDownLatch left = new CountDownLatch(STREAMS);
            AtomicInteger good = new AtomicInteger();
            for (EventStream stream : streams(demo, sessions)) {
                CompletableFuture.runAsync(() -> {
                    Event last = stream.next();
                    while (!(last instanceof Event.Done)) {
                        last = stream.next();
                    }
                    stream.close();
                    good.incrementAndGet();
                }, threads).whenComplete((nothing, failure) -> left.countDown());
            }
            long most = threadsMost(left) - before;
            assertEquals(STREAMS, good.get());
            System.out.println("5,000 virtual readers: " + most + " threads more");
            assertTrue(most <= Runtime.getRuntime().availableProcessors() + MORE_THREADS_MAX,
                    most + " threads more");
            sessions.forEach(Session::close);
            demo.awaitNoPages();
        } finally {
            threads.shutdown();
        }
    }

    private static long heap() {
        for (int i = 0; i < 3; i++) {
            System.gc();
        }
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    // If this fails, streams that wait fill the heap.
    @Test
    void anOpenStreamIsSmall() {
        List<Session> sessions = new ArrayList<>();
        try (Demo demo = Demo.manual(); Prompt prompt = demo.question("Hi", Thinking.OFF)) {
            for (int i = 0; i < STREAMS; i++) {
                sessions.add(demo.model.newSession(32));
            }
            long heap = heap();
            long resident = Demo.resident();
            List<CompletableFuture<Answer>> answers = new ArrayList<>();
            for (Session session : sessions) {
                answers.add(session.generate(prompt, null).answer());
            }
            Demo.await("all to wait", () -> Demo.descriptors() >= STREAMS);
            long each = (heap() - heap) / STREAMS;
            System.out.println("an open stream that is waited for: " + each + " bytes of heap, "
                    + (Demo.resident() - resident) / STREAMS + " bytes of memory in all");
            assertTrue(each < HEAP_EACH_MAX, each + " bytes");
            answers.forEach(answer -> answer.cancel(true));
            sessions.forEach(Session::close);
        }
    }
}
