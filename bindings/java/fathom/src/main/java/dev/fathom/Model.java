package dev.fathom;

import static dev.fathom.Library.NATIVE;
import static dev.fathom.Library.RAW;

import dev.fathom.spi.Layout;
import java.nio.charset.StandardCharsets;

/** A loaded checkpoint. Any thread, any number at once. */
public final class Model implements AutoCloseable {
    final Handle handle;

    Model(Engine engine, long address) {
        handle = new Handle("model", address, engine.handle.lease(), RAW::modelRelease)
                .ownedBy(this);
    }

    /** Facts about the model. */
    public ModelDescription describe() {
        long model = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct facts = scratch.sized(Layout.ModelDescription.ID, Layout.ModelDescription.SIZE);
            Library.check(RAW.modelDescribe(model, facts.address(), scratch.error()), scratch);
            return ModelDescription.read(facts);
        } finally {
            handle.leave();
        }
    }

    /** One text fact: "architecture", or a scalar of config.json as "config.rope_theta". */
    public String metadata(String key) {
        long model = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct bytes = scratch.room(Long.BYTES);
            Library.check(RAW.modelMetadataGet(model, scratch.terminated(key), scratch.out(),
                    bytes.address(), scratch.error()), scratch);
            byte[] copy = new byte[Math.toIntExact(bytes.int64(0))];
            NATIVE.copy(scratch.outValue(), copy);
            return new String(copy, StandardCharsets.UTF_8);
        } finally {
            handle.leave();
        }
    }

    /** The model's tokenizer, to be closed by the caller. */
    public Tokenizer tokenizer() {
        long model = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.modelTokenizer(model, scratch.out(), scratch.error()), scratch);
            return new Tokenizer(scratch.outValue());
        } finally {
            handle.leave();
        }
    }

    /** A session as long as the model allows. */
    public Session newSession() {
        return newSession(0);
    }

    /** A session of at most that many tokens; 0: the model's. */
    public Session newSession(long context) {
        long model = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct options = scratch.sized(Layout.SessionOptions.ID, Layout.SessionOptions.SIZE)
                    .set(Layout.SessionOptions.CONTEXT, context);
            Library.check(RAW.sessionCreate(model, options.address(), scratch.out(),
                    scratch.error()), scratch);
            return new Session(this, scratch.outValue());
        } finally {
            handle.leave();
        }
    }

    /** Memory is returned when the last session of the model is closed. */
    @Override
    public void close() {
        handle.close();
    }
}
