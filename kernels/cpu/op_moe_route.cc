// The router: fp32 logits, softmax (V2) or sigmoid (V3), group limiting, top-k. Ties go to the
// lower index.

#include <algorithm>
#include <limits>

#include "cpu/row_blocks.h"

namespace fathom {
namespace {

/// Index of the best of `scores` that is not taken yet.
int32_t best_untaken(const float* scores, const int32_t* taken, int32_t n) {
    int32_t best = -1;
    for (int32_t i = 0; i < n; ++i) {
        if (taken[i] == 0 && (best < 0 || scores[i] > scores[best])) best = i;
    }
    return best;
}

/// Score of a group: its best member, or the sum of its two best.
float group_score(const float* members, int32_t n, bool top2) {
    float best = -std::numeric_limits<float>::infinity();
    float second = best;
    for (int32_t i = 0; i < n; ++i) {
        if (members[i] > best) {
            second = best;
            best = members[i];
        } else if (members[i] > second) {
            second = members[i];
        }
    }
    return top2 && n > 1 ? best + second : best;
}

/// Marks every expert outside the topk_group best groups as taken. A masked expert of V2 has score
/// zero and one of V3 minus infinity: it may be chosen only after all others are.
void limit_groups(const ModelShape& shape, float* choice, float* group_scores, int32_t* taken) {
    const int32_t members = shape.n_routed_experts / shape.n_group;
    for (int32_t group = 0; group < shape.n_group; ++group) {
        group_scores[group] =
            group_score(choice + group * members, members, shape.group_score_top2 != 0);
        taken[group] = 0;
    }
    for (int32_t i = 0; i < shape.topk_group; ++i) {
        taken[best_untaken(group_scores, taken, shape.n_group)] = 1;
    }
    const float masked =
        shape.scoring == Scoring::kSoftmax ? 0.0f : -std::numeric_limits<float>::infinity();
    for (int32_t group = 0; group < shape.n_group; ++group) {
        if (taken[group] != 0) continue;
        std::fill(choice + group * members, choice + (group + 1) * members, masked);
    }
}

/// Ids and weights of one row; `scores` are its logits on entry.
void route_row(const CpuExecutor& executor, const float* bias, float* scores, ThreadScratch& thread,
               int32_t* ids, float* weights) {
    const ModelShape& shape = executor.shape;
    const int32_t n = shape.n_routed_experts;
    float* choice = thread.route;
    if (shape.scoring == Scoring::kSoftmax) {
        executor.kernels.softmax(scores, n);
    } else {
        executor.kernels.sigmoid(scores, n);
    }
    for (int32_t i = 0; i < n; ++i) choice[i] = bias != nullptr ? scores[i] + bias[i] : scores[i];
    if (shape.n_group > 1) limit_groups(shape, choice, thread.route + n, thread.chosen);
    std::fill(thread.chosen, thread.chosen + n, 0);
    float total = 0;
    for (int32_t k = 0; k < shape.top_k; ++k) {
        ids[k] = best_untaken(choice, thread.chosen, n);
        thread.chosen[ids[k]] = 1;
        const bool masked = shape.scoring == Scoring::kSoftmax && choice[ids[k]] == 0.0f;
        weights[k] = masked ? 0.0f : scores[ids[k]];
        total += weights[k];
    }
    // V2's code leaves the single choice of top_k = 1 as it is; V3's has no such exception.
    const bool normalise =
        shape.norm_topk_prob != 0 && (shape.top_k > 1 || shape.scoring == Scoring::kSigmoid);
    const bool scale = !normalise || shape.scale_when_normalised != 0;
    for (int32_t k = 0; k < shape.top_k; ++k) {
        if (normalise) weights[k] /= total + 1e-20f;
        if (scale) weights[k] *= shape.routed_scaling_factor;
    }
}

}  // namespace

void op_moe_route(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const Weight& gate = executor.weight(call.w[0]);
    const int64_t n_experts = gate.rows;
    const int64_t top_k = executor.shape.top_k;
    const float* bias = call.w[1] >= 0 ? executor.space.vectors[call.w[1]] : nullptr;
    LinearJob job;
    job.w = matrix_of(gate);
    job.k = gate.cols;
    // Never rounded to BF16: a router that picks another expert is another model.
    job.x = executor.slot<float>(call.in[0]);
    job.x_stride = gate.cols;
    job.n_tokens = n_rows;
    job.out = executor.space.router_logits;
    job.out_stride = n_experts;
    linear_all(executor, job, n_experts);
    int32_t* ids = executor.slot<int32_t>(call.out[0]);
    float* weights = executor.slot<float>(call.out[1]);
    const bool alone = is_small(n_rows, n_experts * (top_k + 4));
    for_units(executor, n_rows, alone, [&](int64_t row, ThreadScratch& thread) {
        route_row(executor, bias, executor.space.router_logits + row * n_experts, thread,
                  ids + row * top_k, weights + row * top_k);
    });
}

}  // namespace fathom
