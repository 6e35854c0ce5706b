package dev.fathom;

import dev.fathom.spi.Layout;
import java.nio.file.Path;
import java.util.function.BiConsumer;

/** Options of an engine. What is not set is the library's default; read when the engine is made. */
public final class EngineOptions {
    private boolean manual;
    private int threads;
    private CpuLevel cpuLevel = CpuLevel.AUTO;
    private boolean deterministic;
    private int maxBatchRows;
    private int maxSequences;
    private long memoryBudget;
    private long kvCacheBytes;
    private BiConsumer<LogLevel, String> log;
    private DeviceKind device;
    private int deviceIndex;
    private Path driverFolder;
    private Path pluginFolder;

    /** All defaults. */
    public EngineOptions() {}

    /** The host lends its thread by calling {@link Engine#step}; the engine has none. */
    public EngineOptions manual(boolean value) {
        manual = value;
        return this;
    }

    /** Computing threads, 1 to 1024; 0: one a usable processor. */
    public EngineOptions threads(int value) {
        threads = value;
        return this;
    }

    /** A level that the processor lacks is an error. */
    public EngineOptions cpuLevel(CpuLevel value) {
        cpuLevel = value;
        return this;
    }

    /** The same request gives the same tokens, whatever else runs, at any thread count. */
    public EngineOptions deterministic(boolean value) {
        deterministic = value;
        return this;
    }

    /** Most tokens in one step, 1 to 65536; 0: 512. */
    public EngineOptions maxBatchRows(int value) {
        maxBatchRows = value;
        return this;
    }

    /** Most sequences in one step, 1 to 4096; 0: 64. */
    public EngineOptions maxSequences(int value) {
        maxSequences = value;
        return this;
    }

    /** Most bytes for weights, KV cache and workspace together; 0: no limit. */
    public EngineOptions memoryBudget(long bytes) {
        memoryBudget = bytes;
        return this;
    }

    /** Bytes for the KV cache of each model; 0: what one session needs. */
    public EngineOptions kvCacheBytes(long bytes) {
        kvCacheBytes = bytes;
        return this;
    }

    /** Receives log records on a thread of the engine; must not call back into the library. */
    public EngineOptions log(BiConsumer<LogLevel, String> hook) {
        log = hook;
        return this;
    }

    /** What computes, and which of several, from 0. What it lacks is an error. */
    public EngineOptions device(DeviceKind kind, int index) {
        device = kind;
        deviceIndex = index;
        return this;
    }

    /** Folder of the device's driver library; null: the system's. */
    public EngineOptions driverFolder(Path folder) {
        driverFolder = folder;
        return this;
    }

    /** Folder of the device's plugin; null: beside the library. */
    public EngineOptions pluginFolder(Path folder) {
        pluginFolder = folder;
        return this;
    }

    BiConsumer<LogLevel, String> log() {
        return log;
    }

    /** The struct for C. {@code logNumber}: of {@link dev.fathom.spi.Callbacks}, or 0. */
    Struct write(Scratch scratch, long logNumber) {
        Struct struct = scratch.sized(Layout.EngineOptions.ID, Layout.EngineOptions.SIZE)
                .set(Layout.EngineOptions.MODE, manual)
                .set(Layout.EngineOptions.N_THREADS, threads)
                .set(Layout.EngineOptions.CPU_LEVEL, cpuLevel.code())
                .set(Layout.EngineOptions.DETERMINISTIC, deterministic)
                .set(Layout.EngineOptions.MAX_BATCH_ROWS, maxBatchRows)
                .set(Layout.EngineOptions.MAX_SEQUENCES, maxSequences)
                .set(Layout.EngineOptions.MEMORY_BUDGET, memoryBudget)
                .set(Layout.EngineOptions.KV_CACHE_BYTES, kvCacheBytes)
                .set(Layout.EngineOptions.DEVICE, device == null ? 0 : device.code())
                .set(Layout.EngineOptions.DEVICE_INDEX, deviceIndex);
        scratch.text(struct, Layout.EngineOptions.DRIVER_FOLDER,
                Layout.EngineOptions.DRIVER_FOLDER_BYTES, text(driverFolder));
        scratch.text(struct, Layout.EngineOptions.PLUGIN_FOLDER,
                Layout.EngineOptions.PLUGIN_FOLDER_BYTES, text(pluginFolder));
        if (logNumber != 0) {
            struct.set(Layout.EngineOptions.LOG, Library.NATIVE.logFunction())
                    .set(Layout.EngineOptions.LOG_USER_DATA, logNumber);
        }
        return struct;
    }

    private static String text(Path path) {
        return path == null ? null : path.toString();
    }

    /** As write(), but NULL for null. */
    static long address(EngineOptions options, Scratch scratch) {
        return options == null ? 0 : options.write(scratch, 0).address();
    }
}
