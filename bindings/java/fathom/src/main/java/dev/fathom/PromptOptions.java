package dev.fathom;

import dev.fathom.spi.Layout;

/** Options of a prompt. What is not set is the library's default. */
public final class PromptOptions {
    private Thinking thinking = Thinking.AUTO;
    private boolean noGeneration;
    private String dialect;

    /** All defaults. */
    public PromptOptions() {}

    /** Whether the answer begins with reasoning. */
    public PromptOptions thinking(Thinking value) {
        thinking = value;
        return this;
    }

    /** Do not open the assistant's turn at the end. */
    public PromptOptions noGeneration(boolean value) {
        noGeneration = value;
        return this;
    }

    /** Name of a dialect; null: as recognised from the folder. */
    public PromptOptions dialect(String value) {
        dialect = value;
        return this;
    }

    static long address(PromptOptions options, Scratch scratch) {
        if (options == null) {
            return 0;
        }
        Struct struct = scratch.sized(Layout.PromptOptions.ID, Layout.PromptOptions.SIZE)
                .set(Layout.PromptOptions.THINKING, options.thinking.code())
                .set(Layout.PromptOptions.NO_GENERATION, options.noGeneration);
        scratch.text(struct, Layout.PromptOptions.DIALECT, Layout.PromptOptions.DIALECT_BYTES,
                options.dialect);
        return struct.address();
    }
}
