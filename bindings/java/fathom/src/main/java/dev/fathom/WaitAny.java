package dev.fathom;

import static dev.fathom.Library.RAW;

import dev.fathom.spi.Constants;
import java.util.List;
import java.util.Optional;

/** Engine.waitAny(): the library is asked without waiting, and the waiting is done by Java. */
final class WaitAny {
    private final Engine engine;
    private final List<EventStream> streams;

    WaitAny(Engine engine, List<EventStream> streams) {
        this.engine = engine;
        this.streams = List.copyOf(streams);
    }

    Optional<EventStream> await(long timeout) {
        long start = System.nanoTime();
        Watch.Waiting waiting = new Watch.Waiting(Thread.currentThread());
        try {
            while (true) {
                EventStream found = poll();
                long left = timeout == -1 ? -1 : timeout - (System.nanoTime() - start);
                if (found != null || (left <= 0 && timeout != -1)) {
                    return Optional.ofNullable(found);
                }
                if (Thread.currentThread().isInterrupted()) {
                    throw new FathomException(Status.CANCELLED, "waitAny: interrupted");
                }
                waiting.prepare();
                for (EventStream stream : streams) {
                    stream.watch.add(waiting);
                    stream.watch.arm(stream.handle);
                }
                waiting.park(left);
            }
        } finally {
            streams.forEach(stream -> stream.watch.remove(waiting));
        }
    }

    /** A stream with an event, or null. */
    private EventStream poll() {
        int entered = 0;
        long address = engine.handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct array = scratch.room(Math.multiplyExact(streams.size(), Long.BYTES));
            for (EventStream stream : streams) {
                array.set(entered * Long.BYTES, stream.handle.enter());
                entered++;
            }
            int status = RAW.engineWaitAny(address, array.address(), entered, 0, scratch.out(),
                    scratch.error());
            if (status == Constants.TIMEOUT) {
                RAW.errorRelease(scratch.takeError());
                return null;
            }
            Library.check(status, scratch);
            return streams.get(scratch.outInt());
        } finally {
            for (int i = 0; i < entered; i++) {
                streams.get(i).handle.leave();
            }
            engine.handle.leave();
        }
    }
}
