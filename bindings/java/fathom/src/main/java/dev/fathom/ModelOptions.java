package dev.fathom;

import dev.fathom.spi.Layout;
import java.nio.file.Path;

/** Options of a model. What is not set is the library's default; read when the model is loaded. */
public final class ModelOptions {
    /** Hears how far loading is. */
    @FunctionalInterface
    public interface Progress {
        /** Whether to go on. Called by the loading thread. */
        boolean update(long bytesDone, long bytesTotal);
    }

    private KvType kvType = KvType.AUTO;
    private long context;
    private String dialect;
    private Progress progress;

    /** All defaults. */
    public ModelOptions() {}

    /** The numbers that the KV cache is kept in. */
    public ModelOptions kvType(KvType value) {
        kvType = value;
        return this;
    }

    /** Most tokens in a session; 0: the smaller of 4096 and what the checkpoint allows. */
    public ModelOptions context(long tokens) {
        context = tokens;
        return this;
    }

    /** A dialect's name ("deepseek-v3.1"); null: recognised. */
    public ModelOptions dialect(String value) {
        dialect = value;
        return this;
    }

    /** Hears how far loading is; false cancels it. */
    public ModelOptions progress(Progress value) {
        progress = value;
        return this;
    }

    Progress progress() {
        return progress;
    }

    /** The struct for C. {@code progressNumber}: of {@link dev.fathom.spi.Callbacks}, or 0. */
    Struct write(Scratch scratch, long progressNumber) {
        Struct struct = scratch.sized(Layout.ModelOptions.ID, Layout.ModelOptions.SIZE)
                .set(Layout.ModelOptions.KV_TYPE, kvType.code())
                .set(Layout.ModelOptions.CONTEXT, context);
        scratch.text(struct, Layout.ModelOptions.DIALECT, Layout.ModelOptions.DIALECT_BYTES,
                dialect);
        if (progressNumber != 0) {
            struct.set(Layout.ModelOptions.PROGRESS, Library.NATIVE.progressFunction())
                    .set(Layout.ModelOptions.PROGRESS_USER_DATA, progressNumber);
        }
        return struct;
    }

    static long address(ModelOptions options, Scratch scratch) {
        return options == null ? 0 : options.write(scratch, 0).address();
    }

    /** A fathom_source. */
    static long source(Path folder, Scratch scratch) {
        Struct struct = scratch.sized(Layout.Source.ID, Layout.Source.SIZE);
        scratch.text(struct, Layout.Source.PATH, Layout.Source.PATH_BYTES, folder.toString());
        return struct.address();
    }
}
