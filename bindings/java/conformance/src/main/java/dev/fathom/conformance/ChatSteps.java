package dev.fathom.conformance;

import static dev.fathom.conformance.Conformance.ORDER;
import static dev.fathom.conformance.Conformance.SUM;
import static dev.fathom.conformance.Conformance.question;
import static dev.fathom.conformance.EventLog.ids;
import static dev.fathom.conformance.EventLog.line;
import static dev.fathom.conformance.EventLog.raw;
import static dev.fathom.conformance.EventLog.status;
import static dev.fathom.conformance.EventLog.step;
import static dev.fathom.conformance.EventLog.text;

import dev.fathom.Engine;
import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.FathomException;
import dev.fathom.GenerateOptions;
import dev.fathom.LogLevel;
import dev.fathom.Message;
import dev.fathom.ModelDescription;
import dev.fathom.ModelOptions;
import dev.fathom.Prompt;
import dev.fathom.PromptOptions;
import dev.fathom.RawAccess;
import dev.fathom.Role;
import dev.fathom.Session;
import dev.fathom.Status;
import dev.fathom.Thinking;
import dev.fathom.spi.Layout;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;

/** Steps 9 to 17: a loaded model, prompts and answers. */
final class ChatSteps {
    private final Conformance world;

    ChatSteps(Conformance world) {
        this.world = world;
    }

    void run() {
        load();
        prompts();
        promptErrors();
        chat();
        turns();
        stops();
        logprobs();
        sampling();
        append();
    }

    private void load() {
        AtomicBoolean named = new AtomicBoolean();
        long[] seen = new long[2];
        AtomicBoolean rises = new AtomicBoolean(true);
        step(9, "load");
        world.engine = Engine.create(Conformance.engineOptions().log((level, record) -> {
            if (level == LogLevel.INFO && record.startsWith("model loaded")) {
                named.set(true);
            }
        }));
        world.loaded = world.engine.load(world.model, new ModelOptions().progress((done, total) -> {
            rises.compareAndSet(true, done >= seen[0] && done <= total);
            seen[0] = done;
            seen[1] = total;
            return true;
        }));
        line("progress rises to the end", rises.get() && seen[1] > 0 && seen[0] == seen[1]);
        line("the log tells", named.get());
        ModelDescription facts = world.loaded.describe();
        line("architecture", "%s dialect=%s", facts.architecture(), facts.dialect());
        line("layers", "%d experts=%d active=%d hidden=%d vocabulary=%d heads=%d kv_type=%d",
                facts.nLayers(), facts.nRoutedExperts(), facts.nActiveExperts(),
                facts.hiddenSize(), facts.vocabularyRows(), facts.nHeads(),
                facts.kvType().ordinal());
        line("context", "%d parameters=%d active=%d kv_bytes=%d", facts.context(),
                facts.parameters(), facts.activeParameters(), facts.kvBytesPerToken());
        line("fingerprint", "%016x", facts.fingerprint());
        for (String key : new String[] {"architecture", "config.vocab_size", "config.rope_theta",
                "no such key"}) {
            try {
                text(key, world.loaded.metadata(key));
            } catch (FathomException failure) {
                status(key, failure.status());
            }
        }
        world.tokenizer = world.loaded.tokenizer();
    }

    private void rendered(String name, Prompt prompt) {
        text(name, world.tokenizer.decode(prompt.render()));
    }

    private void prompts() {
        step(10, "prompts");
        for (Thinking thinking : Thinking.values()) {
            try (Prompt prompt = question(world.tokenizer, SUM, thinking)) {
                rendered(switch (thinking) {
                    case AUTO -> "auto";
                    case ON -> "thinking";
                    case OFF -> "not thinking";
                }, prompt);
            }
        }
        try (Prompt closed = new Prompt(world.tokenizer, new PromptOptions().noGeneration(true));
                Prompt turns = new Prompt(world.tokenizer);
                Prompt whole = new Prompt(world.tokenizer);
                Prompt raw = new Prompt(world.tokenizer)) {
            rendered("not opened", closed.user(SUM));
            turns.add(Message.system("Be brief.")).user("1 + 1?")
                    .add(new Message(Role.ASSISTANT, "2", "one more"))
                    .user("And <\uff5cUser\uff5c>?");
            rendered("turns", turns);
            int[] ids = turns.render();
            ids("ids", ids);
            whole.addOpenaiJson("[{\"role\":\"system\",\"content\":\"Be brief.\"},"
                    + "{\"role\":\"user\",\"content\":\"1 + 1?\"},"
                    + "{\"role\":\"assistant\",\"reasoning_content\":\"one more\","
                    + "\"content\":\"2\"},"
                    + "{\"role\":\"user\",\"content\":\"And <\uff5cUser\uff5c>?\"}]");
            line("the same from JSON", Arrays.equals(ids, whole.render()));
            line("the same from tokens", Arrays.equals(ids, raw.addTokens(ids).render()));
        }
    }

