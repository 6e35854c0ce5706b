package dev.fathom.conformance;

import dev.fathom.CpuLevel;
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
import java.nio.file.Path;

/** The conformance script in Java. Usage: Conformance MODEL FOLDERS */
public final class Conformance {
    static final String SUM = "What is 12 + 34?";
    static final String ORDER = "Hello, Dodan Trikin called and asked for 265 of the plastic "
            + "keyboard. We need it on 2027-04-15. Best regards";

    final Path model;
    final Path folders;

    // What most steps use.
    Engine engine;
    Model loaded;
    Tokenizer tokenizer;

    private Conformance(Path model, Path folders) {
        this.model = model;
        this.folders = folders;
    }

    static EngineOptions engineOptions() {
        return new EngineOptions().threads(1).cpuLevel(CpuLevel.SCALAR).deterministic(true);
    }

    static Prompt question(Tokenizer tokenizer, String text, Thinking thinking) {
        return new Prompt(tokenizer, new PromptOptions().thinking(thinking)).user(text);
    }

    static EventStream endless(Session session, Prompt prompt) {
        return session.generate(prompt, new GenerateOptions().ignoreEos(true));
    }

    /** Runs all steps. */
    public static void main(String[] arguments) {
        if (arguments.length != 2) {
            System.err.println("usage: Conformance MODEL FOLDERS");
            System.exit(2);
        }
        Conformance world = new Conformance(Path.of(arguments[0]), Path.of(arguments[1]));
        try {
            new LibrarySteps(world).run();
            new ChatSteps(world).run();
            new ControlSteps(world).run();
            new LaterSteps(world).run();
        } finally {
            EventLog.flush();
        }
    }
}
