package dev.fathom;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongConsumer;

/**
 * A handle of the library with a count of the calls that use it. close() marks it and the last one
 * out releases it, so that no call ever sees a released handle, whichever thread closes when. That
 * a child keeps its parents alive is the library's own business.
 */
final class Handle implements Runnable {
    /** The net below close(): releases what became unreachable. */
    private static final Cleaner CLEANER = Cleaner.create();
    private static final int CLOSED = 1 << 31;

    private final AtomicInteger users = new AtomicInteger();
    private final String noun;
    private final long address;
    private final LongConsumer release;
    private final Lease lease;
    private volatile Cleaner.Cleanable cleanable;

    /** {@code lease}: what must outlive the handle, retained here; nullable. */
    Handle(String noun, long address, Lease lease, LongConsumer release) {
        this.noun = noun;
        this.address = address;
        this.lease = lease;
        this.release = release;
        if (lease != null) {
            lease.retain();
        }
    }

    /** Closes when {@code owner}, which this handle must not refer to, is unreachable. */
    Handle ownedBy(Object owner) {
        cleanable = CLEANER.register(owner, this);
        return this;
    }

    Lease lease() {
        return lease;
    }

    /** The address, good until leave(). */
    long enter() {
        while (true) {
            int now = users.get();
            if (now < 0) {
                throw new FathomException(Status.BAD_STATE, noun + ": it is closed");
            }
            if (users.compareAndSet(now, now + 1)) {
                return address;
            }
        }
    }

    void leave() {
        if (users.decrementAndGet() == CLOSED) {
            release();
        }
    }

    boolean closed() {
        return users.get() < 0;
    }

    /** Idempotent, from any thread. */
    void close() {
        cleanable.clean(); // Calls run(), once, here or on the cleaner's thread.
    }

    @Override
    public void run() {
        if (users.getAndUpdate(now -> now | CLOSED) == 0) {
            release();
        }
    }

    private void release() {
        release.accept(address);
        if (lease != null) {
            lease.release();
        }
    }

    /** Does something once all who retained it have released it. */
    static final class Lease {
        private final AtomicInteger holders = new AtomicInteger();
        private final Runnable end;

        Lease(Runnable end) {
            this.end = end;
        }

        void retain() {
            holders.incrementAndGet();
        }

        void release() {
            if (holders.decrementAndGet() == 0) {
                end.run();
            }
        }
    }
}
