package dev.fathom;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** Memory that C reads or writes, at offsets of {@link dev.fathom.spi.Layout}. */
final class Struct {
    private final ByteBuffer buffer;
    private final int start;
    private final long address;

    Struct(ByteBuffer buffer, int start, long address) {
        this.buffer = buffer;
        this.start = start;
        this.address = address;
    }

    long address() {
        return address;
    }

    /** The struct that lies {@code offset} bytes behind this one. */
    Struct at(int offset) {
        return new Struct(buffer, start + offset, address + offset);
    }

    int int32(int offset) {
        return buffer.getInt(start + offset);
    }

    long int64(int offset) {
        return buffer.getLong(start + offset);
    }

    /** A field of type char[]. */
    String characters(int offset, int bytes) {
        byte[] copy = new byte[bytes];
        buffer.get(start + offset, copy);
        int length = 0;
        while (length < bytes && copy[length] != 0) {
            length++;
        }
        return new String(copy, 0, length, StandardCharsets.UTF_8);
    }

    Struct set(int offset, int value) {
        buffer.putInt(start + offset, value);
        return this;
    }

    Struct set(int offset, boolean value) {
        return set(offset, value ? 1 : 0);
    }

    Struct set(int offset, long value) {
        buffer.putLong(start + offset, value);
        return this;
    }

    Struct set(int offset, float value) {
        buffer.putFloat(start + offset, value);
        return this;
    }

    /** Nanoseconds; null stays 0, the default. */
    Struct set(int offset, Duration value) {
        return set(offset, value == null ? 0 : nanoseconds(value));
    }

    void put(int offset, byte[] bytes) {
        buffer.put(start + offset, bytes);
    }

    /** For the library: what is longer than it can count, 584 years, is for ever. */
    static long nanoseconds(Duration time) {
        if (time.isNegative()) {
            return 0;
        }
        return time.getSeconds() >= Long.MAX_VALUE / 1_000_000_000 ? -1 : time.toNanos();
    }
}
