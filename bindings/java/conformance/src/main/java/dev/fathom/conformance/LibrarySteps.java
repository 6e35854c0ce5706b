package dev.fathom.conformance;

import static dev.fathom.conformance.EventLog.ids;
import static dev.fathom.conformance.EventLog.line;
import static dev.fathom.conformance.EventLog.raw;
import static dev.fathom.conformance.EventLog.status;
import static dev.fathom.conformance.EventLog.step;
import static dev.fathom.conformance.EventLog.text;

import dev.fathom.DeviceInfo;
import dev.fathom.DeviceKind;
import dev.fathom.Engine;
import dev.fathom.Fathom;
import dev.fathom.FathomException;
import dev.fathom.MemoryPlan;
import dev.fathom.ModelOptions;
import dev.fathom.RawAccess;
import dev.fathom.Tokenizer;
import dev.fathom.Tokenizer.Decode;
import dev.fathom.Tokenizer.Encode;
import dev.fathom.TokenizerDescription;
import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import dev.fathom.spi.Raw;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** Steps 1 to 8: the library without a loaded model. */
final class LibrarySteps {
    private static final Path NOWHERE = Path.of("/nowhere/at/all");
    private static final Raw RAW = RawAccess.raw();

    private final Conformance world;

    LibrarySteps(Conformance world) {
        this.world = world;
    }

    void run() {
        library();
        structs();
        devices();
        tokenizer();
        tokenizerErrors();
        estimate();
        loadErrors();
        engineErrors();
    }

    private void library() {
        step(1, "library");
        line("abi major", "%d", Fathom.abiVersion() >> 16);
        line("minor is the header's or later",
                (Fathom.abiVersion() & 0xffff) >= (Constants.ABI_VERSION & 0xffff));
        String info = Fathom.buildInfoJson();
        line("build info names its version",
                info.startsWith("{") && info.contains("\"version\":\""));
        for (String name : List.of("arch.deepseek_v3", "backend.cpu", "dialect.deepseek-v3.1",
                "tokenizer.json", "arch.llama")) {
            line(name, Fathom.featureSupported(name));
        }
        for (int status = -1; status <= Constants.INTERNAL + 1; status++) {
            line("status " + status, EventLog.statusName(status));
        }
    }

    private record Known(String name, int id, int size) {}