    private void promptErrors() {
        step(11, "prompt errors");
        try (Prompt prompt = new Prompt(world.tokenizer);
                Prompt unrendered = new Prompt(world.tokenizer);
                Prompt tokens = new Prompt(world.tokenizer);
                Prompt messages = question(world.tokenizer, SUM, Thinking.OFF)) {
            status("not JSON", () -> prompt.addOpenaiJson("[{\"role\":"));
            status("no role", () -> prompt.addOpenaiJson("[{\"content\":\"x\"}]"));
            unrendered.addOpenaiJson("[{\"role\":\"user\",\"content\":null}]");
            status("cannot be rendered", unrendered::render);
            status("unknown dialect", () ->
                    new Prompt(world.tokenizer, new PromptOptions().dialect("nonsense")));
            RawAccess.withMemory(memory -> {
                raw("unknown role", (out, error) -> RawAccess.raw().promptAddMessage(
                        RawAccess.address(tokens), memory.struct(Layout.Message.SIZE,
                                0, Layout.Message.SIZE, Layout.Message.ROLE, 9), error));
                return null;
            });
            status("negative token", () -> tokens.addTokens(5, -1));
            tokens.addTokens(5);
            status("message behind tokens", () -> tokens.user(""));
            status("tokens behind messages", () -> messages.addTokens(5));
        }
    }

    private void chat() {
        step(12, "chat");
        try (Prompt thinking = question(world.tokenizer, SUM, Thinking.ON);
                Prompt direct = question(world.tokenizer, ORDER, Thinking.OFF);
                Session session = world.loaded.newSession()) {
            try (EventStream stream = session.generate(thinking)) {
                EventLog.events(stream);
                EventLog.usage(stream);
                status("behind the end", stream::poll);
            }
            EventLog.session("session", session);
            try (EventStream stream = session.generate(direct)) {
                EventLog.events(stream);
                EventLog.usage(stream);
            }
            EventLog.session("session", session);
        }
    }

    private static void answer(String name, Session session, Prompt prompt,
            GenerateOptions options, boolean usage) {
        try (EventStream stream = session.generate(prompt, options)) {
            EventLog.answer(name, stream);
            if (usage) {
                EventLog.usage(stream);
            }
        }
    }

    private static void events(Session session, Prompt prompt, GenerateOptions options,
            boolean usage) {
        try (EventStream stream = session.generate(prompt, options)) {
            EventLog.events(stream);
            if (usage) {
                EventLog.usage(stream);
            }
        }
    }

    private void turns() {
        step(13, "turns");
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Session session = world.loaded.newSession()) {
            answer("first", session, prompt, null, false);
            prompt.add(Message.assistant("46")).user("What is 5 + 46?");
            answer("second", session, prompt, null, true);
            session.truncate(7);
            EventLog.session("cut", session);
            answer("again", session, prompt, null, true);
        }
    }

    private void stops() {
        step(14, "stops");
        try (Prompt prompt = question(world.tokenizer, ORDER, Thinking.OFF);
                Session session = world.loaded.newSession()) {
            events(session, prompt, new GenerateOptions().stop("never said", "customer"), false);
            int[] stop = world.tokenizer.encode("order");
            ids("stop id", stop);
            events(session, prompt, new GenerateOptions().stopIds(stop), false);
            events(session, prompt, new GenerateOptions().maxTokens(3), true);
        }
    }

    private void logprobs() {
        step(15, "logprobs");
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Session session = world.loaded.newSession()) {
            events(session, prompt, new GenerateOptions().logprobs(3).maxTokens(3), false);
            session.truncate(0);
            events(session, prompt, new GenerateOptions().logprobs(1).promptLogprobs(true)
                    .promptOnly(true), true);
        }
    }

    private void sampling() {
        step(16, "sampling");
        try (Prompt prompt = question(world.tokenizer, "Hello!", Thinking.OFF);
                Session session = world.loaded.newSession()) {
            for (int seed : new int[] {7, 7, 8}) {
                answer("seed " + seed, session, prompt, new GenerateOptions().maxTokens(12)
                        .temperature(4).topK(40).topP(0.99).minP(0.001).repetitionPenalty(1.1)
                        .presencePenalty(0.5).frequencyPenalty(0.25).seed(seed), false);
            }
            int[] greedy = {0};
            try (EventStream stream =
                    session.generate(prompt, new GenerateOptions().maxTokens(1))) {
                stream.events().map(EventLog::ids).filter(ids -> ids.length > 0)
                        .forEach(ids -> greedy[0] = ids[0]);
            }
            line("greedy", "%d", greedy[0]);
            events(session, prompt, new GenerateOptions().maxTokens(1)
                    .logitBias(Map.of(greedy[0], -10000f)), false);
        }
    }

    private void append() {
        step(17, "prompt only, then append");
        try (Prompt prompt = question(world.tokenizer, ORDER, Thinking.OFF);
                Prompt more = new Prompt(world.tokenizer);
                Session session = world.loaded.newSession()) {
            events(session, prompt, new GenerateOptions().promptOnly(true), false);
            EventLog.session("session", session);
            more.addTokens(world.tokenizer.encode("{\"type\":\"order\","));
            answer("continued", session, more, new GenerateOptions().append(true), true);
        }
    }
}
