package dev.fathom;

/** What computes. */
public enum DeviceKind {
    /** A processor of this machine. */
    CPU,
    /** An NVIDIA GPU, by its plugin and driver. */
    CUDA;

    int code() {
        return ordinal() + 1;
    }

    /** The value of a number; CPU for one that is newer than this class. */
    static DeviceKind of(int code) {
        DeviceKind[] all = values();
        return code >= 1 && code < all.length + 1 ? all[code - 1] : CPU;
    }
}
