package dev.fathom.tests;

import dev.fathom.Engine;
import dev.fathom.EngineOptions;
import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Model;
import dev.fathom.Prompt;
import dev.fathom.PromptOptions;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.fathom.Tokenizer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;

/** The demo model in an engine, and what tests wait for. */
final class Demo implements AutoCloseable {
    static final Path REPOSITORY = Path.of(System.getProperty("fathom.repository"));
    static final Path BUILD = Path.of(System.getProperty("fathom.build"));
    static final Path MODEL = REPOSITORY.resolve("examples/demo-model/model");
    static final String SUM = "What is 12 + 34?";
    private static final long PATIENCE_NS = 60_000_000_000L;

    final Engine engine;
    final Model model;
    final Tokenizer tokenizer;

    Demo(EngineOptions options) {
        engine = Engine.create(options);
        model = engine.load(MODEL);
        tokenizer = model.tokenizer();
    }

    static Demo threaded() {
        return new Demo(options());
    }

    static Demo manual() {
        return new Demo(options().manual(true));
    }

    static EngineOptions options() {
        return new EngineOptions().threads(1).kvCacheBytes(64 << 20);
    }

    Prompt question(String text, Thinking thinking) {
        return new Prompt(tokenizer, new PromptOptions().thinking(thinking)).user(text);
    }

    EventStream ask(Session session, GenerateOptions options) {
        try (Prompt prompt = question(SUM, Thinking.ON)) {
            return session.generate(prompt, options);
        }
    }

    /** A stream that does not end by itself while nobody reads it. */
    EventStream endless(Session session) {
        return ask(session, new GenerateOptions().ignoreEos(true));
    }

    /** Whether nothing of this engine's KV cache is in use, now or soon. */
    void awaitNoPages() {
        await("all KV pages free", () -> engine.stats().kvPagesUsed() == 0);
    }

    static void await(String what, BooleanSupplier condition) {
        long start = System.nanoTime();
        while (!condition.getAsBoolean()) {
            Assertions.assertTrue(System.nanoTime() - start < PATIENCE_NS, "in vain: " + what);
            LockSupport.parkNanos(1_000_000);
        }
    }

    /** Threads of the process, as the system counts them. */
    static long threads() {
        return entries("/proc/self/task");
    }

    static long descriptors() {
        return entries("/proc/self/fd");
    }

    private static long entries(String folder) {
        try (Stream<Path> all = Files.list(Path.of(folder))) {
            return all.count();
        } catch (java.io.IOException failure) {
            throw new java.io.UncheckedIOException(failure);
        }
    }

    /** Bytes of the process in memory. */
    static long resident() {
        try {
            String[] pages = Files.readString(Path.of("/proc/self/statm")).split(" ");
            return Long.parseLong(pages[1]) * 4096;
        } catch (java.io.IOException failure) {
            throw new java.io.UncheckedIOException(failure);
        }
    }

    /** An executor of virtual threads, or null on a JVM that has none. */
    static ExecutorService virtualThreads() {
        try {
            return (ExecutorService) Executors.class
                    .getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (ReflectiveOperationException failure) {
            return null;
        }
    }

    @Override
    public void close() {
        tokenizer.close();
        model.close();
        engine.close();
    }
}
