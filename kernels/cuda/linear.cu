// Matrix products of few rows: every weight is read once, 16 bytes a lane, two outputs a warp.
//
// Bound by: memory. A lane keeps four loads of each of its two rows in flight, 128 bytes, so that
// 16 warps an SM have 64 KB on their way.

#include "cuda/row_norm.cuh"

namespace fathom::cuda {

constexpr int kWarps = 4;
constexpr int kOutputs = 2;  // a warp

template <WeightType kType, bool kWide, int kInputs>
__device__ __forceinline__ void linear(const LinearArgs& args) {
    const int warp = threadIdx.x / 32;
    const bool second = static_cast<int>(blockIdx.x) >= args.part[0].blocks;
    const LinearPart& part = args.part[second ? 1 : 0];
    const int block = blockIdx.x - (second ? args.part[0].blocks : 0);
    const int first = (block * kWarps + warp) * kOutputs;
    if (first >= part.rows) return;
    const void* row[kOutputs];
    const float* scale[kOutputs];
#pragma unroll
    for (int j = 0; j < kOutputs; ++j) {
        // An odd last row is computed twice and stored once.
        const int output = min(first + j, part.rows - 1);
        const int head = output / part.head_rows;
        const int at = head * part.head_stride + part.head_offset + output % part.head_rows;
        row[j] = matrix_row<kType>(part.w, at, args.cols);
        scale[j] = scale_row<kType>(part.w, at, args.cols);
    }
    const int head = first / part.head_rows;
    const int tile = blockIdx.y * kInputs;
    const float* x[kInputs];
#pragma unroll
    for (int r = 0; r < kInputs; ++r) {
        x[r] = args.x + min(tile + r, args.n_rows - 1) * args.x_stride + head * part.x_head_stride;
    }
    float sums[kOutputs][kInputs];
    dot_rows<kType, kWide, kOutputs, kInputs>(row, scale, x, args.cols, sums);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < kInputs; ++r) {
#pragma unroll
        for (int j = 0; j < kOutputs; ++j) {
            if (lane == r * kOutputs + j && first + j < part.rows && tile + r < args.n_rows) {
                part.out[(tile + r) * part.out_stride + first + j] = sums[j][r];
            }
        }
    }
}

static_assert(32 * kWarps == kNormThreads);

#define FATHOM_LINEAR(name, type, wide, inputs)                                  \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, inputs <= 2   ? 4  \
                                                              : inputs == 4 ? 3  \
                                                                            : 2) \
        name(const __grid_constant__ LinearArgs args) {                          \
        linear<type, wide, inputs>(args);                                        \
        if constexpr (inputs == 1) finish_row(args.last);                        \
    }
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_1, true, 1)
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_2, true, 2)
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_4, true, 4)
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_8, true, 8)
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_narrow_1, false, 1)
FATHOM_FOR_TYPES(FATHOM_LINEAR, _linear_narrow_4, false, 4)

}  // namespace fathom::cuda
