package dev.fathom.spi;

import java.nio.ByteBuffer;

/** What Java itself cannot do, as a provider does it. All methods may be called by any thread. */
public interface Native {
    /** The functions of the library. */
    Raw raw();

    /** Where a direct buffer lies. */
    long address(ByteBuffer direct);

    /** Copies as many bytes as {@code to} has. */
    void copy(long from, byte[] to);

    /** Copies as many numbers as {@code to} has. */
    void copy(long from, int[] to);

    /** The text at an address, up to its NUL; null for 0. */
    String text(long address);

    /** The address of a fathom_log_function that calls {@link Callbacks#log}. */
    long logFunction();

    /** The address of a fathom_progress_function that calls {@link Callbacks#progress}. */
    long progressFunction();

    /** A new epoll instance, or minus errno. */
    int pollCreate();

    /** Reports the descriptor once when it is readable: now, or when it becomes so. */
    int POLL_ADD = 1;
    /** Forgets the descriptor. */
    int POLL_REMOVE = 2;
    /** As {@link #POLL_ADD}, of a descriptor that was added before. */
    int POLL_AGAIN = 3;

    /** Does one of the above; 0 or minus errno. */
    int pollControl(int poll, int operation, int descriptor);

    /** Waits for ever; the number of descriptors stored, or minus errno. */
    int pollWait(int poll, int[] descriptors);
}
