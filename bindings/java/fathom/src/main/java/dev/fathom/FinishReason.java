package dev.fathom;

/** Why an answer ended. */
public enum FinishReason {
    /** The model ended its turn. */
    END_OF_TURN,
    /** maxTokens or the context is used up, or the prompt alone was asked for. */
    LENGTH,
    /** A stop string or stop id appeared. */
    STOP,
    /** The stream was cancelled or closed. */
    CANCELLED,
    /** The deadline passed. */
    DEADLINE,
    /** Something failed; the event's status and message say what. */
    ERROR;

    int code() {
        return ordinal() + 1;
    }

    /** The value of a number; ERROR for one that is newer than this class. */
    static FinishReason of(int code) {
        FinishReason[] all = values();
        return code >= 1 && code < all.length + 1 ? all[code - 1] : ERROR;
    }
}
