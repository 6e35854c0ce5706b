#pragma once

// The norm of one row, and how the last block of a kernel takes it over from all the others.

#include "cuda/weight_decode.cuh"

namespace fathom::cuda {

/// Threads that norm a row, wherever that happens: the order of the additions depends on it.
inline constexpr int kNormThreads = 128;

/// residual += addend; out = weight * residual / rms(residual). All threads of the block, which has
/// kNormThreads.
__device__ __forceinline__ void norm_row(const RmsNormArgs& args, int row) {
    __shared__ float parts[kNormThreads / 32];
    const int64_t at = static_cast<int64_t>(row) * args.width;
    float* residual = args.residual + at;
    float sum = 0;
    for (int i = threadIdx.x; i < args.width; i += kNormThreads) {
        float value = residual[i];
        if (args.addend != nullptr) {
            value += args.addend[at + i];
            residual[i] = value;
        }
        sum = fmaf(value, value, sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    __syncthreads();
    float total = 0;
#pragma unroll
    for (int i = 0; i < kNormThreads / 32; ++i) total += parts[i];
    const float factor = 1.0f / sqrtf(total / static_cast<float>(args.width) + args.epsilon);
    for (int i = threadIdx.x; i < args.width; i += kNormThreads) {
        args.out[at + i] = args.weight[i] * (residual[i] * factor);
    }
}

/// Whether this block is the last of `n_blocks` to come here. What all have written before is then
/// seen by all its threads. The counter is zero again afterwards, ready for the next kernel.
__device__ __forceinline__ bool is_last_block(uint32_t* arrived, uint32_t n_blocks) {
    __shared__ bool is_last;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        is_last = atomicAdd(arrived, 1u) == n_blocks - 1;
        __threadfence();
        if (is_last) *arrived = 0;
    }
    __syncthreads();
    return is_last;
}

/// What a kernel of one row does at its end: the norm that follows it, by the last block.
__device__ __forceinline__ void finish_row(const LastBlockNorm& last) {
    if (last.arrived == nullptr) return;
    if (is_last_block(last.arrived, gridDim.x)) norm_row(last.norm, 0);
}

}  // namespace fathom::cuda
