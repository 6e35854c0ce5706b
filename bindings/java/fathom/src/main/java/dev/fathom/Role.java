package dev.fathom;

/** Who says a message. */
public enum Role {
    /** Instructions from the operator. */
    SYSTEM,
    /** What the person or program asks. */
    USER,
    /** What the model answered earlier. */
    ASSISTANT,
    /** Result of a tool call. */
    TOOL;

    int code() {
        return ordinal() + 1;
    }
}
