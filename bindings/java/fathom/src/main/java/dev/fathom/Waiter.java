package dev.fathom;

import static dev.fathom.Library.NATIVE;

import dev.fathom.spi.Native;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The one thread that waits for the events of all streams. It sleeps in epoll on their descriptors,
 * so that a waiting reader costs no thread and a virtual one is not pinned. It lives as long as the
 * process, because streams may outlive the engine that a caller holds.
 */
final class Waiter implements Runnable {
    private static final int EINTR = 4;
    private static final int DESCRIPTORS_MAX = 256;
    private static final Waiter INSTANCE = new Waiter();

    private final int poll;
    // A report may still arrive for a descriptor that another stream took over; then that one looks
    // in vain once.
    private final ConcurrentHashMap<Integer, Runnable> waiting = new ConcurrentHashMap<>();

    private Waiter() {
        poll = NATIVE.pollCreate();
        if (poll < 0) {
            throw new FathomException(Status.NO_MEMORY, "epoll_create1: errno " + -poll);
        }
        Thread thread = new Thread(this, "fathom-waiter");
        thread.setDaemon(true);
        thread.start();
    }

    static Waiter instance() {
        return INSTANCE;
    }

    /** Runs {@code ready} once when the descriptor is readable: now, or when it becomes so. */
    void watch(int descriptor, Runnable ready) {
        boolean first = waiting.put(descriptor, ready) == null;
        int operation = first ? Native.POLL_ADD : Native.POLL_AGAIN;
        int status = NATIVE.pollControl(poll, operation, descriptor);
        if (status < 0) {
            throw new FathomException(Status.NO_MEMORY, "epoll_ctl: errno " + -status);
        }
    }

    /** Before the descriptor is closed. */
    void forget(int descriptor) {
        waiting.remove(descriptor);
        NATIVE.pollControl(poll, Native.POLL_REMOVE, descriptor);
    }

    @Override
    public void run() {
        int[] descriptors = new int[DESCRIPTORS_MAX];
        while (true) {
            int count = NATIVE.pollWait(poll, descriptors);
            if (count < 0 && count != -EINTR) {
                throw new IllegalStateException("epoll_wait: errno " + -count);
            }
            for (int i = 0; i < count; i++) {
                Runnable ready = waiting.get(descriptors[i]);
                if (ready != null) {
                    run(ready);
                }
            }
        }
    }

    private static void run(Runnable ready) {
        try {
            ready.run();
        } catch (Throwable failure) {
            // An executor that refuses, for one: that is its stream's affair and not the others'.
            Thread thread = Thread.currentThread();
            thread.getUncaughtExceptionHandler().uncaughtException(thread, failure);
        }
    }
}