    private void structs() {
        step(2, "structs");
        for (Known struct : List.of(
                new Known("engine_options", Layout.EngineOptions.ID, Layout.EngineOptions.SIZE),
                new Known("engine_stats", Layout.EngineStats.ID, Layout.EngineStats.SIZE),
                new Known("device_info", Layout.DeviceInfo.ID, Layout.DeviceInfo.SIZE),
                new Known("source", Layout.Source.ID, Layout.Source.SIZE),
                new Known("model_options", Layout.ModelOptions.ID, Layout.ModelOptions.SIZE),
                new Known("model_description", Layout.ModelDescription.ID,
                        Layout.ModelDescription.SIZE),
                new Known("memory_plan", Layout.MemoryPlan.ID, Layout.MemoryPlan.SIZE),
                new Known("tokenizer_description", Layout.TokenizerDescription.ID,
                        Layout.TokenizerDescription.SIZE),
                new Known("prompt_options", Layout.PromptOptions.ID, Layout.PromptOptions.SIZE),
                new Known("message", Layout.Message.ID, Layout.Message.SIZE),
                new Known("session_options", Layout.SessionOptions.ID, Layout.SessionOptions.SIZE),
                new Known("session_description", Layout.SessionDescription.ID,
                        Layout.SessionDescription.SIZE),
                new Known("generate_options", Layout.GenerateOptions.ID,
                        Layout.GenerateOptions.SIZE),
                new Known("event", Layout.Event.ID, Layout.Event.SIZE),
                new Known("usage", Layout.Usage.ID, Layout.Usage.SIZE))) {
            byte[] bytes = RawAccess.withMemory(memory -> memory.filled(1024, address ->
                    line(struct.name, EventLog.statusName(
                            RAW.structInit(address, struct.id, struct.size)))));
            int size = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).getInt(0);
            boolean zero = Arrays.equals(bytes, Integer.BYTES, struct.size,
                    new byte[struct.size - Integer.BYTES], 0, struct.size - Integer.BYTES);
            line("size", "%d, rest zero: %d", size, zero ? 1 : 0);
            EventLog.require(bytes[struct.size] == (byte) 0xff, "nothing written behind it");
        }
        RawAccess.withMemory(memory -> {
            long room = memory.room(64);
            line("unknown id", EventLog.statusName(RAW.structInit(room, 0, 64)));
            line("too small",
                    EventLog.statusName(RAW.structInit(room, Layout.Usage.ID, 8)));
            line("no struct", EventLog.statusName(RAW.structInit(0, Layout.Usage.ID, 64)));
            return null;
        });
    }

    private void devices() {
        step(3, "devices");
        List<DeviceInfo> devices = Fathom.devices();
        line("cpus", "%d",
                devices.stream().filter(one -> one.kind() == DeviceKind.CPU).count());
        line("each has a name, memory and processors", devices.stream().allMatch(one ->
                !one.name().isEmpty() && one.memoryTotal() > 0
                        && one.memoryAvailable() <= one.memoryTotal() && one.nProcessors() > 0));
    }

    private void tokenizer() {
        String marked = "<\uff5cUser\uff5c>Hi";
        step(4, "tokenizer");
        try (Tokenizer tokenizer = Tokenizer.open(world.model)) {
            TokenizerDescription facts = tokenizer.describe();
            line("tokens", "%d bos=%d eos=%d pad=%d adds_bos=%d", facts.nTokens(), facts.bosId(),
                    facts.eosId(), facts.padId(), facts.addsBos() ? 1 : 0);
            line("fingerprint", "%016x", facts.fingerprint());
            line("dialect", facts.dialect());
            int[] ids = tokenizer.encode("What is 12 + 34?\nna\u00efve \"quoted\"");
            ids("text", ids);
            text("decoded", tokenizer.decode(ids));
            ids("empty", tokenizer.encode(""));
            ids("marker as text", tokenizer.encode(marked));
            ids = tokenizer.encode(marked, Encode.SPECIAL, Encode.BOS);
            ids("marker as token", ids);
            text("decoded", tokenizer.decode(ids));
            text("without special tokens", tokenizer.decode(ids, Decode.SKIP_SPECIAL));
        }
    }

    private void tokenizerErrors() {
        step(5, "tokenizer errors");
        try (Tokenizer tokenizer = Tokenizer.open(world.model)) {
            int[] ids = {5, 1000000};
            try {
                tokenizer.decode(ids);
            } catch (FathomException failure) {
                line("message names the id", failure.getMessage().contains("1000000"));
            }
            status("id out of range", () -> tokenizer.decode(ids));
            long address = RawAccess.address(tokenizer);
            RawAccess.withMemory(memory -> {
                raw("unknown flag", (out, error) -> RAW.tokenizerEncode(address,
                        memory.text("a b"), 3, 0x80000000, 0, 0, out, error));
                long count = RawAccess.call((out, error) -> {
                    int found = RAW.tokenizerEncode(address, memory.text("What is this?"), 13, 0,
                            memory.room(4), 1, out, error);
                    line("no room", EventLog.statusName(found));
                    return found;
                }).out();
                line("wanted room", "%d", count);
                return null;
            });
        }
        status("no folder", () -> Tokenizer.open(NOWHERE));
        status("no path", () -> Tokenizer.open(Path.of("")));
    }

    private void estimate() {
        ModelOptions options = new ModelOptions().context(256);
        step(6, "estimate and inspect");
        MemoryPlan plan = Fathom.estimate(Conformance.engineOptions(), world.model, options);
        line("plan", "kv_type=%d context=%d kv_cache=%d", plan.kvType().ordinal(), plan.context(),
                plan.kvCacheBytes());
        line("a token", "%d bytes, with all heads %d", plan.kvBytesPerToken(),
                plan.mhaBytesPerToken());
        line("parameters", "%d, active %d", plan.parameters(), plan.activeParameters());
        line("file bytes", "%d", plan.fileBytes());
        line("adds up", plan.totalBytes()
                == plan.weightBytes() + plan.workspaceBytes() + plan.kvCacheBytes());
        String json = Fathom.inspect(Conformance.engineOptions(), world.model, options);
        line("inspected", json.startsWith("{") && json.contains("\"deepseek_v3\""));
    }

    private void loadErrors() {
        step(7, "load errors");
        try (Engine engine = Engine.create(Conformance.engineOptions());
                Engine small = Engine.create(Conformance.engineOptions().memoryBudget(1 << 20))) {
            status("no folder", () -> engine.load(NOWHERE));
            status("no path", () -> engine.load(Path.of("")));
            status("broken config", () -> engine.load(world.folders.resolve("broken")));
            status("another architecture",
                    () -> engine.load(world.folders.resolve("unsupported")));
            status("cancelled", () -> engine.load(world.model,
                    new ModelOptions().progress((done, total) -> false)));
            status("context too long",
                    () -> engine.load(world.model, new ModelOptions().context(1 << 30)));
            status("unknown dialect",
                    () -> engine.load(world.model, new ModelOptions().dialect("nonsense")));
            status("over budget", () -> small.load(world.model));
        }
    }

    private void engineErrors() {
        step(8, "engine errors");
        status("too many threads",
                () -> Engine.create(Conformance.engineOptions().threads(1025)));
        status("negative threads", () -> Engine.create(Conformance.engineOptions().threads(-1)));
        int size = Layout.EngineOptions.SIZE;
        RawAccess.withMemory(memory -> {
            raw("unknown mode", (out, error) -> RAW.engineCreate(
                    memory.struct(size, 0, size, Layout.EngineOptions.MODE, 2), out, error));
            raw("struct too small",
                    (out, error) -> RAW.engineCreate(memory.struct(size, 0, 4), out, error));
            raw("field of a newer library", (out, error) -> RAW.engineCreate(
                    memory.struct(size + 8, 0, size + 8, size, 1), out, error));
            return null;
        });
    }
}
