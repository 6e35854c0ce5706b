package dev.fathom.triage;

import dev.fathom.Engine;
import dev.fathom.EngineOptions;
import dev.fathom.EngineStats;
import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Model;
import dev.fathom.ModelOptions;
import dev.fathom.Prompt;
import dev.fathom.PromptOptions;
import dev.fathom.Session;
import dev.fathom.Thinking;
import dev.fathom.Tokenizer;
import java.nio.file.Path;
import java.time.Duration;

/** The model, and how it is asked. */
final class TicketReader implements AutoCloseable {
    /** Tokens of the longest message with its answer. */
    private static final int CONTEXT = 1024;
    private static final int ANSWER_TOKENS = 160;
    private static final Duration DEADLINE = Duration.ofSeconds(30);
    private static final int CONCURRENT_SESSIONS = 64;

    private final Engine engine;
    private final Model model;
    private final Tokenizer tokenizer;

    TicketReader(Path folder) {
        ModelOptions options = new ModelOptions().context(CONTEXT);
        // Room for all requests that are admitted, so that none takes pages from another.
        long bytes = CONCURRENT_SESSIONS
                * dev.fathom.Fathom.estimate(null, folder, options).kvCacheBytes();
        engine = Engine.create(new EngineOptions().kvCacheBytes(bytes));
        model = engine.load(folder, options);
        tokenizer = model.tokenizer();
    }

    static int concurrentMost() {
        return CONCURRENT_SESSIONS;
    }

    Session newSession() {
        return model.newSession();
    }

    /** Asks what a message says. Throws FathomException when it is too long. */
    EventStream read(Session session, String message) {
        return read(session, message,
                new GenerateOptions().maxTokens(ANSWER_TOKENS).deadline(DEADLINE));
    }

    EventStream read(Session session, String message, GenerateOptions options) {
        try (Prompt prompt =
                new Prompt(tokenizer, new PromptOptions().thinking(Thinking.OFF))) {
            return session.generate(prompt.user(message), options);
        }
    }

    EngineStats stats() {
        return engine.stats();
    }

    /** Lets running answers end. */
    @Override
    public void close() {
        engine.shutdown(Duration.ofSeconds(10));
        tokenizer.close();
        model.close();
        engine.close();
    }
}
