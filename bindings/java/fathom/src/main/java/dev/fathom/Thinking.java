package dev.fathom;

/** Whether an answer begins with reasoning. */
public enum Thinking {
    /** The dialect's own default. */
    AUTO,
    /** With reasoning, where the dialect can. */
    ON,
    /** Without reasoning, where the dialect can. */
    OFF;

    int code() {
        return ordinal();
    }
}
