package dev.fathom;

/** How a call ended. */
public enum Status {
    /** Success. */
    OK,
    /** An argument, option or token id is out of its documented range. */
    INVALID_ARGUMENT,
    /** The object cannot do this in its present state. */
    BAD_STATE,
    /** Another call uses the object: see the threading table. */
    BUSY,
    /** The work was cancelled by the host. */
    CANCELLED,
    /** Nothing happened within the time given, or a deadline passed. */
    TIMEOUT,
    /** The system refused memory or a thread. */
    NO_MEMORY,
    /** The work does not fit into the budget that the host set. */
    BUDGET,
    /** The system failed to read a file. */
    IO,
    /** A file, JSON text or tokenizer does not follow its format. */
    FORMAT,
    /** Contents do not match their checksum. */
    INTEGRITY,
    /** Well-formed, but this library cannot do it. */
    UNSUPPORTED,
    /** The dialect cannot render this conversation. */
    TEMPLATE,
    /** A grammar or schema is wrong. */
    GRAMMAR,
    /** The prompt does not fit into the session's context. */
    CONTEXT_FULL,
    /** A device failed at something. */
    DEVICE,
    /** A device is gone; its engine is unusable, others are not. */
    DEVICE_LOST,
    /** The engine is shutting down. */
    SHUTDOWN,
    /** A mistake in this library. Please report the message. */
    INTERNAL,
    /** A status that is newer than this class. */
    UNKNOWN;

    int code() {
        return ordinal();
    }

    /** The value of a number. */
    static Status of(int code) {
        Status[] all = values();
        return code >= 0 && code < UNKNOWN.ordinal() ? all[code] : UNKNOWN;
    }
}
