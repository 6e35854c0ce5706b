package dev.fathom.conformance;

import static dev.fathom.conformance.EventLog.line;
import static dev.fathom.conformance.EventLog.raw;
import static dev.fathom.conformance.EventLog.status;
import static dev.fathom.conformance.EventLog.step;

import dev.fathom.BudgetException;
import dev.fathom.DeviceKind;
import dev.fathom.Engine;
import dev.fathom.EngineOptions;
import dev.fathom.Fathom;
import dev.fathom.RawAccess;
import dev.fathom.RawAccess.Memory;
import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import dev.fathom.spi.Raw;

/** Steps 26 and 27. */
final class LaterSteps {
    private static final Raw RAW = RawAccess.raw();

    private final Conformance world;

    LaterSteps(Conformance world) {
        this.world = world;
    }

    void run() {
        engineDevices();
        RawAccess.withMemory(memory -> {
            released(memory);
            return null;
        });
    }

    private void engineDevices() {
        int size = Layout.EngineOptions.SIZE;
        step(26, "devices of engines");
        RawAccess.withMemory(memory -> {
            raw("unknown device", (out, error) -> RAW.engineCreate(
                    memory.struct(size, 0, size, Layout.EngineOptions.DEVICE, 9), out, error));
            return null;
        });
        status("no plugin there", () -> Engine.create(Conformance.engineOptions()
                .device(DeviceKind.CUDA, 0).pluginFolder(world.folders)));
        EngineOptions tight = Conformance.engineOptions().memoryBudget(1 << 20);
        status("estimate over budget", () -> Fathom.estimate(tight, world.model, null));
        try {
            Fathom.estimate(tight, world.model, null);
        } catch (BudgetException failure) {
            line("planned all the same", failure.plan().totalBytes() > 1 << 20);
        }
    }

    /** What a fallible call wrote into its out parameter. */
    private static long made(RawAccess.Call call) {
        RawAccess.Result result = RawAccess.call(call);
        EventLog.require(result.status() == Constants.OK, "success: " + result.message());
        return result.out();
    }

    private void released(Memory memory) {
        String path = world.model.toString();
        int sourceSize = Layout.Source.SIZE;
        step(27, "released");
        int engineSize = Layout.EngineOptions.SIZE;
        long engine = made((out, error) -> RAW.engineCreate(memory.struct(engineSize, 0, engineSize,
                Layout.EngineOptions.N_THREADS, 1, Layout.EngineOptions.CPU_LEVEL,
                Constants.CPU_SCALAR, Layout.EngineOptions.DETERMINISTIC, 1), out, error));
        long model = made((out, error) -> RAW.modelLoad(engine, memory.structWithText(
                sourceSize, Layout.Source.PATH, Layout.Source.PATH_BYTES, path), 0, out, error));
        long session = made((out, error) -> RAW.sessionCreate(model, 0, out, error));
        long tokenizer = made((out, error) -> RAW.modelTokenizer(model, out, error));
        int promptSize = Layout.PromptOptions.SIZE;
        long prompt = made((out, error) -> RAW.promptCreate(tokenizer, memory.struct(promptSize, 0,
                promptSize, Layout.PromptOptions.THINKING, Constants.THINKING_OFF), out, error));
        long message = memory.structWithText(Layout.Message.SIZE, Layout.Message.TEXT,
                Layout.Message.TEXT_BYTES, Conformance.SUM, Layout.Message.ROLE,
                Constants.ROLE_USER);
        made((out, error) -> RAW.promptAddMessage(prompt, message, error));
        int size = Layout.GenerateOptions.SIZE;
        long stream = made((out, error) -> RAW.sessionGenerate(session, prompt, memory.struct(size,
                0, size, Layout.GenerateOptions.FLAGS, Constants.GENERATE_IGNORE_EOS), out, error));
        for (int i = 0; i < 2; i++) { // The second time they do nothing.
            RAW.streamRelease(stream);
            RAW.sessionRelease(session);
            RAW.promptRelease(prompt);
            RAW.tokenizerRelease(tokenizer);
            RAW.modelRelease(model);
            RAW.engineRelease(engine);
        }
        long stats = sized(memory, Layout.EngineStats.SIZE);
        long facts = sized(memory, Layout.ModelDescription.SIZE);
        long tokens = sized(memory, Layout.TokenizerDescription.SIZE);
        long place = sized(memory, Layout.SessionDescription.SIZE);
        long usage = sized(memory, Layout.Usage.SIZE);
        raw("engine", (out, error) -> RAW.engineStatsRead(engine, stats, error));
        raw("model", (out, error) -> RAW.modelDescribe(model, facts, error));
        raw("tokenizer", (out, error) -> RAW.tokenizerDescribe(tokenizer, tokens, error));
        raw("prompt", (out, error) -> RAW.promptRender(prompt, 0, 0, out, error));
        raw("session", (out, error) -> RAW.sessionDescribe(session, place, error));
        raw("stream", (out, error) -> RAW.streamUsage(stream, usage, error));
        RAW.streamCancel(stream);
    }

    private static long sized(Memory memory, int size) {
        return memory.struct(size, 0, size);
    }
}
