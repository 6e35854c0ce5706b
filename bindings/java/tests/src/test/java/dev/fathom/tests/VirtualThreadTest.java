package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.fathom.Answer;
import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Model;
import dev.fathom.Session;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The JVM of these tests has one carrier thread; tests/pom.xml says so. */
@Timeout(60)
class VirtualThreadTest {
    private static final int READERS = 100;

    // If this fails, a virtual thread that waits holds its carrier: with one carrier nobody would
    // be left to step the engine, and the test would not end.
    @Test
    void waitingPinsNothing() throws Exception {
        ExecutorService threads = Demo.virtualThreads();
        Assumptions.assumeTrue(threads != null, "this JVM has no virtual threads");
        assertEquals("1", System.getProperty("jdk.virtualThreadScheduler.maxPoolSize"));
        try (Demo demo = Demo.manual()) {
            List<Future<Long>> readers = new ArrayList<>();
            for (int i = 0; i < READERS; i++) {
                readers.add(threads.submit(() -> {
                    try (Session session = demo.model.newSession();
                            EventStream stream =
                                    demo.ask(session, new GenerateOptions().maxTokens(3))) {
                        return stream.events()
                                .filter(event -> event instanceof Event.Reasoning).count();
                    }
                }));
            }
            // The only way to have an event, on the same carrier, behind all readers.
            Future<Boolean> stepper = threads.submit(() -> {
                while (demo.engine.stats().nSessions() > 0) {
                    demo.engine.step(Duration.ZERO);
                    // Not yield(): with one carrier that may choose the same thread for ever.
                    LockSupport.parkNanos(10_000);
                }
                return true;
            });
            for (Future<Long> reader : readers) {
                assertEquals(3, reader.get(50, TimeUnit.SECONDS));
            }
            stepper.get(50, TimeUnit.SECONDS);
        } finally {
            threads.shutdown();
        }
    }

    // If this fails, loading a model from a virtual thread holds its carrier.
    @Test
    void loadingPinsNothing() throws Exception {
        ExecutorService threads = Demo.virtualThreads();
        Assumptions.assumeTrue(threads != null, "this JVM has no virtual threads");
        try (Demo demo = Demo.threaded()) {
            boolean[] other = new boolean[1];
            Future<Model> loading = threads.submit(() -> demo.engine.load(Demo.MODEL,
                    new dev.fathom.ModelOptions().progress((done, total) -> {
                        // Another virtual thread can only run when the first gave up its carrier.
                        try {
                            other[0] = threads.submit(() -> true).get(30, TimeUnit.SECONDS);
                        } catch (Exception failure) {
                            return false;
                        }
                        return true;
                    })));
            loading.get(50, TimeUnit.SECONDS).close();
            assertEquals(true, other[0]);
            try (Session session = demo.model.newSession()) {
                Answer answer = demo.ask(session, null).answer().join();
                assertEquals("46", answer.text());
            }
        } finally {
            threads.shutdown();
        }
    }
}
