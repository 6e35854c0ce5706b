package dev.fathom;

/** Instruction sets, least first. */
public enum CpuLevel {
    /** The best that the processor has. */
    AUTO,
    /** Plain C++. */
    SCALAR,
    /** AVX2 with FMA and F16C. */
    AVX2,
    /** AVX-512 F, BW, DQ, VL. */
    AVX512,
    /** AVX-512 with BF16 dot products. */
    AVX512_BF16;

    int code() {
        return ordinal();
    }
}
