package dev.fathom;

/** How much a log record matters. */
public enum LogLevel {
    /** Something that a person should look at. */
    WARNING,
    /** Something that happens once in a while: a model was loaded. */
    INFO;

    int code() {
        return ordinal() + 1;
    }

    /** The value of a number; WARNING for one that is newer than this class. */
    static LogLevel of(int code) {
        LogLevel[] all = values();
        return code >= 1 && code < all.length + 1 ? all[code - 1] : WARNING;
    }
}
