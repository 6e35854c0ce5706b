package dev.fathom;

import static dev.fathom.Library.RAW;

import dev.fathom.spi.Layout;
import java.nio.charset.StandardCharsets;

/** A conversation under construction. One thread at a time. */
public final class Prompt implements AutoCloseable {
    final Handle handle;

    /** A conversation with the defaults of its dialect. */
    public Prompt(Tokenizer tokenizer) {
        this(tokenizer, null);
    }

    /** A conversation; {@code tokenizer} null: of raw tokens only. */
    public Prompt(Tokenizer tokenizer, PromptOptions options) {
        long address = tokenizer == null ? 0 : tokenizer.handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.promptCreate(address, PromptOptions.address(options, scratch),
                    scratch.out(), scratch.error()), scratch);
            handle = new Handle("prompt", scratch.outValue(), null, RAW::promptRelease)
                    .ownedBy(this);
        } finally {
            if (tokenizer != null) {
                tokenizer.handle.leave();
            }
        }
    }

    /** Adds one turn. */
    public Prompt add(Message message) {
        long prompt = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct struct = scratch.sized(Layout.Message.ID, Layout.Message.SIZE)
                    .set(Layout.Message.ROLE, message.role().code());
            scratch.text(struct, Layout.Message.TEXT, Layout.Message.TEXT_BYTES, message.text());
            scratch.text(struct, Layout.Message.REASONING, Layout.Message.REASONING_BYTES,
                    message.reasoning());
            Library.check(RAW.promptAddMessage(prompt, struct.address(), scratch.error()), scratch);
            return this;
        } finally {
            handle.leave();
        }
    }

    /** Adds what the person or program asks. */
    public Prompt user(String text) {
        return add(Message.user(text));
    }

    /** Adds exact token ids, control tokens included. Not mixed with messages. */
    public Prompt addTokens(int... ids) {
        long prompt = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.promptAddTokens(prompt, scratch.ints(ids), ids.length,
                    scratch.error()), scratch);
            return this;
        } finally {
            handle.leave();
        }
    }

    /** Adds a conversation in the shape of OpenAI's messages array. */
    public Prompt addOpenaiJson(String json) {
        byte[] utf8 = json.getBytes(StandardCharsets.UTF_8);
        long prompt = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.promptAddOpenaiJson(prompt, scratch.bytes(utf8), utf8.length,
                    scratch.error()), scratch);
            return this;
        } finally {
            handle.leave();
        }
    }

    /** The exact ids that the model would see. */
    public int[] render() {
        long prompt = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            return Counted.ints(scratch, (ids, capacity) ->
                    RAW.promptRender(prompt, ids, capacity, scratch.out(), scratch.error()));
        } finally {
            handle.leave();
        }
    }

    @Override
    public void close() {
        handle.close();
    }
}
