package dev.fathom.jni;

import dev.fathom.spi.Callbacks;
import dev.fathom.spi.Native;
import dev.fathom.spi.Raw;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** Each native method is a function of fathom_jni.c. */
final class JniNative implements Native {
    private final Raw raw = new JniRaw();

    /** What was wrong, or null. */
    static native String open(String library);

    @Override
    public Raw raw() {
        return raw;
    }

    @Override
    public native long address(ByteBuffer direct);

    @Override
    public native void copy(long from, byte[] to);

    @Override
    public native void copy(long from, int[] to);

    @Override
    public String text(long address) {
        if (address == 0) {
            return null;
        }
        byte[] bytes = new byte[length(address)];
        copy(address, bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static native int length(long text);

    @Override
    public native long logFunction();

    @Override
    public native long progressFunction();

    @Override
    public native int pollCreate();

    @Override
    public native int pollControl(int poll, int operation, int descriptor);

    @Override
    public native int pollWait(int poll, int[] descriptors);

    // C finds these two here, in its own class loader.

    static void log(long number, int level, byte[] text) {
        Callbacks.log(number, level, text);
    }

    static int progress(long number, long bytesDone, long bytesTotal) {
        return Callbacks.progress(number, bytesDone, bytesTotal);
    }
}
