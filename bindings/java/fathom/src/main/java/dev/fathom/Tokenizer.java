package dev.fathom;

import static dev.fathom.Library.RAW;

import dev.fathom.spi.Constants;
import dev.fathom.spi.Layout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Text to token ids and back. Any thread, any number at once. */
public final class Tokenizer implements AutoCloseable {
    /** What encode() does beside encoding. */
    public enum Encode {
        /** Spellings of added tokens become these tokens. Only for text that you trust. */
        SPECIAL(Constants.ENCODE_SPECIAL),
        /** The beginning-of-sentence token comes first. */
        BOS(Constants.ENCODE_BOS);

        final int flag;

        Encode(int flag) {
            this.flag = flag;
        }
    }

    /** What decode() does beside decoding. */
    public enum Decode {
        /** Tokens that the tokenizer marks as special are left out. */
        SKIP_SPECIAL(Constants.DECODE_SKIP_SPECIAL);

        final int flag;

        Decode(int flag) {
            this.flag = flag;
        }
    }

    final Handle handle;

    Tokenizer(long address) {
        handle = new Handle("tokenizer", address, null, RAW::tokenizerRelease).ownedBy(this);
    }

    /** Opens the tokenizer of a folder without any weights. */
    public static Tokenizer open(Path folder) {
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.tokenizerOpen(ModelOptions.source(folder, scratch), scratch.out(),
                    scratch.error()), scratch);
            return new Tokenizer(scratch.outValue());
        }
    }

    /** Text to ids. Without SPECIAL no text whatsoever yields an added token. */
    public int[] encode(String text, Encode... how) {
        int flags = 0;
        for (Encode one : how) {
            flags |= one.flag;
        }
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        long tokenizer = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            int fixed = flags;
            long address = scratch.bytes(utf8);
            return Counted.ints(scratch, (ids, capacity) -> RAW.tokenizerEncode(tokenizer, address,
                    utf8.length, fixed, ids, capacity, scratch.out(), scratch.error()));
        } finally {
            handle.leave();
        }
    }

    /** Ids to text; part of a character at either end becomes U+FFFD. */
    public String decode(int[] ids, Decode... how) {
        return new String(decodeBytes(ids, how), StandardCharsets.UTF_8);
    }

    /** Ids to bytes, exactly. */
    public byte[] decodeBytes(int[] ids, Decode... how) {
        int flags = 0;
        for (Decode one : how) {
            flags |= one.flag;
        }
        long tokenizer = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            int fixed = flags;
            long address = scratch.ints(ids);
            return Counted.bytes(scratch, (text, capacity) -> RAW.tokenizerDecode(tokenizer,
                    address, ids.length, fixed, text, capacity, scratch.out(), scratch.error()));
        } finally {
            handle.leave();
        }
    }

    /** Facts about the tokenizer. */
    public TokenizerDescription describe() {
        long tokenizer = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct facts = scratch.sized(Layout.TokenizerDescription.ID,
                    Layout.TokenizerDescription.SIZE);
            Library.check(RAW.tokenizerDescribe(tokenizer, facts.address(), scratch.error()),
                    scratch);
            return TokenizerDescription.read(facts);
        } finally {
            handle.leave();
        }
    }

    @Override
    public void close() {
        handle.close();
    }
}
