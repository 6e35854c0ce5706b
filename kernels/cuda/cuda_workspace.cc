#include "cuda/cuda_workspace.h"

#include <algorithm>

#include "base/checked.h"

namespace fathom::cuda {
namespace {

constexpr uint64_t kAlignment = 256;

/// Partial results of attention stay below this, by running fewer rows at a time.
constexpr uint64_t kPartBytes = uint64_t{64} << 20;

/// Page numbers of a batch: sequences may share pages, so there is no bound but a practical one.
constexpr uint64_t kMostPages = uint64_t{1} << 22;

uint64_t times(uint64_t a, uint64_t b) { return checked_mul(a, b).value_or(UINT64_MAX / 2); }

uint64_t size_of(int64_t value) { return value < 0 ? 0 : static_cast<uint64_t>(value); }

void take_inputs(const Limits& limits, DeviceArena& arena, CudaWorkspace& space) {
    const uint64_t rows = size_of(limits.max_rows);
    const uint64_t logit_rows = size_of(limits.max_logit_rows);
    const uint64_t pages = std::min(times(size_of(limits.max_sequences), size_of(limits.n_pages)),
                                    std::max(kMostPages, size_of(limits.n_pages)));
    space.max_pages = static_cast<int32_t>(std::min<uint64_t>(pages, INT32_MAX));
    space.input_count = 3 * rows + logit_rows;
    int32_t* first = arena.take<int32_t>(space.input_count + pages);
    space.inputs = first;
    if (first == nullptr) return;
    space.in = {first, first + rows, first + 2 * rows, first + 3 * rows, first + space.input_count};
}

void take_moe(const ModelShape& shape, uint64_t rows, DeviceArena& arena, CudaWorkspace& space) {
    const uint64_t experts = size_of(shape.n_routed_experts);
    const uint64_t top_k = experts == 0 ? 0 : size_of(shape.top_k);
    const uint64_t tiles = (rows + kRowTile - 1) / kRowTile;
    const uint64_t most = std::min<uint64_t>(experts, kRowTile * top_k);
    space.router_logits = arena.take<float>(rows, experts);
    space.group.most_active = static_cast<int32_t>(most);
    space.group.top_k = static_cast<int32_t>(top_k);
    space.group.n_active = arena.take<int32_t>(tiles);
    space.group.active = arena.take<int32_t>(tiles, most);
    space.group.begin = arena.take<int32_t>(tiles, most + 1);
    space.group.choice = arena.take<int32_t>(rows, top_k);
    space.routed_hidden =
        arena.take<float>(rows, top_k, experts == 0 ? 0 : size_of(shape.moe_intermediate));
    space.shared_hidden = arena.take<float>(
        rows, size_of(std::max(shape.shared_intermediate, shape.dense_intermediate)));
}

void take_attention(const ModelShape& shape, const Limits& limits, DeviceArena& arena,
                    CudaWorkspace& space) {
    const uint64_t heads = size_of(shape.n_heads);
    const uint64_t latent = size_of(shape.kv_lora_rank);
    const uint64_t row_bytes = times(kMaxSplits * sizeof(float), times(heads, latent + 2));
    const uint64_t rows = std::clamp<uint64_t>(kPartBytes / std::max<uint64_t>(row_bytes, 1), 1,
                                               std::max<uint64_t>(size_of(limits.max_rows), 1));
    const uint64_t head_blocks = (heads + kAttendHeads - 1) / kAttendHeads;
    space.attend_rows = static_cast<int32_t>(std::min<uint64_t>(rows, 32768));
    space.q_latent = arena.take<float>(rows, heads, latent);
    space.z = arena.take<float>(rows, heads, latent);
    space.part_z = arena.take<float>(times(rows, kMaxSplits), heads, latent);
    space.part_state = arena.take<float>(times(rows, kMaxSplits), heads, 2);
    space.arrived = arena.take<uint32_t>(times(rows, head_blocks) + 1);
    space.arrived_bytes = (times(rows, head_blocks) + 1) * sizeof(uint32_t);
    space.finished = space.arrived == nullptr ? nullptr : space.arrived + times(rows, head_blocks);
}

}  // namespace

uint64_t DeviceArena::product(uint64_t a, uint64_t b) { return times(a, b); }

void DeviceArena::add(uint64_t bytes) {
    const uint64_t end = checked_add(used_, bytes).value_or(UINT64_MAX / 2);
    used_ = round_up(std::min(end, UINT64_MAX / 2), kAlignment);
}

CudaWorkspace lay_out(const Plan& plan, const Limits& limits, uint64_t base) {
    DeviceArena arena(base);
    CudaWorkspace space{};
    const ModelShape& shape = plan.shape;
    const uint64_t rows = size_of(limits.max_rows);
    for (int32_t i = 0; i < plan.n_slots; ++i) {
        const SlotInfo& slot = plan.slots[i];
        const int32_t n = slot.gathered != 0 ? limits.max_logit_rows : limits.max_rows;
        space.slots.push_back(arena.take<float>(size_of(n), size_of(slot.width)));
    }
    space.matrices = arena.take<MatrixView>(size_of(plan.n_weights));
    space.rope_turns = arena.take<double>(3 * 256, size_of(shape.qk_rope));
    space.rope = arena.take<float>(rows, size_of(shape.qk_rope));
    take_inputs(limits, arena, space);
    take_moe(shape, rows, arena, space);
    take_attention(shape, limits, arena, space);
    space.bytes = arena.used();
    const uint64_t input_bytes = (space.input_count + size_of(space.max_pages)) * sizeof(int32_t);
    const uint64_t logits = times(size_of(limits.max_logit_rows), size_of(shape.vocab_rows));
    space.host_bytes = checked_add(round_up(input_bytes, kAlignment), times(logits, sizeof(float)))
                           .value_or(UINT64_MAX / 2);
    return space;
}

uint64_t kv_layer_bytes(const Plan& plan, const Limits& limits) {
    const uint64_t width = size_of(int64_t{plan.shape.kv_lora_rank} + plan.shape.qk_rope);
    const uint64_t row = times(width, size_of(dtype_bytes(limits.kv_dtype)));
    return times(times(row, kPageTokens), size_of(limits.n_pages));
}

uint64_t kv_cache_bytes(const Plan& plan, const Limits& limits) {
    return times(kv_layer_bytes(plan, limits), size_of(plan.shape.n_layers));
}

}  // namespace fathom::cuda
