// Kernels for sm_90a: barriers in shared memory, bulk copies, wgmma, dependent launches.
#include "hopper_helpers.h"

// c[64, 16] = a[64, k] b[16, k]^T. Warp 4 brings tiles of 64 along k, two of them on their way; the
// warpgroup of warps 0 to 3 multiplies.
extern "C" __global__ void __launch_bounds__(160)
warp_specialised_gemm(const __grid_constant__ TensorMapBytes map_a,
                      const __grid_constant__ TensorMapBytes map_b, float* c, int k) {
    extern __shared__ __align__(1024) unsigned char tiles[];
    __shared__ __align__(8) uint64_t barriers[4];
    constexpr int kStage = 8192 + 2048;
    const uint32_t base = shared_address(tiles);
    const uint32_t full = shared_address(barriers);
    const uint32_t empty = full + 16;
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) {
            barrier_init(full + 8 * i, 1);
            barrier_init(empty + 8 * i, 4);
        }
        barrier_fence();
    }
    __syncthreads();
    if (warp == 4) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        for (int step = 0; lane == 0 && step < k / 64; step++) {
            const int stage = step % 2;
            if (step >= 2) barrier_wait(empty + 8 * stage, (step / 2 - 1) & 1);
            barrier_expect(full + 8 * stage, kStage);
            load_tile(base + stage * kStage, &map_a, step * 64, 0, full + 8 * stage);
            load_tile(base + stage * kStage + 8192, &map_b, step * 64, 0, full + 8 * stage);
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float sums[8] = {};
    for (int step = 0; step < k / 64; step++) {
        const int stage = step % 2;
        barrier_wait(full + 8 * stage, (step / 2) & 1);
        product_fence();
        for (int j = 0; j < 4; j++) {
            product_bf16_n16(sums, descriptor(base + stage * kStage + 32 * j),
                             descriptor(base + stage * kStage + 8192 + 32 * j));
        }
        product_commit();
        product_wait<0>();
        if (lane == 0) barrier_arrive(empty + 8 * stage);
    }
    const int row = warp * 16 + lane / 4;
    for (int j = 0; j < 2; j++) {
        float* out = c + row * 16 + j * 8 + lane % 4 * 2;
        *(float2*)out = make_float2(sums[4 * j], sums[4 * j + 1]);
        *(float2*)(out + 8 * 16) = make_float2(sums[4 * j + 2], sums[4 * j + 3]);
    }
}

// y = 2 x in pieces of 1,024 floats that bulk copies bring and take away. The buffer is used again.
extern "C" __global__ void __launch_bounds__(128)
bulk_double(const float* x, float* y, int pieces) {
    __shared__ __align__(128) float buffer[1024];
    __shared__ __align__(8) uint64_t barrier_storage;
    const uint32_t barrier = shared_address(&barrier_storage);
    const uint32_t place = shared_address(buffer);
    if (threadIdx.x == 0) {
        barrier_init(barrier, 1);
        barrier_fence();
    }
    __syncthreads();
    for (int piece = 0; piece < pieces; piece++) {
        if (threadIdx.x == 0) {
            barrier_expect(barrier, 4096);
            load_bulk(place, x + 1024 * piece, 4096, barrier);
        }
        barrier_wait(barrier, piece & 1);
        for (int i = threadIdx.x; i < 1024; i += 128) buffer[i] *= 2;
        proxy_fence();
        __syncthreads();
        if (threadIdx.x == 0) {
            store_bulk(y + 1024 * piece, place, 4096);
            commit_stores();
            wait_stores_read();
        }
    }
}

// Tiles of 16 rows of 32 floats through a swizzled buffer: out[y][x] = in[y][x] + 1.
extern "C" __global__ void __launch_bounds__(128)
tile_increment(const __grid_constant__ TensorMapBytes from,
               const __grid_constant__ TensorMapBytes to) {
    __shared__ __align__(1024) float tile[16 * 32];
    __shared__ __align__(8) uint64_t barrier_storage;
    const uint32_t barrier = shared_address(&barrier_storage);
    const int x = blockIdx.x * 32;
    const int y = blockIdx.y * 16;
    if (threadIdx.x == 0) {
        barrier_init(barrier, 1);
        barrier_fence();
        barrier_expect(barrier, sizeof tile);
        load_tile(shared_address(tile), &from, x, y, barrier);
    }
    __syncthreads();
    barrier_wait(barrier, 0);
    for (int i = threadIdx.x; i < 16 * 32; i += 128) tile[i] += 1;
    proxy_fence();
    __syncthreads();
    if (threadIdx.x == 0) {
        store_tile(&to, x, y, shared_address(tile));
        commit_stores();
        wait_stores_read();
    }
}

// cp.async that reports to a barrier: every thread copies, a wait for all of them.
extern "C" __global__ void __launch_bounds__(128) copies_report(const float* x, float* y) {
    __shared__ __align__(16) float buffer[512];
    __shared__ __align__(8) uint64_t barrier_storage;
    const uint32_t barrier = shared_address(&barrier_storage);
    if (threadIdx.x == 0) barrier_init(barrier, 128);
    __syncthreads();
    copy16(buffer + 4 * threadIdx.x, x + 4 * threadIdx.x);
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
    barrier_wait(barrier, 0);
    for (int i = 0; i < 4; i++) y[4 * threadIdx.x + i] = buffer[511 - 4 * threadIdx.x - i];
}

// Launched with programmatic stream serialisation: what the launch before writes may be read only
// after the wait.
extern "C" __global__ void __launch_bounds__(128) dependent_add(const float* x, float* y) {
    const float own = (float)threadIdx.x;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    y[threadIdx.x] = x[threadIdx.x] + own;
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
