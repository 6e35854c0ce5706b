package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Prompt;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.fathom.Tokenizer;
import dev.fathom.spi.Callbacks;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(150)
class LeakTest {
    private static final int CYCLES = 10_000;
    private static final long HEAP_SLACK = 1 << 20;
    // What malloc and the JVM keep for themselves; 10,000 leaks of a hundred bytes are more.
    private static final long RESIDENT_SLACK = 8 << 20;

    /** Open, generate, wait for an event, cancel, close. */
    private static void cycle(Demo demo, Prompt prompt, int number) {
        try (Session session = demo.model.newSession(64);
                Tokenizer tokenizer = demo.model.tokenizer();
                EventStream stream =
                        session.generate(prompt, new GenerateOptions().ignoreEos(true))) {
            if (number % 4 != 0) {
                stream.next();
            }
            stream.cancel();
            if (number % 4 == 1) {
                while (!(stream.next() instanceof dev.fathom.Event.Done)) {
                    continue;
                }
            }
            tokenizer.encode("x");
        }
    }

    private record Levels(long heap, long direct, long resident, long descriptors, long threads) {}

    private static Levels levels() throws InterruptedException {
        for (int i = 0; i < 3; i++) {
            System.gc();
            Thread.onSpinWait();
        }
        long direct = ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class).stream()
                .filter(pool -> pool.getName().equals("direct"))
                .mapToLong(BufferPoolMXBean::getMemoryUsed).sum();
        Runtime runtime = Runtime.getRuntime();
        return new Levels(runtime.totalMemory() - runtime.freeMemory(), direct, Demo.resident(),
                Demo.descriptors(), Demo.threads());
    }

    // If this fails, a host that runs for weeks loses memory, descriptors or threads.
    @Test
    void tenThousandCyclesLeaveNothing() throws InterruptedException {
        int hooks = Callbacks.count();
        try (Demo demo = Demo.threaded(); Prompt prompt = demo.question("Hi", Thinking.OFF)) {
            for (int i = 0; i < CYCLES / 2; i++) { // Pools, tables and compiled code fill up.
                cycle(demo, prompt, i);
            }
            demo.awaitNoPages();
            Levels before = levels();
            for (int i = 0; i < CYCLES; i++) {
                cycle(demo, prompt, i);
            }
            demo.awaitNoPages();
            assertEquals(0, demo.engine.stats().nSessions());
            Levels after = levels();
            System.out.println("before " + before + "\nafter " + CYCLES + " cycles " + after);
            assertTrue(after.heap - before.heap < HEAP_SLACK, before + " " + after);
            assertTrue(after.direct - before.direct < HEAP_SLACK, before + " " + after);
            assertTrue(after.resident - before.resident < RESIDENT_SLACK, before + " " + after);
            assertEquals(before.descriptors, after.descriptors);
            assertTrue(after.threads <= before.threads, before + " " + after);
        }
        assertEquals(hooks, Callbacks.count());
    }
}
