package dev.fathom;

/** The numbers that the KV cache is kept in. */
public enum KvType {
    /** What fits the weights: F32 for F32, else BF16. */
    AUTO,
    /** BF16. */
    BF16,
    /** F32. */
    F32;

    int code() {
        return ordinal();
    }

    /** The value of a number; AUTO for one that is newer than this class. */
    static KvType of(int code) {
        KvType[] all = values();
        return code >= 0 && code < all.length ? all[code] : AUTO;
    }
}
