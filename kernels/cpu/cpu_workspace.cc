#include "cpu/cpu_workspace.h"

#include <algorithm>
#include <new>

namespace fathom {
namespace {

bool is_vector_operand(const OpCall& call, int32_t operand) {
    switch (call.op) {
        case Op::kRmsNorm:
        case Op::kMlaStore: return operand == 0;
        case Op::kMoeRoute: return operand == 1;
        default: return false;
    }
}

void take_vectors(const Plan& plan, Arena& arena, Workspace& space) {
    space.vectors = arena.take<const float*>(plan.n_weights);
    for (int32_t i = 0; i < plan.n_calls; ++i) {
        const OpCall& call = plan.calls[i];
        for (int32_t operand = 0; operand < 2; ++operand) {
            const int32_t weight = call.w[operand];
            if (weight < 0 || !is_vector_operand(call, operand)) continue;
            const float* vector = arena.take<float>(plan.weights[weight].cols);
            if (space.vectors != nullptr) space.vectors[weight] = vector;
        }
    }
}

int64_t widest_weight(const Plan& plan) {
    int64_t widest = 0;
    for (int32_t i = 0; i < plan.n_weights; ++i) widest = std::max(widest, plan.weights[i].cols);
    return widest;
}

void take_slots(const Plan& plan, const Limits& limits, Arena& arena, Workspace& space) {
    space.slots = arena.take<void*>(plan.n_slots);
    for (int32_t i = 0; i < plan.n_slots; ++i) {
        const SlotInfo& slot = plan.slots[i];
        const int64_t rows = slot.gathered != 0 ? limits.max_logit_rows : limits.max_rows;
        int64_t count = 0;
        if (__builtin_mul_overflow(rows, slot.width, &count)) count = -1;
        void* memory = arena.take<float>(count);  // I32 is as wide as F32.
        if (space.slots != nullptr) space.slots[i] = memory;
    }
}

void take_moe(const ModelShape& shape, int64_t rows, Arena& arena, Workspace& space) {
    const int64_t experts = shape.n_routed_experts;
    const int64_t assignments = rows * shape.top_k;
    space.router_logits = arena.take<float>(rows * experts);
    space.expert_begin = arena.take<int32_t>(experts + 1);
    space.active = arena.take<int32_t>(experts);
    space.assigned_row = arena.take<int32_t>(assignments);
    space.assigned_weight = arena.take<float>(assignments);
    space.routed_hidden = arena.take<float>(assignments * shape.moe_intermediate);
    space.shared_hidden =
        arena.take<float>(rows * std::max(shape.shared_intermediate, shape.dense_intermediate));
}

void take_attention(const ModelShape& shape, const Limits& limits, int32_t n_threads, Arena& arena,
                    Workspace& space) {
    const int64_t heads = shape.n_heads;
    const int64_t rows = std::min<int64_t>(kAttentionRows, limits.max_rows);
    space.n_parts = std::max(8, n_threads * 4);
    space.absorbed_rows = arena.take<int32_t>(limits.max_rows);
    space.naive_sequences = arena.take<int32_t>(limits.max_sequences);
    space.q_latent = arena.take<float>(rows * heads * (shape.kv_lora_rank + shape.qk_rope));
    space.z = arena.take<float>(rows * heads * shape.kv_lora_rank);
    space.state = arena.take<SoftmaxState>(rows * heads);
    space.part_z = arena.take<float>(space.n_parts * heads * shape.kv_lora_rank);
    space.part_state = arena.take<SoftmaxState>(space.n_parts * heads);
    space.part_begin = arena.take<int32_t>(kAttentionRows + 1);
    space.unit_row = arena.take<int32_t>(kAttentionRows + space.n_parts);
}

void take_thread(const ModelShape& shape, const Limits& limits, Arena& arena,
                 ThreadScratch& scratch) {
    const int64_t heads = shape.n_heads;
    const int64_t together = std::max(heads, kNaiveRows);
    scratch.partial = arena.take<float>(kLinearPartialFloats);
    scratch.wide = arena.take<float>(kLinearWideFloats);
    scratch.route = arena.take<float>(2 * static_cast<int64_t>(shape.n_routed_experts));
    scratch.chosen = arena.take<int32_t>(shape.n_routed_experts);
    scratch.scores = arena.take<float>(together * kPageTokens);
    scratch.keep = arena.take<float>(together);
    scratch.z = arena.take<float>(heads * shape.kv_lora_rank);
    scratch.state = arena.take<SoftmaxState>(std::max<int64_t>(heads, limits.max_rows));
    scratch.keys = arena.take<float>(int64_t{kPageTokens} * (shape.qk_nope + shape.qk_rope));
    scratch.values = arena.take<float>(int64_t{kPageTokens} * shape.v_head);
    scratch.latent = arena.take<float>(int64_t{kPageTokens} * shape.kv_lora_rank + shape.qk_rope);
    scratch.mixed = arena.take<float>(static_cast<int64_t>(limits.max_rows) * shape.v_head);
}

uint64_t saturating_mul(uint64_t a, uint64_t b) { return checked_mul(a, b).value_or(UINT64_MAX); }

}  // namespace

Workspace lay_out(const Plan& plan, const Limits& limits, int32_t n_threads, unsigned char* base) {
    Arena arena(base);
    Workspace space{};
    const ModelShape& shape = plan.shape;
    const int64_t rows = limits.max_rows;
    const int64_t widest = widest_weight(plan);
    take_slots(plan, limits, arena, space);
    take_vectors(plan, arena, space);
    space.rope = arena.take<float>(rows * shape.qk_rope);
    space.row_sequence = arena.take<int32_t>(rows);
    space.x_bf16 = arena.take<uint16_t>(rows * widest);
    take_moe(shape, rows, arena, space);
    take_attention(shape, limits, n_threads, arena, space);
    space.threads = arena.take<ThreadScratch>(n_threads);
    for (int32_t i = 0; i < n_threads; ++i) {
        ThreadScratch counted;
        ThreadScratch& scratch =
            space.threads != nullptr ? *new (space.threads + i) ThreadScratch : counted;
        take_thread(shape, limits, arena, scratch);
    }
    space.bytes = arena.used();
    return space;
}

uint64_t kv_row_bytes(const Plan& plan, const Limits& limits) {
    const int64_t width = int64_t{plan.shape.kv_lora_rank} + plan.shape.qk_rope;
    return static_cast<uint64_t>(width * dtype_bytes(limits.kv_dtype));
}

uint64_t kv_layer_bytes(const Plan& plan, const Limits& limits) {
    return saturating_mul(kv_row_bytes(plan, limits) * kPageTokens,
                          static_cast<uint64_t>(limits.n_pages));
}

uint64_t kv_cache_bytes(const Plan& plan, const Limits& limits) {
    return saturating_mul(kv_layer_bytes(plan, limits), static_cast<uint64_t>(plan.shape.n_layers));
}

}  // namespace fathom
