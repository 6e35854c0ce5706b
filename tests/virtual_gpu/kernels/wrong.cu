// Kernels that are wrong, one fault each. The line that a check must name carries a mark 'FAULT'
// with the kind of the finding; the test reads this file for it.
#include "kernel_helpers.h"

extern "C" __global__ void beyond_the_end(const float* x, float* y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = 1.0f;  // FAULT: out-of-bounds
}

extern "C" __global__ void not_aligned(const float* x, float* y) {
    const float4 four = *(const float4*)(x + 1);  // FAULT: misaligned
    y[threadIdx.x] = four.x + four.y + four.z + four.w;
}

extern "C" __global__ void beyond_shared(const float* x, float* y) {
    __shared__ float part[64];
    part[threadIdx.x] = x[threadIdx.x];  // FAULT: out-of-bounds
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x % 64];
}

extern "C" __global__ void no_barrier(const float* x, float* y) {
    __shared__ float part[256];
    part[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = part[255 - threadIdx.x];  // FAULT: race
}

extern "C" __global__ void no_second_barrier(const float* x, float* y) {
    __shared__ float part[256];
    float sum = 0;
    for (int round = 0; round < 4; round++) {
        part[threadIdx.x] = x[threadIdx.x] + round;  // FAULT: race
        __syncthreads();
        sum += part[255 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

extern "C" __global__ void no_warp_barrier(const float* x, float* y) {
    __shared__ float part[256];
    part[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = part[threadIdx.x ^ 1];  // FAULT: race-in-warp
}

extern "C" __global__ void divergent_barrier(const float* x, float* y) {
    __shared__ float part[256];
    part[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x % 3 == 0) {
        y[threadIdx.x] = part[threadIdx.x];
        __syncthreads();  // FAULT: divergent-barrier
        y[threadIdx.x] += part[255 - threadIdx.x];
    }
}

extern "C" __global__ void missing_warp_at_barrier(const float* x, float* y) {
    if (threadIdx.x < 64) {
        asm volatile("bar.sync 1, 128;" ::: "memory");  // FAULT: deadlock
    }
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void spins_forever(const float* x, float* y) {
    while (((volatile const float*)x)[0] != 77.0f) {  // FAULT: deadlock
    }
    y[threadIdx.x] = 1;
}

extern "C" __global__ void unwritten_shared(const float* x, float* y) {
    __shared__ float part[256];
    if (threadIdx.x < 200) part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = part[255 - threadIdx.x];  // FAULT: uninitialised
}

extern "C" __global__ void unwritten_global(const float* x, float* y) {
    y[threadIdx.x] = y[threadIdx.x + 256] + 1;  // FAULT: uninitialised
}

extern "C" __global__ void no_wait(const float* x, float* y) {
    __shared__ __align__(16) float part[1024];
    copy16(part + threadIdx.x * 4, x + threadIdx.x * 4);
    commit_copies();
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x * 4];  // FAULT: copy-in-flight
    wait_copies<0>();
}

extern "C" __global__ void waits_for_the_wrong_group(const float* x, float* y) {
    __shared__ __align__(16) float part[1024];
    copy16(part + threadIdx.x * 4, x + threadIdx.x * 4);
    commit_copies();
    wait_copies<1>();
    __syncthreads();
    y[threadIdx.x] = part[threadIdx.x * 4];  // FAULT: copy-in-flight
    wait_copies<0>();
}

extern "C" __global__ void own_wait_but_no_barrier(const float* x, float* y) {
    __shared__ __align__(16) float part[1024];
    copy16(part + threadIdx.x * 4, x + threadIdx.x * 4);
    commit_copies();
    wait_copies<0>();
    y[threadIdx.x] = part[1023 - threadIdx.x * 4];  // FAULT: race
}

extern "C" __global__ void blocks_write_the_same(const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x] + blockIdx.x;  // FAULT: race-global
}

extern "C" __global__ void block_reads_anothers(const float* x, float* y) {
    y[blockIdx.x * 256 + threadIdx.x] = x[threadIdx.x];
    y[((blockIdx.x + 1) % gridDim.x) * 256 + threadIdx.x] += 1;  // FAULT: race-global
}

extern "C" __global__ void flag_without_fence(const float* x, float* y, unsigned* flag) {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        y[0] = x[0];
        atomicExch(flag, 1u);
    } else if (blockIdx.x == 1 && threadIdx.x == 0) {
        while (*(volatile unsigned*)flag == 0) {
        }
        y[1] = y[0];  // FAULT: race-global
    }
}

extern "C" __global__ void overwrites_what_all_read(float* x, float* y, unsigned* flag) {
    y[blockIdx.x * 256 + threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x == 0) {
        atomicAdd(flag, 1u);
        if (blockIdx.x == 1) {
            while (*(volatile unsigned*)flag < 2) {
            }
            x[0] = 1;  // FAULT: race-global
        }
    }
}

extern "C" __global__ void shuffle_from_nobody(const float* x, float* y) {
    float value = x[threadIdx.x];
    if (threadIdx.x % 32 < 16) {
        value = __shfl_sync(0xffffu, value, threadIdx.x + 16);  // FAULT: shuffle-from-inactive-lane
    }
    y[threadIdx.x] = value;
}

extern "C" __global__ void traps(const float* x, float* y) {
    if (x[threadIdx.x] < 2) __trap();  // FAULT: trap
    y[threadIdx.x] = 1;
}
