// Kernels that are right, in the forms that an inference engine uses. The machine must compute what
// plain C++ computes and must find nothing to complain about.
#include "kernel_helpers.h"

// y[r] = sum_k w[r][k] x[k]; one warp a row, 16 bytes a lane and load.
extern "C" __global__ void __launch_bounds__(128)
gemv(const uint4* __restrict__ w, const uint4* __restrict__ x, float* y, int rows, int k8) {
    const int lane = threadIdx.x % 32;
    const int row = blockIdx.x * 4 + threadIdx.x / 32;
    if (row >= rows) return;
    float even = 0;
    float odd = 0;
#pragma unroll 4
    for (int i = lane; i < k8; i += 32) {
        const uint4 a = __ldcs(w + (size_t)row * k8 + i);
        const uint4 b = __ldg(x + i);
        even = fmaf(low_bf16(a.x), low_bf16(b.x), even);
        odd = fmaf(high_bf16(a.x), high_bf16(b.x), odd);
        even = fmaf(low_bf16(a.y), low_bf16(b.y), even);
        odd = fmaf(high_bf16(a.y), high_bf16(b.y), odd);
        even = fmaf(low_bf16(a.z), low_bf16(b.z), even);
        odd = fmaf(high_bf16(a.z), high_bf16(b.z), odd);
        even = fmaf(low_bf16(a.w), low_bf16(b.w), even);
        odd = fmaf(high_bf16(a.w), high_bf16(b.w), odd);
    }
    even = warp_sum(even + odd);
    if (lane == 0) y[row] = even;
}

// y = x / rms(x) * w, one block a row of n floats; the row is kept in dynamic shared memory.
extern "C" __global__ void __launch_bounds__(256)
rms_norm(const float* x, const float* __restrict__ w, __nv_bfloat16* y, int n, float epsilon) {
    __shared__ float part[8];
    extern __shared__ float4 row4[];
    float* row = (float*)row4;
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const float value = x[(size_t)blockIdx.x * n + i];
        row[i] = value;
        sum += value * value;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < blockDim.x / 32; i++) sum += part[i];
    const float scale = rsqrtf(sum / n + epsilon);
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        y[(size_t)blockIdx.x * n + i] = __float2bfloat16_rn(row[i] * scale * w[i]);
    }
}

// In place; one block a row. Every thread reads and writes the same elements.
extern "C" __global__ void __launch_bounds__(128) softmax(float* x, int n) {
    __shared__ float part[4];
    float* row = x + (size_t)blockIdx.x * n;
    float most = -INFINITY;
    for (int i = threadIdx.x; i < n; i += 128) most = fmaxf(most, row[i]);
    most = warp_max(most);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = most;
    __syncthreads();
    most = fmaxf(fmaxf(part[0], part[1]), fmaxf(part[2], part[3]));
    __syncthreads();
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += 128) {
        const float e = exp2f((row[i] - most) * 1.44269504f);
        row[i] = e;
        sum += e;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = part[0] + part[1] + part[2] + part[3];
    for (int i = threadIdx.x; i < n; i += 128) row[i] /= sum;
}

// c[64, n] = a[64, k] b[n, k]^T; a block makes 64 x 64 of c with 4 warps, tiles of 32 along k, two
// of them on their way. Rows are 40 values apart, so that ldmatrix meets no bank twice.
constexpr int kTile = 32;
constexpr int kStride = 40;

__device__ void load_tile(__nv_bfloat16 (*to)[kStride], const __nv_bfloat16* from, int k) {
    for (int i = threadIdx.x; i < 64 * kTile / 8; i += 128) {
        const int row = i / (kTile / 8);
        const int column = i % (kTile / 8) * 8;
        copy16(&to[row][column], from + (size_t)row * k + column);
    }
}

extern "C" __global__ void __launch_bounds__(128)
gemm(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int n, int k) {
    __shared__ __align__(16) __nv_bfloat16 tile_a[2][64][kStride];
    __shared__ __align__(16) __nv_bfloat16 tile_b[2][64][kStride];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    b += (size_t)blockIdx.x * 64 * k;
    float sums[8][4] = {};
    load_tile(tile_a[0], a, k);
    load_tile(tile_b[0], b, k);
    commit_copies();
    for (int step = 0; step < k / kTile; step++) {
        if (step + 1 < k / kTile) {
            load_tile(tile_a[(step + 1) % 2], a + (step + 1) * kTile, k);
            load_tile(tile_b[(step + 1) % 2], b + (step + 1) * kTile, k);
        }
        commit_copies();
        wait_copies<1>();
        __syncthreads();
        for (int half = 0; half < kTile; half += 16) {
            uint32_t fa[4];
            load_matrix4(fa, &tile_a[step % 2][warp * 16 + lane % 16][half + lane / 16 * 8]);
            for (int column = 0; column < 64; column += 16) {
                uint32_t fb[4];
                load_matrix4(fb, &tile_b[step % 2][column + lane / 16 * 8 + lane % 8]
                                        [half + lane / 8 % 2 * 8]);
                mma_bf16(sums[column / 8], fa, fb);
                mma_bf16(sums[column / 8 + 1], fa, fb + 2);
            }
        }
        __syncthreads();
    }
    for (int j = 0; j < 8; j++) {
        const int row = warp * 16 + lane / 4;
        float* out = c + (size_t)row * n + blockIdx.x * 64 + j * 8 + lane % 4 * 2;
        *(float2*)out = make_float2(sums[j][0], sums[j][1]);
        *(float2*)(out + 8 * (size_t)n) = make_float2(sums[j][2], sums[j][3]);
    }
}

