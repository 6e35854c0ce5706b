package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Engine;
import dev.fathom.FathomException;
import dev.fathom.Model;
import dev.fathom.ModelOptions;
import dev.fathom.Session;
import dev.fathom.Status;
import dev.fathom.spi.Callbacks;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class HookTest {
    // If this fails, an exception in a hook crosses C, which ends the JVM.
    @Test
    void throwingHooksEndNothing() {
        AtomicInteger records = new AtomicInteger();
        AtomicInteger reported = new AtomicInteger();
        Thread.UncaughtExceptionHandler before = Thread.getDefaultUncaughtExceptionHandler();
        Thread.setDefaultUncaughtExceptionHandler((thread, failure) -> reported.incrementAndGet());
        try (Engine engine = Engine.create(Demo.options().log((level, text) -> {
            records.incrementAndGet();
            throw new ArithmeticException("the hook's own mistake");
        }))) {
            FathomException failure = assertThrows(FathomException.class,
                    () -> engine.load(Demo.MODEL, new ModelOptions().progress((done, total) -> {
                        throw new ArithmeticException("the progress hook's own mistake");
                    })));
            assertEquals(Status.CANCELLED, failure.status());
            assertEquals("the progress hook's own mistake", failure.getCause().getMessage());
            engine.load(Demo.MODEL).close();
            assertTrue(records.get() > 0);
            assertEquals(records.get(), reported.get());
        } finally {
            Thread.setDefaultUncaughtExceptionHandler(before);
        }
    }

    // If this fails, hooks of closed engines pile up, or one is gone while C may still call it.
    @Test
    void hooksLiveAsLongAsTheLastChild() {
        int before = Callbacks.count();
        Engine engine = Engine.create(Demo.options().log((level, text) -> { }));
        Model model = engine.load(Demo.MODEL);
        Session session = model.newSession();
        engine.close();
        model.close();
        assertEquals(before + 1, Callbacks.count());
        session.close();
        assertEquals(before, Callbacks.count());
        assertThrows(FathomException.class,
                () -> Engine.create(Demo.options().threads(-1).log((level, text) -> { })));
        assertEquals(before, Callbacks.count());
    }

    // If this fails, an interrupted thread waits until a model of any size is loaded.
    @Test
    void interruptCancelsLoading() throws InterruptedException {
        AtomicReference<Throwable> caught = new AtomicReference<>();
        try (Engine engine = Engine.create(Demo.options())) {
            Thread[] loader = new Thread[1];
            loader[0] = new Thread(() -> {
                try {
                    engine.load(Demo.MODEL, new ModelOptions().progress((done, total) -> {
                        loader[0].interrupt();
                        // The loading thread itself goes on until the interrupt was noticed.
                        Demo.await("the interrupt", () -> !loader[0].isInterrupted());
                        return true;
                    })).close();
                } catch (Throwable failure) {
                    caught.set(failure);
                }
            });
            loader[0].start();
            loader[0].join();
        }
        assertEquals(Status.CANCELLED, ((FathomException) caught.get()).status());
    }
}
