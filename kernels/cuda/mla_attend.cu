// Absorbed attention at any number of rows: heads share one key and value row for each token, the
// latent row itself.
//
// Bound by: memory at decode. A block takes one part of one row's context for up to 16 heads, so a
// latent row is read once for all of them; tiles of 16 tokens come through shared memory, the next
// two on their way while one is computed. The last block of a row to finish merges the parts, in
// their order.

#include "cuda/row_norm.cuh"

namespace fathom::cuda {

constexpr int kWarps = kAttendThreads / 32;
constexpr int kHeads = kAttendHeads / kWarps;  // of a warp
static_assert(kHeads == 2);

__device__ __forceinline__ float2 load_pair(const float* row, int pair) {
    return reinterpret_cast<const float2*>(row)[pair];
}

__device__ __forceinline__ float2 load_pair(const uint16_t* row, int pair) {
    const uint32_t both = reinterpret_cast<const uint32_t*>(row)[pair];
    return make_float2(__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u));
}

__device__ __forceinline__ void copy16(void* to, const void* from) {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}

/// What a warp knows of one of its heads. Lane i has the value pairs i, i + 32, ...
template <int kPairs>
struct HeadState {
    float2 q[kPairs];
    float2 q_rope;
    float2 z[kPairs];
    float largest;
    float sum;
};

template <class Element>
struct Part {
    const AttendArgs& args;
    Element* tiles;  // [kStages, kAttendTokens, width]
    int row;
    int width;
    int end;

    /// Starts the copy of the tokens from `token` on; they lie in one page.
    __device__ __forceinline__ void fetch(int stage, int token) const {
        if (token >= end) return;
        const int page = args.in.pages[args.in.page_begin[row] + token / 64];
        const Element* from = static_cast<const Element*>(args.kv) +
                              (static_cast<int64_t>(page) * 64 + token % 64) * width;
        Element* to = tiles + stage * kAttendTokens * width;
        const int count = min(kAttendTokens, end - token) * width;
        constexpr int kEach = 16 / sizeof(Element);
        for (int i = threadIdx.x * kEach; i + kEach <= count; i += kAttendThreads * kEach) {
            copy16(to + i, from + i);
        }
        const int rest = count / kEach * kEach + threadIdx.x;
        if (rest < count) to[rest] = from[rest];
    }
};

template <class Element, int kPairs>
__device__ __forceinline__ void add_token(const Element* kv, const AttendArgs& args,
                                          HeadState<kPairs> (&state)[kHeads]) {
    const int lane = threadIdx.x % 32;
    float2 c[kPairs];
    float score[kHeads] = {};
    const auto both = [](float2 a, float2 b, float sum) {
        return fmaf(a.x, b.x, fmaf(a.y, b.y, sum));
    };
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
        const int pair = lane + 32 * j;
        c[j] = 2 * pair < args.latent ? load_pair(kv, pair) : make_float2(0, 0);
#pragma unroll
        for (int h = 0; h < kHeads; ++h) score[h] = both(state[h].q[j], c[j], score[h]);
    }
    if (2 * lane < args.qk_rope) {
        const float2 rope = load_pair(kv + args.latent, lane);
#pragma unroll
        for (int h = 0; h < kHeads; ++h) score[h] = both(state[h].q_rope, rope, score[h]);
    }
    __syncwarp();
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
        const float s = warp_sum(score[h]);
        const float largest = fmaxf(state[h].largest, s);
        const float keep = exp2f(state[h].largest - largest);
        const float p = exp2f(s - largest);
        state[h].largest = largest;
        state[h].sum = fmaf(state[h].sum, keep, p);
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
            state[h].z[j].x = fmaf(p, c[j].x, state[h].z[j].x * keep);
            state[h].z[j].y = fmaf(p, c[j].y, state[h].z[j].y * keep);
        }
    }
}

template <int kPairs>
__device__ __forceinline__ void begin_head(const AttendArgs& args, int row, int head,
                                           HeadState<kPairs>& state) {
    const int lane = threadIdx.x % 32;
    const bool is_there = head < args.n_heads;
    const int64_t at = static_cast<int64_t>(row) * args.n_heads + head;
    const auto scaled = [&](const float* from, int pair) {
        const float2 two = load_pair(from, pair);
        return make_float2(two.x * args.scale, two.y * args.scale);
    };
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
        const int pair = lane + 32 * j;
        state.q[j] = is_there && 2 * pair < args.latent
                         ? scaled(args.q_latent + at * args.latent, pair)
                         : make_float2(0, 0);
        state.z[j] = make_float2(0, 0);
    }
    state.q_rope = is_there && 2 * lane < args.qk_rope
                       ? scaled(args.queries + at * args.head_width + args.qk_nope, lane)
                       : make_float2(0, 0);
    state.largest = -INFINITY;
    state.sum = 0;
}

/// z of a head, or of a part of it.
template <int kPairs>
__device__ __forceinline__ void write_head(float* to, const float2 (&z)[kPairs], float factor,
                                           int latent) {
#pragma unroll
    for (int j = 0; j < kPairs; ++j) {
        const int pair = threadIdx.x % 32 + 32 * j;
        if (2 * pair >= latent) continue;
        reinterpret_cast<float2*>(to)[pair] = make_float2(z[j].x * factor, z[j].y * factor);
    }
}

