package dev.fathom.conformance;

import static dev.fathom.conformance.Conformance.SUM;
import static dev.fathom.conformance.Conformance.endless;
import static dev.fathom.conformance.Conformance.question;
import static dev.fathom.conformance.EventLog.line;
import static dev.fathom.conformance.EventLog.raw;
import static dev.fathom.conformance.EventLog.status;
import static dev.fathom.conformance.EventLog.step;

import dev.fathom.Engine;
import dev.fathom.EngineStats;
import dev.fathom.Event;
import dev.fathom.EventStream;
import dev.fathom.GenerateOptions;
import dev.fathom.Model;
import dev.fathom.Prompt;
import dev.fathom.RawAccess;
import dev.fathom.Session;
import dev.fathom.Status;
import dev.fathom.Thinking;
import dev.fathom.Tokenizer;
import dev.fathom.spi.Layout;
import dev.fathom.spi.Raw;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/** Steps 18 to 25: ends, errors and order. */
final class ControlSteps {
    private static final Duration FOREVER = Duration.ofSeconds(Long.MAX_VALUE);
    private static final Raw RAW = RawAccess.raw();

    private final Conformance world;

    ControlSteps(Conformance world) {
        this.world = world;
    }

    void run() {
        cancel();
        deadline();
        busy();
        generateErrors();
        world.tokenizer.close();
        world.loaded.close();
        world.engine.close();
        manual();
        shutdown();
        parentsReleasedFirst();
        nothing();
    }

    private static long firstTokens(EventStream stream) {
        while (true) {
            Event event = stream.next();
            EventLog.require(!(event instanceof Event.Done), "more events");
            if (EventLog.ids(event).length > 0) {
                return EventLog.ids(event).length;
            }
        }
    }

    private static void waitUntilFree(Session session) {
        while (session.describe().running()) {
            LockSupport.parkNanos(1_000_000);
        }
    }

