package dev.fathom;

import static dev.fathom.Library.NATIVE;
import static dev.fathom.Library.RAW;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.concurrent.ArrayBlockingQueue;

/**
 * Memory for the arguments and results of one call. Taken from a pool and given back by close(),
 * because direct buffers are dear to make and are freed by the garbage collector alone.
 */
final class Scratch implements AutoCloseable {
    private static final int BYTES = 4096;
    private static final int ALIGNMENT = 8;
    private static final int POOLED_MAX = 64;
    private static final ArrayBlockingQueue<Scratch> POOL = new ArrayBlockingQueue<>(POOLED_MAX);

    private final ByteBuffer buffer = direct(BYTES);
    private final long address = NATIVE.address(buffer);
    private final ArrayList<ByteBuffer> large = new ArrayList<>();
    private int used;
    private Struct error;
    private Struct out;

    static Scratch take() {
        Scratch scratch = POOL.poll();
        if (scratch == null) {
            scratch = new Scratch();
        }
        scratch.used = 0;
        scratch.error = scratch.room(Long.BYTES);
        scratch.out = scratch.room(Long.BYTES);
        return scratch;
    }

    static ByteBuffer direct(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    /** Zeroed memory. Valid until close(). */
    Struct room(int bytes) {
        if (bytes > BYTES - used) {
            // A large text has memory of its own, alive as long as C may look at it.
            ByteBuffer large = direct(bytes);
            this.large.add(large);
            return new Struct(large, 0, NATIVE.address(large));
        }
        int start = used;
        used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        for (int at = start; at < used; at += Long.BYTES) {
            buffer.putLong(at, 0);
        }
        return new Struct(buffer, start, address + start);
    }

    /** A struct with its struct_size set by the library. */
    Struct sized(int id, int size) {
        Struct struct = room(size);
        Library.check(RAW.structInit(struct.address(), id, size), this);
        return struct;
    }

    /** Where a fathom_error** argument points. */
    long error() {
        return error.address();
    }

    long takeError() {
        long found = error.int64(0);
        error.set(0, 0L);
        return found;
    }

    /** Where an argument points that receives a handle or a count. */
    long out() {
        return out.address();
    }

    long outValue() {
        return out.int64(0);
    }

    int outInt() {
        return out.int32(0);
    }

    /** UTF-8 of a text, without a NUL. */
    byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    long bytes(byte[] bytes) {
        if (bytes.length == 0) {
            return 0;
        }
        Struct copy = room(bytes.length);
        copy.put(0, bytes);
        return copy.address();
    }

    /** The text with a NUL behind it. */
    long terminated(String text) {
        byte[] utf8 = utf8(text);
        if (text.indexOf('\0') >= 0) {
            throw new FathomException(Status.INVALID_ARGUMENT,
                    "'" + text.replace('\0', '?') + "' holds a NUL");
        }
        Struct copy = room(utf8.length + 1);
        copy.put(0, utf8);
        return copy.address();
    }

    /** Writes pointer and count of a text into two fields; null stays NULL. */
    void text(Struct struct, int pointer, int count, String text) {
        if (text != null) {
            byte[] utf8 = utf8(text);
            struct.set(pointer, bytes(utf8)).set(count, (long) utf8.length);
        }
    }

    long ints(int[] numbers) {
        if (numbers.length == 0) {
            return 0;
        }
        Struct copy = room(Math.multiplyExact(numbers.length, Integer.BYTES));
        for (int i = 0; i < numbers.length; i++) {
            copy.set(i * Integer.BYTES, numbers[i]);
        }
        return copy.address();
    }

    @Override
    public void close() {
        large.clear();
        POOL.offer(this);
    }
}
