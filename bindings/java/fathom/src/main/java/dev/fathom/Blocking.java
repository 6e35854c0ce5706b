package dev.fathom;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * Calls that take long inside the library. They run on a thread of their own, so that a virtual
 * thread that asks for them is not pinned and an interrupted one can ask for their end.
 */
final class Blocking {
    private Blocking() {}

    /** The result of {@code call}; {@code interrupted} runs when the caller is interrupted. */
    static <T> T run(String name, Callable<T> call, Runnable interrupted) {
        CompletableFuture<T> result = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try {
                result.complete(call.call());
            } catch (Throwable failure) {
                result.completeExceptionally(failure);
            }
        }, name);
        thread.setDaemon(true);
        thread.start();
        boolean wasInterrupted = false;
        try {
            while (true) {
                try {
                    return result.get();
                } catch (InterruptedException failure) {
                    wasInterrupted = true;
                    interrupted.run();
                } catch (java.util.concurrent.ExecutionException failure) {
                    throw rethrown(failure.getCause());
                }
            }
        } finally {
            if (wasInterrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static RuntimeException rethrown(Throwable failure) {
        if (failure instanceof Error error) {
            throw error;
        }
        return failure instanceof RuntimeException known ? known : new CompletionException(failure);
    }
}