    private void cancel() {
        step(18, "cancel");
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Session session = world.loaded.newSession()) {
            try (EventStream stream = endless(session, prompt)) {
                long address = RawAccess.address(stream);
                long handle = RawAccess.call((out, error) ->
                        RAW.streamNotifyHandle(address, out, error)).out();
                long again = RawAccess.call((out, error) ->
                        RAW.streamNotifyHandle(address, out, error)).out();
                line("notify handle", handle >= 0 && handle == again);
                long seen = firstTokens(stream);
                stream.cancel();
                stream.cancel();
                EventLog.end("cancelled", stream, seen);
            }
            endless(session, prompt).close();
            waitUntilFree(session);
            try (EventStream stream =
                    session.generate(prompt, new GenerateOptions().maxTokens(1))) {
                EventLog.end("released, then again", stream, 0);
            }
            try (EventStream stream = endless(session, prompt)) {
                session.close();
                EventLog.end("session released", stream, 0);
            }
        }
    }

    private void deadline() {
        step(19, "deadline");
        GenerateOptions options = new GenerateOptions().ignoreEos(true);
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Session session = world.loaded.newSession()) {
            try (EventStream stream =
                    session.generate(prompt, options.deadline(Duration.ofNanos(1)))) {
                EventLog.events(stream);
            }
            try (EventStream stream =
                    session.generate(prompt, options.deadline(Duration.ofMillis(100)))) {
                waitUntilFree(session);
                EventLog.end("while it waits for its reader", stream, 0);
            }
        }
    }

    private void busy() {
        step(20, "busy");
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Session session = world.loaded.newSession()) {
            try (EventStream stream = endless(session, prompt)) {
                line("running", session.describe().running());
                status("generate", () -> session.generate(prompt));
                status("truncate", () -> session.truncate(0));
                stream.cancel();
                EventLog.end("cancelled", stream, 0);
            }
            line("running", session.describe().running());
            status("truncate too far", () -> session.truncate(1000000));
        }
    }

    private static void refused(String name, Session session, Prompt prompt,
            GenerateOptions options) {
        status(name, () -> session.generate(prompt, options));
    }

    private void generateErrors() {
        step(21, "generate errors");
        try (Prompt prompt = question(world.tokenizer, SUM, Thinking.ON);
                Prompt empty = new Prompt(world.tokenizer);
                Session session = world.loaded.newSession();
                Session small = world.loaded.newSession(8)) {
            RawAccess.withMemory(memory -> {
                int size = Layout.GenerateOptions.SIZE;
                raw("flags", (out, error) -> RAW.sessionGenerate(RawAccess.address(session),
                        RawAccess.address(prompt), memory.struct(size, 0, size,
                                Layout.GenerateOptions.FLAGS, 0x80000000), out, error));
                return null;
            });
            refused("temperature", session, prompt, new GenerateOptions().temperature(-1));
            refused("top_k", session, prompt, new GenerateOptions().topK(-1));
            refused("top_p", session, prompt, new GenerateOptions().topP(1.5));
            refused("min_p", session, prompt, new GenerateOptions().minP(-0.5));
            refused("repetition_penalty", session, prompt,
                    new GenerateOptions().repetitionPenalty(-1));
            refused("presence_penalty", session, prompt,
                    new GenerateOptions().presencePenalty(3));
            refused("frequency_penalty", session, prompt,
                    new GenerateOptions().frequencyPenalty(-3));
            refused("logprobs", session, prompt, new GenerateOptions().logprobs(22));
            refused("stop string", session, prompt, new GenerateOptions().stop(""));
            refused("stop id", session, prompt, new GenerateOptions().stopIds(1000000));
            refused("empty prompt", session, empty, null);
            refused("context full", small, prompt, null);
            status("context of a session", () -> world.loaded.newSession(1 << 30));
            try (Engine engine =
                            Engine.create(Conformance.engineOptions().kvCacheBytes(64 * 1024));
                    Model model = engine.load(world.model);
                    Session tight = model.newSession()) {
                refused("no room in the KV cache", tight, prompt,
                        new GenerateOptions().maxTokens(900));
            }
        }
    }

    private static void stats(Engine engine) {
        EngineStats stats = engine.stats();
        line("stats", "models=%d sessions=%d waiting=%d running=%d pages=%d/%d steps=%d prefill=%d"
                + " decode=%d device=FATHOM_%s", stats.nModels(), stats.nSessions(),
                stats.nWaiting(), stats.nRunning(), stats.kvPagesUsed(), stats.kvPages(),
                stats.nSteps(), stats.prefillTokens(), stats.decodeTokens(), stats.deviceStatus());
        line("memory and time are counted", stats.memoryBytes() > 0
                && (stats.nSteps() == 0) == (stats.stepNsTotal() == 0)
                && stats.backendNsTotal() <= stats.stepNsTotal());
    }

    private void manual() {
        step(22, "manual engine");
        GenerateOptions options = new GenerateOptions().maxTokens(4);
        try (Engine engine = Engine.create(Conformance.engineOptions().manual(true));
                Engine threaded = Engine.create(Conformance.engineOptions());
                Model model = engine.load(world.model);
                Session one = model.newSession();
                Session other = model.newSession();
                Tokenizer tokenizer = model.tokenizer();
                Prompt prompt = question(tokenizer, SUM, Thinking.ON);
                EventStream first = one.generate(prompt, options);
                EventStream second = other.generate(prompt, options)) {
            List<EventStream> streams = List.of(first, second);
            stats(engine);
            // The public interface has an empty result where C has this status.
            status("poll", first.poll().isPresent() ? Status.OK : Status.TIMEOUT);
            status("wait", engine.waitAny(streams, Duration.ZERO).isPresent()
                    ? Status.OK : Status.TIMEOUT);
            int steps = 1;
            while (engine.step(Duration.ZERO)) {
                steps++;
            }
            line("steps", "%d", steps);
            boolean[] seen = new boolean[2];
            for (int i = 0; i < 100 && !(seen[0] && seen[1]); i++) {
                seen[streams.indexOf(engine.waitAny(streams, Duration.ZERO).orElseThrow())] = true;
            }
            line("both come up", seen[0] && seen[1]);
            EventLog.events(first);
            EventLog.events(second);
            stats(engine);
            status("step of a threaded engine", () -> threaded.step(Duration.ZERO));
            status("wait for a stream of another engine",
                    () -> threaded.waitAny(streams, Duration.ZERO));
        }
    }

    /** The public interface has false where C has TIMEOUT. */
    private static Status shutDown(Engine engine, Duration timeout) {
        return engine.shutdown(timeout) ? Status.OK : Status.TIMEOUT;
    }

    private void shutdown() {
        step(23, "shutdown");
        try (Engine engine = Engine.create(Conformance.engineOptions());
                Model model = engine.load(world.model);
                Session session = model.newSession();
                Tokenizer tokenizer = model.tokenizer();
                Prompt prompt = question(tokenizer, SUM, Thinking.ON)) {
            try (EventStream stream = endless(session, prompt)) {
                status("with a running stream", shutDown(engine, Duration.ZERO));
                EventLog.end("its stream", stream, 0);
            }
            status("again", shutDown(engine, FOREVER));
            refused("generate", session, prompt, null);
            status("session", model::newSession);
            status("load", () -> engine.load(world.model));
        }
        try (Engine engine = Engine.create(Conformance.engineOptions())) {
            status("idle", shutDown(engine, FOREVER));
        }
    }

    private void parentsReleasedFirst() {
        step(24, "parents released first");
        Engine engine = Engine.create(Conformance.engineOptions());
        Model model = engine.load(world.model);
        Session session = model.newSession();
        Tokenizer tokenizer = model.tokenizer();
        engine.close();
        model.close();
        Prompt prompt = question(tokenizer, SUM, Thinking.OFF);
        tokenizer.close();
        try (EventStream stream = session.generate(prompt, new GenerateOptions().maxTokens(2))) {
            prompt.close();
            EventLog.events(stream);
            session.close();
            EventLog.usage(stream);
        }
    }

    private void nothing() {
        step(25, "nothing");
        raw("fathom_devices_query", (out, error) -> RAW.devicesQuery(0, 0, error));
        raw("fathom_engine_create", (out, error) -> RAW.engineCreate(0, 0, error));
        raw("fathom_engine_shutdown", (out, error) -> RAW.engineShutdown(0, 0, error));
        raw("fathom_engine_step", (out, error) -> RAW.engineStep(0, 0, 0, error));
        raw("fathom_engine_wait_any", (out, error) -> RAW.engineWaitAny(0, 0, 0, 0, 0, error));
        raw("fathom_engine_stats_read", (out, error) -> RAW.engineStatsRead(0, 0, error));
        raw("fathom_model_estimate", (out, error) -> RAW.modelEstimate(0, 0, 0, 0, error));
        raw("fathom_model_load", (out, error) -> RAW.modelLoad(0, 0, 0, 0, error));
        raw("fathom_model_describe", (out, error) -> RAW.modelDescribe(0, 0, error));
        raw("fathom_model_metadata_get", (out, error) -> RAW.modelMetadataGet(0, 0, 0, 0, error));
        raw("fathom_model_tokenizer", (out, error) -> RAW.modelTokenizer(0, 0, error));
        raw("fathom_model_inspect", (out, error) -> RAW.modelInspect(0, 0, 0, 0, error));
        raw("fathom_tokenizer_open", (out, error) -> RAW.tokenizerOpen(0, 0, error));
        raw("fathom_tokenizer_encode",
                (out, error) -> RAW.tokenizerEncode(0, 0, 0, 0, 0, 0, 0, error));
        raw("fathom_tokenizer_decode",
                (out, error) -> RAW.tokenizerDecode(0, 0, 0, 0, 0, 0, 0, error));
        raw("fathom_tokenizer_describe", (out, error) -> RAW.tokenizerDescribe(0, 0, error));
        raw("fathom_prompt_create", (out, error) -> RAW.promptCreate(0, 0, 0, error));
        raw("fathom_prompt_add_message", (out, error) -> RAW.promptAddMessage(0, 0, error));
        raw("fathom_prompt_add_tokens", (out, error) -> RAW.promptAddTokens(0, 0, 0, error));
        raw("fathom_prompt_add_openai_json",
                (out, error) -> RAW.promptAddOpenaiJson(0, 0, 0, error));
        raw("fathom_prompt_render", (out, error) -> RAW.promptRender(0, 0, 0, 0, error));
        raw("fathom_session_create", (out, error) -> RAW.sessionCreate(0, 0, 0, error));
        raw("fathom_session_generate", (out, error) -> RAW.sessionGenerate(0, 0, 0, 0, error));
        raw("fathom_session_truncate", (out, error) -> RAW.sessionTruncate(0, 0, error));
        raw("fathom_session_describe", (out, error) -> RAW.sessionDescribe(0, 0, error));
        raw("fathom_stream_next", (out, error) -> RAW.streamNext(0, 0, 0, error));
        raw("fathom_stream_usage", (out, error) -> RAW.streamUsage(0, 0, error));
        raw("fathom_stream_notify_handle",
                (out, error) -> RAW.streamNotifyHandle(0, 0, error));
        RAW.streamCancel(0);
        RAW.streamRelease(0);
        RAW.sessionRelease(0);
        RAW.promptRelease(0);
        RAW.tokenizerRelease(0);
        RAW.modelRelease(0);
        RAW.engineRelease(0);
        RAW.bufferRelease(0);
        RAW.errorRelease(0);
        line("error of nothing", EventLog.statusName(RAW.errorCode(0)));
        line("message of nothing", "%d bytes",
                RawAccess.library().text(RAW.errorMessage(0)).length());
        line("buffer of nothing", RAW.bufferData(0, 0) == 0);
        line("feature of nothing", RAW.featureSupported(0) != 0);
    }
}
