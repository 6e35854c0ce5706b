// The router: softmax (V2) or sigmoid (V3), group limiting, top-k, and the grouping of rows by
// expert. Ties go to the lower index. One block a tile of 32 rows, one warp a row at a time.

#include "cuda/row_norm.cuh"

namespace fathom::cuda {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

struct Best {
    float score;
    int index;
};

/// Best of what a lane has not taken, over the warp. Where no score is larger, as among NaNs, the
/// first index counts, so that there is always one.
__device__ __forceinline__ Best best_untaken(const float* scores, uint32_t taken, int n) {
    Best best{0, -1};
    const int lane = threadIdx.x % 32;
    for (int i = lane, bit = 0; i < n; i += 32, ++bit) {
        if (taken >> bit & 1) continue;
        if (best.index < 0 || scores[i] > best.score) best = {scores[i], i};
    }
    __syncwarp();
#pragma unroll
    for (int step = 16; step != 0; step /= 2) {
        const float score = __shfl_xor_sync(~0u, best.score, step);
        const int index = __shfl_xor_sync(~0u, best.index, step);
        const bool is_better = score > best.score;
        const bool is_worse = score < best.score;
        if (index >= 0 && (best.index < 0 || is_better || (!is_worse && index < best.index))) {
            best = {score, index};
        }
    }
    return best;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int step = 16; step != 0; step /= 2) {
        value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
    }
    return value;
}

/// Probabilities of the row's experts, each lane those that it will look at again.
__device__ __forceinline__ void score_experts(const RouteArgs& args, const float* logits,
                                              float* scores) {
    const int lane = threadIdx.x % 32;
    const int n = args.n_experts;
    if (args.sigmoid) {
        for (int i = lane; i < n; i += 32) scores[i] = sigmoid(logits[i]);
        return;
    }
    float largest = -INFINITY;
    for (int i = lane; i < n; i += 32) largest = fmaxf(largest, logits[i]);
    __syncwarp();
    largest = warp_max(largest);
    float sum = 0;
    for (int i = lane; i < n; i += 32) {
        scores[i] = exponential(logits[i] - largest);
        sum += scores[i];
    }
    __syncwarp();
    sum = warp_sum(sum);
    for (int i = lane; i < n; i += 32) scores[i] /= sum;
}

/// Score of a group: its best member, or the sum of its two best.
__device__ __forceinline__ float group_score(const float* members, int n, bool top2) {
    float best = -INFINITY;
    float second = -INFINITY;
    for (int i = 0; i < n; ++i) {
        if (members[i] > best) {
            second = best;
            best = members[i];
        } else if (members[i] > second) {
            second = members[i];
        }
    }
    return top2 && n > 1 ? best + second : best;
}

/// Masks every expert outside the topk_group best groups: V2 with zero, V3 with minus infinity.
__device__ __forceinline__ void limit_groups(const RouteArgs& args, float* choice, float* groups) {
    const int lane = threadIdx.x % 32;
    const int members = args.n_experts / args.n_group;
    __syncwarp();
    for (int g = lane; g < args.n_group; g += 32) {
        groups[g] = group_score(choice + g * members, members, args.group_score_top2 != 0);
    }
    uint32_t kept = 0;  // of the groups that this lane looks at
    for (int i = 0; i < args.topk_group; ++i) {
        __syncwarp();
        const int group = best_untaken(groups, kept, args.n_group).index;
        if (group % 32 == lane) kept |= 1u << group / 32;
    }
    __syncwarp();
    for (int g = lane, bit = 0; g < args.n_group; g += 32, ++bit) groups[g] = kept >> bit & 1;
    __syncwarp();
    const float masked = args.sigmoid ? -INFINITY : 0.0f;
    for (int i = lane; i < args.n_experts; i += 32) {
        if (groups[i / members] == 0) choice[i] = masked;
    }
}

__device__ __forceinline__ void route_row(const RouteArgs& args, int row, float* scores,
                                          float* choice, float* groups, int* chosen) {
    const int lane = threadIdx.x % 32;
    score_experts(args, args.logits + static_cast<int64_t>(row) * args.n_experts, scores);
    for (int i = lane; i < args.n_experts; i += 32) {
        choice[i] = args.bias != nullptr ? scores[i] + args.bias[i] : scores[i];
    }
    if (args.n_group > 1) limit_groups(args, choice, groups);
    __syncwarp();
    uint32_t taken = 0;
    float mine = 0;  // lane k has the weight of choice k
    float total = 0;
    for (int k = 0; k < args.top_k; ++k) {
        const Best best = best_untaken(choice, taken, args.n_experts);
        if (best.index % 32 == lane) taken |= 1u << best.index / 32;
        const bool is_masked = !args.sigmoid && choice[best.index] == 0.0f;
        const float weight = is_masked ? 0.0f : scores[best.index];
        total += weight;
        if (lane == k) {
            mine = weight;
            chosen[k] = best.index;
            args.ids[row * args.top_k + k] = best.index;
        }
    }
    if (args.normalise) mine /= total + 1e-20f;
    if (!args.normalise || args.scale_always) mine *= args.scaling;
    if (lane < args.top_k) args.weights[row * args.top_k + lane] = mine;
    __syncwarp();
}

