package dev.fathom;

import static dev.fathom.Library.RAW;

import dev.fathom.spi.Callbacks;
import dev.fathom.spi.Layout;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;

/** Threads, memory and schedule. Most programs have one. Any thread, any number at once. */
public final class Engine implements AutoCloseable {
    final Handle handle;

    private Engine(long address, Handle.Lease lease) {
        handle = new Handle("engine", address, lease, RAW::engineRelease).ownedBy(this);
    }

    /** An engine with all defaults. */
    public static Engine create() {
        return create(null);
    }

    /** An engine. */
    public static Engine create(EngineOptions options) {
        BiConsumer<LogLevel, String> log = options == null ? null : options.log();
        long number = log == null ? 0 : Callbacks.add((Callbacks.Log)
                (level, text) -> log.accept(LogLevel.of(level), text));
        // C may call the hook until the last child of the engine is gone.
        Handle.Lease lease = log == null ? null : new Handle.Lease(() -> Callbacks.remove(number));
        try (Scratch scratch = Scratch.take()) {
            long struct = options == null ? 0 : options.write(scratch, number).address();
            Library.check(RAW.engineCreate(struct, scratch.out(), scratch.error()), scratch);
            return new Engine(scratch.outValue(), lease);
        } catch (Throwable failure) {
            Callbacks.remove(number);
            throw failure;
        }
    }

    /** Loads a checkpoint folder. Interrupting the caller cancels. */
    public Model load(Path folder) {
        return load(folder, null);
    }

    /** Loads a checkpoint folder. Interrupting the caller cancels. */
    public Model load(Path folder, ModelOptions options) {
        ModelOptions chosen = options == null ? new ModelOptions() : options;
        AtomicReference<Throwable> failed = new AtomicReference<>();
        AtomicBoolean interrupted = new AtomicBoolean();
        long number = Callbacks.add((Callbacks.Progress) (done, total) -> {
            try {
                boolean go = chosen.progress() == null || chosen.progress().update(done, total);
                return go && !interrupted.get();
            } catch (Throwable failure) {
                failed.set(failure);
                return false;
            }
        });
        long engine = handle.enter();
        try {
            return Blocking.run("fathom-load", () -> {
                try (Scratch scratch = Scratch.take()) {
                    Library.check(RAW.modelLoad(engine, ModelOptions.source(folder, scratch),
                            chosen.write(scratch, number).address(), scratch.out(),
                            scratch.error()), scratch);
                    return new Model(this, scratch.outValue());
                }
            }, () -> interrupted.set(true));
        } catch (FathomException failure) {
            if (failed.get() != null) {
                failure.initCause(failed.get());
            }
            throw failure;
        } finally {
            handle.leave();
            Callbacks.remove(number);
        }
    }

    /**
     * Runs steps on the caller's thread, for a manual engine.
     *
     * @param budget stop after the step in which this much time has passed; zero: one step
     * @return whether work is left
     */
    public boolean step(Duration budget) {
        long engine = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Library.check(RAW.engineStep(engine, Struct.nanoseconds(budget), scratch.out(),
                    scratch.error()), scratch);
            return scratch.outInt() != 0;
        } finally {
            handle.leave();
        }
    }

    /**
     * Waits until at least one of many streams has an event. Interrupting the caller ends the wait
     * with {@link Status#CANCELLED} and leaves the streams alone.
     *
     * @return a stream with an event, or empty when the time is over
     */
    public Optional<EventStream> waitAny(List<EventStream> streams, Duration timeout) {
        return new WaitAny(this, streams).await(Struct.nanoseconds(timeout));
    }

    /** A snapshot of the counters. */
    public EngineStats stats() {
        long engine = handle.enter();
        try (Scratch scratch = Scratch.take()) {
            Struct stats = scratch.sized(Layout.EngineStats.ID, Layout.EngineStats.SIZE);
            Library.check(RAW.engineStatsRead(engine, stats.address(), scratch.error()), scratch);
            return EngineStats.read(stats);
        } finally {
            handle.leave();
        }
    }

    /**
     * Lets running streams finish for that long, then cancels them. New work is refused from the
     * first moment. Idempotent.
     *
     * @return whether all streams finished by themselves
     */
    public boolean shutdown(Duration timeout) {
        long engine = handle.enter();
        try {
            return Blocking.run("fathom-shutdown", () -> {
                try (Scratch scratch = Scratch.take()) {
                    int status = RAW.engineShutdown(engine, Struct.nanoseconds(timeout),
                            scratch.error());
                    Library.check(status, scratch);
                    return true;
                } catch (FathomException failure) {
                    if (failure.status() == Status.TIMEOUT) {
                        return false;
                    }
                    throw failure;
                }
            }, () -> { });
        } finally {
            handle.leave();
        }
    }

    /** The engine ends when its models, sessions and streams are closed too. */
    @Override
    public void close() {
        handle.close();
    }
}
