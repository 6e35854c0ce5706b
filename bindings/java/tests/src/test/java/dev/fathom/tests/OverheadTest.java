package dev.fathom.tests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.Fathom;
import dev.fathom.GenerateOptions;
import dev.fathom.Prompt;
import dev.fathom.Session;
import dev.fathom.Thinking;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The same as overhead.c beside the tests, which runs between the halves of the Java part. */
@Timeout(150)
class OverheadTest {
    private static final int STREAMS = 32;
    private static final int ROUNDS = 10;
    private static final int WARM_ROUNDS = 10;
    private static final int TOKENS = 48;
    private static final double MORE_NS_MAX = 1000;

    private long read;

    // If this fails, Java costs more than a microsecond an event on top of C.
    @Test
    void anEventCostsLittle() throws Exception {
        try (Demo demo = Demo.manual(); Prompt prompt = demo.question(Demo.SUM, Thinking.OFF)) {
            List<Session> sessions = new ArrayList<>();
            for (int i = 0; i < STREAMS; i++) {
                sessions.add(demo.model.newSession());
            }
            // Some 15,000 events, so that the code is compiled.
            measure(demo, prompt, sessions, WARM_ROUNDS, new double[STREAMS * WARM_ROUNDS]);
            double[] samples = new double[STREAMS * ROUNDS];
            double[] first = c();
            measure(demo, prompt, sessions, ROUNDS, samples);
            double[] second = c();
            Arrays.sort(samples);
            double java = samples[samples.length / 2];
            double c = (first[0] + second[0]) / 2;
            System.out.printf(Locale.ROOT, "an open stream in C: %.0f bytes%n", first[2]);
            System.out.printf(Locale.ROOT, "an event: %s %.0f ns, C %.0f ns, more %.0f ns%n",
                    Fathom.provider(), java, c, java - c);
            assertTrue(java - c <= MORE_NS_MAX, java + " ns in Java, " + c + " ns in C");
        }
    }

    private void measure(Demo demo, Prompt prompt, List<Session> sessions, int rounds,
            double[] samples) {
        GenerateOptions options = new GenerateOptions().maxTokens(TOKENS).ignoreEos(true);
        int at = 0;
        for (int round = 0; round < rounds; round++) {
            List<EventStream> streams = new ArrayList<>();
            for (Session session : sessions) {
                streams.add(session.generate(prompt, options));
            }
            while (demo.engine.step(Duration.ZERO)) {
                continue;
            }
            for (EventStream stream : streams) {
                long start = System.nanoTime();
                int events = 0;
                Event event;
                do {
                    event = stream.next();
                    if (event instanceof Event.Text piece) {
                        read += piece.text().length() + piece.ids().length;
                    }
                    events++;
                } while (!(event instanceof Event.Done));
                samples[at++] = (double) (System.nanoTime() - start) / events;
                assertTrue(events > TOKENS / 2, events + " events");
                stream.close();
            }
        }
    }

    /** Median of the program in C, how much it read, and the bytes of an open stream. */
    private static double[] c() throws Exception {
        Path program = Demo.BUILD.resolve("overhead");
        Process process = new ProcessBuilder(program.toString(), Demo.MODEL.toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT).start();
        String[] words = new String(process.getInputStream().readAllBytes(),
                StandardCharsets.UTF_8).trim().split(" ");
        assertEquals(0, process.waitFor());
        return Stream.of(words).mapToDouble(Double::parseDouble).toArray();
    }
}