template <int kPairs>
__device__ __forceinline__ void merge_parts(const AttendArgs& args, int row, int head,
                                            int n_splits) {
    const int64_t first = static_cast<int64_t>(blockIdx.y) * kMaxSplits * args.n_heads + head;
    float largest = -INFINITY;
    for (int s = 0; s < n_splits; ++s) {
        largest = fmaxf(largest, args.part_state[(first + s * args.n_heads) * 2]);
    }
    float2 z[kPairs];
#pragma unroll
    for (int j = 0; j < kPairs; ++j) z[j] = make_float2(0, 0);
    float sum = 0;
    for (int s = 0; s < n_splits; ++s) {
        const int64_t at = first + s * args.n_heads;
        const float keep = exp2f(args.part_state[at * 2] - largest);
        sum = fmaf(args.part_state[at * 2 + 1], keep, sum);
#pragma unroll
        for (int j = 0; j < kPairs; ++j) {
            const int pair = threadIdx.x % 32 + 32 * j;
            if (2 * pair >= args.latent) continue;
            const float2 part = load_pair(args.part_z + at * args.latent, pair);
            z[j].x = fmaf(part.x, keep, z[j].x);
            z[j].y = fmaf(part.y, keep, z[j].y);
        }
    }
    float* to = args.z + (static_cast<int64_t>(row) * args.n_heads + head) * args.latent;
    write_head(to, z, 1.0f / sum, args.latent);
}

template <class Element, int kPairs>
__device__ __forceinline__ void attend(const AttendArgs& args) {
    extern __shared__ uint4 shared[];
    const int row = args.first_row + blockIdx.y;
    const int n_tokens = args.in.position[row] + 1;
    const int split = split_tokens(n_tokens);
    const int begin = blockIdx.x * split;
    if (begin >= n_tokens) return;
    const int end = min(begin + split, n_tokens);
    const int width = args.latent + args.qk_rope;
    const Part<Element> part{args, reinterpret_cast<Element*>(shared), row, width, end};
    const int head = blockIdx.z * kAttendHeads + threadIdx.x / 32;  // and kWarps further
    HeadState<kPairs> state[kHeads];
    constexpr int kStages = kAttendStages<sizeof(Element)>;
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        part.fetch(stage, begin + stage * kAttendTokens);
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) begin_head(args, row, head + h * kWarps, state[h]);
    int stage = 0;
    for (int token = begin; token < end; token += kAttendTokens) {
        const int ahead = kStages - 1;
        part.fetch((stage + ahead) % kStages, token + ahead * kAttendTokens);
        asm volatile("cp.async.commit_group;" ::: "memory");
        asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 1) : "memory");
        __syncthreads();
        const Element* tile = part.tiles + stage * kAttendTokens * width;
        if (head < args.n_heads) {
            const int n = min(kAttendTokens, end - token);
            for (int i = 0; i < n; ++i) add_token(tile + i * width, args, state);
        }
        __syncthreads();
        stage = (stage + 1) % kStages;
    }
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    const int n_splits = (n_tokens + split - 1) / split;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
        const int mine = head + h * kWarps;
        if (mine >= args.n_heads) continue;
        if (n_splits == 1) {
            float* to = args.z + (static_cast<int64_t>(row) * args.n_heads + mine) * args.latent;
            write_head(to, state[h].z, 1.0f / state[h].sum, args.latent);
            continue;
        }
        const int64_t slot = static_cast<int64_t>(blockIdx.y) * kMaxSplits + blockIdx.x;
        const int64_t at = slot * args.n_heads + mine;
        write_head(args.part_z + at * args.latent, state[h].z, 1.0f, args.latent);
        if (threadIdx.x % 32 == 0) {
            args.part_state[at * 2] = state[h].largest;
            args.part_state[at * 2 + 1] = state[h].sum;
        }
    }
    if (n_splits == 1) return;
    uint32_t* arrived = args.arrived + blockIdx.y * gridDim.z + blockIdx.z;
    if (!is_last_block(arrived, n_splits)) return;
    for (int h = 0; h < kHeads; ++h) {
        const int mine = head + h * kWarps;
        if (mine < args.n_heads) merge_parts<kPairs>(args, row, mine, n_splits);
    }
}

#define FATHOM_ATTEND(name, element, pairs)                         \
    extern "C" __global__ void __launch_bounds__(kAttendThreads, 2) \
        name(const __grid_constant__ AttendArgs args) {             \
        attend<element, pairs>(args);                               \
    }
FATHOM_ATTEND(smxx_f32_attend_64, float, 1)
FATHOM_ATTEND(smxx_f32_attend_256, float, 4)
FATHOM_ATTEND(smxx_f32_attend_512, float, 8)
FATHOM_ATTEND(smxx_bf16_attend_64, uint16_t, 1)
FATHOM_ATTEND(smxx_bf16_attend_256, uint16_t, 4)
FATHOM_ATTEND(smxx_bf16_attend_512, uint16_t, 8)

}  // namespace fathom::cuda