// total = sum of x: blocks add up in shared memory, the last block to finish adds the parts.
extern "C" __global__ void __launch_bounds__(256)
reduce_last_block(const float* x, float* parts, unsigned* done, float* total, int n) {
    __shared__ float part[256];
    __shared__ bool is_last;
    float sum = 0;
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) sum += x[i];
    part[threadIdx.x] = sum;
    __syncthreads();
    for (int half = 128; half != 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 32) {
        parts[blockIdx.x] = part[0];
        __threadfence();
        is_last = atomicAdd(done, 1u) == gridDim.x - 1;
        // The thread that read the counter must fence; another one's fence acquires nothing.
        __threadfence();
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        float all = 0;
        for (int i = 0; i < gridDim.x; i++) all += parts[i];
        *total = all;
    }
}

// Every block writes its number, meets the others at a barrier over the whole grid, and reads its
// neighbour's: needs all blocks on the device at once. The warp that works is not the one that
// waits, so both barriers of the block matter.
extern "C" __global__ void grid_barrier(unsigned* arrived, int* values, int* out) {
    if (threadIdx.x == 32) values[blockIdx.x] = blockIdx.x * 7;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (*(volatile unsigned*)arrived < gridDim.x) {
        }
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 32) out[blockIdx.x] = values[(blockIdx.x + 1) % gridDim.x];
}

// The other way round: all blocks read all values, and only when all have read is any overwritten.
extern "C" __global__ void grid_write_after_read(unsigned* arrived, int* values) {
    int sum = 0;
    if (threadIdx.x == 32) {
        for (int i = 0; i < gridDim.x; i++) sum += values[i];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (*(volatile unsigned*)arrived < gridDim.x) {
        }
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 32) values[blockIdx.x] = sum;
}

// Lanes that part and meet again: data-dependent loops, branches, a switch, partial masks.
extern "C" __global__ void divergence(const uint32_t* x, uint32_t* y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t value = x[i];
    uint32_t steps = 0;
    while (value != 1 && steps < 300) {
        if (value & 1) {
            if (value % 3 == 0) steps += 2;
            value = 3 * value + 1;
        } else {
            value /= 2;
        }
        steps++;
    }
    switch (x[i] % 7) {
        case 0: steps += 11; break;
        case 1: steps *= 3; break;
        case 2: steps ^= 0x55; break;
        case 3: steps = ~steps; break;
        case 4: steps <<= 2; break;
        case 5: steps = steps / 5 + x[i] % 13; break;
        default: steps -= 9;
    }
    if (i % 32 < 16) {
        steps += __shfl_xor_sync(0xffffu, steps, 1) * 3;
    } else {
        steps += __shfl_down_sync(0xffff0000u, steps, 2);
    }
    y[i] = steps + __shfl_sync(~0u, steps, 31);
}

// A function that stays one, called by some lanes from here and by others from there, with a
// barrier after they have met again.
__device__ __noinline__ float weigh(float x, int steps) {
    float sum = 0;
    for (int i = 0; i < steps; i++) sum += x * i;
    return sum;
}

__device__ __noinline__ float weigh_twice(float x, int steps) {
    return weigh(x, steps) + weigh(2 * x, steps / 2);
}

extern "C" __global__ void calls(const float* x, float* y) {
    __shared__ float part[128];
    const int i = threadIdx.x;
    float value = x[i];
    if (i % 3 == 0) {
        value = weigh(value, i % 7);
    } else if (i % 3 == 1) {
        value = weigh_twice(value, i % 5);
    }
    part[i] = value;
    __syncthreads();
    y[i] = part[127 - i];
}

extern "C" __global__ void histogram(const int* x, int* counts, int n) {
    __shared__ int bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&bins[x[i] & 15], 1);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(counts + threadIdx.x, bins[threadIdx.x]);
}
