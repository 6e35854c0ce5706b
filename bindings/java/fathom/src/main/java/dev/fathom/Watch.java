package dev.fathom;

import static dev.fathom.Library.RAW;

import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Those who wait for one stream: usually its consumer alone. Nothing is asked of the system until
 * somebody really waits.
 */
final class Watch implements Runnable {
    private static final int NONE = -1;

    private final Set<Runnable> waiting = ConcurrentHashMap.newKeySet(1);
    private final ReentrantLock lock = new ReentrantLock();
    private int descriptor = NONE; // Guarded by the lock.

    /** A thread that sleeps until a stream has an event. */
    static final class Waiting implements Runnable {
        private final Thread thread;
        private volatile boolean ready;

        Waiting(Thread thread) {
            this.thread = thread;
        }

        @Override
        public void run() {
            ready = true;
            LockSupport.unpark(thread);
        }

        void prepare() {
            ready = false;
        }

        /** Sleeps until ready, interrupted, or that many nanoseconds are over; -1: for ever. */
        void park(long timeout) {
            long start = System.nanoTime();
            while (!ready && !Thread.currentThread().isInterrupted()) {
                if (timeout == -1) {
                    LockSupport.park(this);
                    continue;
                }
                long left = timeout - (System.nanoTime() - start);
                if (left <= 0) {
                    return;
                }
                LockSupport.parkNanos(this, left);
            }
        }
    }

    void add(Runnable waiter) {
        waiting.add(waiter);
    }

    void remove(Runnable waiter) {
        waiting.remove(waiter);
    }

    /** Has all who wait run once the stream has an event: now, or when it gets one. */
    void arm(Handle stream) {
        long address = stream.enter();
        lock.lock();
        try {
            Waiter.instance().watch(descriptor(address), this);
        } finally {
            lock.unlock();
            stream.leave();
        }
    }

    private int descriptor(long address) {
        if (descriptor == NONE) {
            try (Scratch scratch = Scratch.take()) {
                Library.check(RAW.streamNotifyHandle(address, scratch.out(), scratch.error()),
                        scratch);
                descriptor = Math.toIntExact(scratch.outValue());
            }
        }
        return descriptor;
    }

    @Override
    public void run() {
        waiting.forEach(Runnable::run);
    }

    /** Before the stream, which owns the descriptor, is released. */
    void end() {
        lock.lock(); // For its memory: nobody is inside any more.
        try {
            if (descriptor != NONE) {
                Waiter.instance().forget(descriptor);
            }
        } finally {
            lock.unlock();
        }
    }
}
