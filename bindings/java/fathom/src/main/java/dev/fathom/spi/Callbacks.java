package dev.fathom.spi;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Where calls from C arrive. C knows a hook by its number, so that nothing but a number is kept
 * there, and no exception leaves this class: it would end the JVM.
 */
public final class Callbacks {
    /** Receives a log record. */
    @FunctionalInterface
    public interface Log {
        /** Called by a thread of the engine. */
        void log(int level, String text);
    }

    /** Receives the progress of loading. */
    @FunctionalInterface
    public interface Progress {
        /** Whether to go on. Called by the loading thread. */
        boolean progress(long bytesDone, long bytesTotal);
    }

    private static final ConcurrentHashMap<Long, Object> HOOKS = new ConcurrentHashMap<>();
    private static final AtomicLong LAST = new AtomicLong();

    private Callbacks() {}

    /** The number of a hook, to be given to C as user data. */
    public static long add(Object hook) {
        long number = LAST.incrementAndGet();
        HOOKS.put(number, hook);
        return number;
    }

    /** Ends what add() began, once C calls the hook no more. */
    public static void remove(long number) {
        HOOKS.remove(number);
    }

    /** The hooks that C may call; for tests. */
    public static int count() {
        return HOOKS.size();
    }

    /** Called by C. */
    public static void log(long number, int level, byte[] text) {
        try {
            if (HOOKS.get(number) instanceof Log hook) {
                hook.log(level, new String(text, StandardCharsets.UTF_8));
            }
        } catch (Throwable failure) {
            report(failure);
        }
    }

    /** Called by C: 0 to go on. */
    public static int progress(long number, long bytesDone, long bytesTotal) {
        try {
            return HOOKS.get(number) instanceof Progress hook
                    && !hook.progress(bytesDone, bytesTotal) ? 1 : 0;
        } catch (Throwable failure) {
            report(failure);
            return 1;
        }
    }

    private static void report(Throwable failure) {
        try {
            Thread thread = Thread.currentThread();
            thread.getUncaughtExceptionHandler().uncaughtException(thread, failure);
        } catch (Throwable worse) {
            // A handler that throws has been told what it asked for.
        }
    }
}
