package dev.fathom;

import static dev.fathom.Library.RAW;

import dev.fathom.spi.Layout;

/** One conversation's place in the KV cache. Any thread, one call at a time. */
public final class Session implements AutoCloseable {
    final Handle handle;

    Session(Model model, long address) {
        handle = new Handle("session", address, model.handle.lease(), RAW::sessionRelease)
                .ownedBy(this);
    }

    /** Asks for an answer with the default options, and returns at once. */
    public EventStream generate(Prompt prompt) {
        return generate(prompt, null);
    }

    /** Asks for an answer and returns at once. The prompt is copied and may be closed. */
    public EventStream generate(Prompt prompt, GenerateOptions options) {
        long session = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            long from = prompt.handle.enter();
            try {
                Library.check(RAW.sessionGenerate(session, from,
                        GenerateOptions.address(options, scratch), scratch.out(),
                        scratch.error()), scratch);
            } finally {
                prompt.handle.leave();
            }
            return new EventStream(scratch.outValue(), handle.lease());
        } finally {
            handle.leave();
        }
    }

    /** Cuts the transcript, to edit or repeat a turn. */
    public void truncate(long tokens) {
        long session = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.sessionTruncate(session, tokens, scratch.error()), scratch);
        } finally {
            handle.leave();
        }
    }

    /** Facts about the session, also while its stream runs. */
    public SessionDescription describe() {
        long session = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct facts = scratch.sized(Layout.SessionDescription.ID,
                    Layout.SessionDescription.SIZE);
            Library.check(RAW.sessionDescribe(session, facts.address(), scratch.error()), scratch);
            return SessionDescription.read(facts);
        } finally {
            handle.leave();
        }
    }

    /** A stream that still runs is cancelled. */
    @Override
    public void close() {
        handle.close();
    }
}
