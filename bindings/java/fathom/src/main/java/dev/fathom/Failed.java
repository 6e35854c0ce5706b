package dev.fathom;

/** The failure that a last event may hold. */
final class Failed {
    private Failed() {}

    static void check(Event.Done done) {
        if (done.finishReason() == FinishReason.ERROR) {
            throw new FathomException(done.status(), done.message().isEmpty()
                    ? "stream: " + done.status() : done.message());
        }
    }
}
