package dev.fathom.ffm;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.fathom.spi.Callbacks;
import dev.fathom.spi.Native;
import dev.fathom.spi.Raw;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;

/** Memory and hooks through the foreign function interface. */
final class FfmNative implements Native {
    /** All memory: C says how much of it is behind a pointer. */
    @SuppressWarnings("restricted")
    private static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private final Raw raw = new FfmRaw();
    private final FfmPoll poll = new FfmPoll();
    private final long logFunction = FfmLibrary.upcall(MethodHandles.lookup(), "log",
            MethodType.methodType(void.class, long.class, int.class, long.class, long.class),
            FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG));
    private final long progressFunction = FfmLibrary.upcall(MethodHandles.lookup(), "progress",
            MethodType.methodType(int.class, long.class, long.class, long.class),
            FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG));

    @Override
    public Raw raw() {
        return raw;
    }

    @Override
    public long address(ByteBuffer direct) {
        return MemorySegment.ofBuffer(direct).address();
    }

    @Override
    public void copy(long from, byte[] to) {
        MemorySegment.copy(ALL, JAVA_BYTE, from, to, 0, to.length);
    }

    @Override
    public void copy(long from, int[] to) {
        MemorySegment.copy(ALL, JAVA_INT, from, to, 0, to.length);
    }

    @Override
    public String text(long address) {
        return string(address);
    }

    static String string(long address) {
        return address == 0 ? null : ALL.getString(address);
    }

    @Override
    public long logFunction() {
        return logFunction;
    }

    @Override
    public long progressFunction() {
        return progressFunction;
    }

    @Override
    public int pollCreate() {
        return poll.create();
    }

    @Override
    public int pollControl(int epoll, int operation, int descriptor) {
        return poll.control(epoll, operation, descriptor);
    }

    @Override
    public int pollWait(int epoll, int[] descriptors) {
        return poll.await(epoll, descriptors);
    }

    // An exception that left one of these would end the JVM; Callbacks lets none out, and running
    // out of memory is all that is left here.

    private static void log(long number, int level, long text, long bytes) {
        try {
            byte[] copy = new byte[(int) bytes];
            MemorySegment.copy(ALL, JAVA_BYTE, text, copy, 0, copy.length);
            Callbacks.log(number, level, copy);
        } catch (Throwable failure) {
            // The record is lost.
        }
    }

    private static int progress(long number, long bytesDone, long bytesTotal) {
        try {
            return Callbacks.progress(number, bytesDone, bytesTotal);
        } catch (Throwable failure) {
            return 1;
        }
    }
}
