package dev.fathom;

import dev.fathom.spi.Native;
import dev.fathom.spi.Raw;
import java.nio.charset.StandardCharsets;

/**
 * The raw layer beside the public one, for what the public one makes impossible on purpose. In the
 * package of the public one, because nobody else should have this.
 */
public final class RawAccess {
    /** A status and the rest of what a fallible call gave. */
    public record Result(int status, long out, String message) {}

    /** A call that is given where its out parameter and its error go. */
    public interface Call {
        int call(long out, long error);
    }

    private RawAccess() {}

    public static Raw raw() {
        return Library.RAW;
    }

    public static Native library() {
        return Library.NATIVE;
    }

    /** Calls, checks that code and status of the error agree, and releases it. */
    public static Result call(Call call) {
        try (Scratch scratch = Scratch.take()) {
            int status = call.call(scratch.out(), scratch.error());
            long error = scratch.takeError();
            if ((status == 0) != (error == 0) || raw().errorCode(error) != status) {
                throw new IllegalStateException("status " + status + ", error "
                        + raw().errorCode(error));
            }
            String message = library().text(raw().errorMessage(error));
            raw().errorRelease(error);
            return new Result(status, scratch.outValue(), message);
        }
    }

    /** Memory for as long as {@code use} runs. */
    public static <T> T withMemory(java.util.function.Function<Memory, T> use) {
        try (Scratch scratch = Scratch.take()) {
            return use.apply(new Memory(scratch));
        }
    }

    /** Room for arguments. */
    public static final class Memory {
        private final Scratch scratch;

        Memory(Scratch scratch) {
            this.scratch = scratch;
        }

        /** Zeroed bytes. */
        public long room(int bytes) {
            return scratch.room(bytes).address();
        }

        /** Bytes of 0xff, and then what was made of them by {@code call}. */
        public byte[] filled(int bytes, java.util.function.LongConsumer call) {
            Struct struct = scratch.room(bytes);
            byte[] full = new byte[bytes];
            java.util.Arrays.fill(full, (byte) 0xff);
            struct.put(0, full);
            call.accept(struct.address());
            library().copy(struct.address(), full);
            return full;
        }

        /** A struct of that size whose 32-bit fields at the given offsets have the given values. */
        public long struct(int bytes, int... offsetsAndValues) {
            Struct struct = scratch.room(bytes);
            for (int i = 0; i < offsetsAndValues.length; i += 2) {
                struct.set(offsetsAndValues[i], offsetsAndValues[i + 1]);
            }
            return struct.address();
        }

        /** As struct(), with a text whose pointer and count are at two offsets. */
        public long structWithText(int bytes, int pointer, int count, String text, int... more) {
            Struct struct = scratch.room(bytes).set(0, bytes);
            scratch.text(struct, pointer, count, text);
            for (int i = 0; i < more.length; i += 2) {
                struct.set(more[i], more[i + 1]);
            }
            return struct.address();
        }

        public long text(String text) {
            return scratch.bytes(text.getBytes(StandardCharsets.UTF_8));
        }

        public long ints(int... numbers) {
            return scratch.ints(numbers);
        }
    }

    public static long address(Tokenizer tokenizer) {
        return address(tokenizer.handle);
    }

    public static long address(Prompt prompt) {
        return address(prompt.handle);
    }

    public static long address(Session session) {
        return address(session.handle);
    }

    public static long address(EventStream stream) {
        return address(stream.handle);
    }

    private static long address(Handle handle) {
        long address = handle.enter();
        handle.leave();
        return address;
    }
}
