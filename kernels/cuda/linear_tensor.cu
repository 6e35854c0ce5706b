// Matrix products of two rows and more on tensor cores: weights as the 16-row operand, so that a
// few inputs waste little, and 8 warps that share the columns of one block of 16 outputs.
//
// Bound by: memory up to some 32 inputs, then by the inputs' way through L1. Eight 16-byte loads a
// lane are in flight, 32 KB a block.

#include "cuda/tensor_rows.cuh"

namespace fathom::cuda {

constexpr int kWarps = 8;
constexpr int kOutputs = 16;
constexpr int kPartStride = 20;  // no two lanes of a warp meet in a bank

template <WeightType kType, int kTiles>
__device__ __forceinline__ void linear_tensor(const LinearArgs& args) {
    __shared__ float parts[kWarps][kTiles * 8][kPartStride];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const bool second = static_cast<int>(blockIdx.x) >= args.part[0].blocks;
    const LinearPart& part = args.part[second ? 1 : 0];
    const int first = (blockIdx.x - (second ? args.part[0].blocks : 0)) * kOutputs;
    const int head = first / part.head_rows;
    const int tile = blockIdx.y * kTiles * 8;
    const void* row[1][2];
    const float* scale[1][2];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        const int output = min(first + lane / 4 + 8 * j, part.rows - 1);
        const int at = head * part.head_stride + part.head_offset + output - head * part.head_rows;
        row[0][j] = matrix_row<kType>(part.w, at, args.cols);
        scale[0][j] = scale_row<kType>(part.w, at, args.cols);
    }
    const float* x[kTiles];
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
        const int input = min(tile + i * 8 + lane / 4, args.n_rows - 1);
        x[i] = args.x + input * args.x_stride + head * part.x_head_stride;
    }
    float sums[1][kTiles][4] = {};
    tensor_rows<kType, 1, kTiles>(row, scale, x, args.cols, warp, kWarps, sums);
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            parts[warp][i * 8 + lane % 4 * 2 + c % 2][lane / 4 + c / 2 * 8] = sums[0][i][c];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x / 32; i < kTiles * 4; i += kWarps) {
        const int in_tile = i / 4 * 8 + i % 4 + lane / 16 * 4;
        const int output = first + lane % 16;
        if (tile + in_tile >= args.n_rows || output >= part.rows) continue;
        float sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += parts[w][in_tile][lane % 16];
        part.out[(tile + in_tile) * part.out_stride + output] = sum;
    }
}

#define FATHOM_LINEAR_TENSOR(name, type, tiles)                                 \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, 2)                \
        name##_linear_tensor_##tiles(const __grid_constant__ LinearArgs args) { \
        linear_tensor<type, tiles>(args);                                       \
    }
FATHOM_LINEAR_TENSOR(smxx_bf16, WeightType::kBf16, 1)
FATHOM_LINEAR_TENSOR(smxx_bf16, WeightType::kBf16, 2)
FATHOM_LINEAR_TENSOR(smxx_bf16, WeightType::kBf16, 4)
FATHOM_LINEAR_TENSOR(smxx_f8, WeightType::kF8, 1)
FATHOM_LINEAR_TENSOR(smxx_f8, WeightType::kF8, 2)
FATHOM_LINEAR_TENSOR(smxx_f8, WeightType::kF8, 4)

}  // namespace fathom::cuda