/// Sorts the tile's choices by expert. Each thread counts for itself what comes before its choice:
/// there are few, and no order depends on who is faster.
__device__ __forceinline__ void group_rows(const GroupArgs& group, const int* ids, int n_choices,
                                           int first_choice) {
    const int tile = blockIdx.y;
    int* active = group.active + tile * group.most_active;
    int* begin = group.begin + tile * (group.most_active + 1);
    for (int c = threadIdx.x; c < n_choices; c += kThreads) {
        int smaller = 0;   // choices of lower experts
        int distinct = 0;  // lower experts
        int before = 0;    // choices of the same expert that come first
        for (int other = 0; other < n_choices; ++other) {
            smaller += ids[other] < ids[c];
            before += ids[other] == ids[c] && other < c;
        }
        group.choice[first_choice + smaller + before] = first_choice + c;
        if (before != 0) continue;
        for (int other = 0; other < n_choices; ++other) {
            if (ids[other] >= ids[c]) continue;
            int earlier = 0;
            while (ids[earlier] != ids[other]) ++earlier;
            distinct += earlier == other;
        }
        active[distinct] = ids[c];
        begin[distinct] = first_choice + smaller;
        bool is_last = true;
        for (int other = 0; other < n_choices; ++other) is_last &= ids[other] <= ids[c];
        if (is_last) {
            group.n_active[tile] = distinct + 1;
            begin[distinct + 1] = first_choice + n_choices;
        }
    }
}

/// Routes the rows of a tile and groups them.
__device__ __forceinline__ void route_tile(const RouteArgs& args, const GroupArgs& group) {
    __shared__ float scores[kWarps][kMaxExperts];
    __shared__ float choice[kWarps][kMaxExperts];
    __shared__ float groups[kWarps][kMaxGroups];
    __shared__ int ids[kMaxTopK * kRowTile];
    const int warp = threadIdx.x / 32;
    const int first = blockIdx.y * kRowTile;
    const int n_rows = min(kRowTile, args.n_rows - first);
    for (int i = warp; i < n_rows; i += kWarps) {
        route_row(args, first + i, scores[warp], choice[warp], groups[warp], ids + i * args.top_k);
    }
    __syncthreads();
    group_rows(group, ids, n_rows * args.top_k, first * args.top_k);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    smxx_f32_route(const __grid_constant__ RouteArgs args,
                   const __grid_constant__ GroupArgs group) {
    route_tile(args, group);
}

/// One row: all blocks make its logits, as linear.cu does, and the last one routes.
template <WeightType kType>
__device__ __forceinline__ void gate_row(const LinearArgs& linear) {
    constexpr int kOutputs = 2;
    const LinearPart& gate = linear.part[0];
    const int first = (blockIdx.x * kWarps + threadIdx.x / 32) * kOutputs;
    if (first >= gate.rows) return;
    const void* row[kOutputs];
    const float* scale[kOutputs];
#pragma unroll
    for (int j = 0; j < kOutputs; ++j) {
        row[j] = matrix_row<kType>(gate.w, min(first + j, gate.rows - 1), linear.cols);
        scale[j] = nullptr;
    }
    const float* const x[1] = {linear.x};
    float sums[kOutputs][1];
    dot_rows<kType, true, kOutputs, 1>(row, scale, x, linear.cols, sums);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < kOutputs; ++j) {
        if (lane == j && first + j < gate.rows) gate.out[first + j] = sums[j][0];
    }
}

#define FATHOM_GATE_ROUTE(name, type)                                                      \
    extern "C" __global__ void __launch_bounds__(kThreads, 2) name##_gate_route(           \
        const __grid_constant__ LinearArgs linear, const __grid_constant__ RouteArgs args, \
        const __grid_constant__ GroupArgs group) {                                         \
        gate_row<type>(linear);                                                            \
        if (is_last_block(linear.last.arrived, gridDim.x)) route_tile(args, group);        \
    }
FATHOM_GATE_ROUTE(smxx_f32, WeightType::kF32)
FATHOM_GATE_ROUTE(smxx_f16, WeightType::kF16)
FATHOM_GATE_ROUTE(smxx_bf16, WeightType::kBf16)

}  // namespace fathom::cuda
