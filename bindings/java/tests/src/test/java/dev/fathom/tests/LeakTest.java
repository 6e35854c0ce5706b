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
    // Compiled code and malloc's arenas grow for a while and then no more; a leak grows in every
    // batch. 5,000 leaks of 210 bytes are more than this.
    private static final int BATCH = CYCLES / 2;
    private static final int BATCHES_MAX = 6;
    private static final long RESIDENT_SLACK = 1 << 20;

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

    private static void batch(Demo demo, Prompt prompt) {
        for (int i = 0; i < BATCH; i++) {
            cycle(demo, prompt, i);
        }
        demo.awaitNoPages();
        assertEquals(0, demo.engine.stats().nSessions());
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
            batch(demo, prompt); // Pools and tables fill up.
            Levels first = levels();
            Levels before;
            Levels after = first;
            int batches = 0;
            do {
                before = after;
                batch(demo, prompt);
                after = levels();
                batches++;
            } while (batches * BATCH < CYCLES || batches < BATCHES_MAX
                    && after.resident - before.resident >= RESIDENT_SLACK);
            System.out.println("before " + first + "\nafter " + batches * BATCH + " cycles "
                    + after + ", in the last " + BATCH + " resident "
                    + (after.resident - before.resident));
            assertTrue(after.heap - first.heap < HEAP_SLACK, first + " " + after);
            assertTrue(after.direct - first.direct < HEAP_SLACK, first + " " + after);
            assertTrue(after.resident - before.resident < RESIDENT_SLACK, before + " " + after);
            assertEquals(first.descriptors, after.descriptors);
            // The JVM may have added compilers of its own.
            assertTrue(after.threads <= first.threads + 2, first + " " + after);
        }
        assertEquals(hooks, Callbacks.count());
    }
}
