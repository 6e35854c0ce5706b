// The last include of a variant: its table. FATHOM_KERNELS and FATHOM_ISA_NAME name it.

const CpuKernels FATHOM_KERNELS = {
    .name = FATHOM_ISA_NAME,
#ifdef FATHOM_BF16_DOT
    .bf16_dot = true,
#else
    .bf16_dot = false,
#endif
    .tile_tokens = kTileTokens,
    .linear = linear,
    .mix = mix,
    .attend = attend,
    .softmax_step = softmax_step,
    .softmax_merge = softmax_merge,
    .rms_norm = rms_norm,
    .widen = widen,
    .round_bf16 = round_bf16,
    .softmax = softmax,
    .sigmoid = sigmoid,
    .divide = divide,
};
