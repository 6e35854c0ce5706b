#include "model/plan.h"

namespace fathom {

Activation::Activation(Activation&& other) noexcept
    : builder_(std::exchange(other.builder_, nullptr)), slot_(std::exchange(other.slot_, -1)) {}

Activation& Activation::operator=(Activation&& other) noexcept {
    std::swap(builder_, other.builder_);
    std::swap(slot_, other.slot_);
    return *this;
}

Activation::~Activation() {
    if (builder_ != nullptr) builder_->give_back(slot_);
}

WeightId PlanBuilder::add(WeightSpec spec) {
    const int64_t rows = spec.rows;
    parts_.weights.push_back(std::move(spec));
    return {static_cast<int32_t>(parts_.weights.size()) - 1, rows};
}

WeightId PlanBuilder::linear_weight(std::string tensor, int64_t rows, int64_t cols,
                                    int32_t same_type) {
    return add({std::move(tensor), WeightKind::kLinear, rows, cols, same_type});
}

WeightId PlanBuilder::table(std::string tensor, int64_t rows, int64_t cols) {
    return add({std::move(tensor), WeightKind::kTable, rows, cols, -1});
}

WeightId PlanBuilder::vector(std::string tensor, int64_t cols) {
    return add({std::move(tensor), WeightKind::kVector, 1, cols, -1});
}

WeightId PlanBuilder::key_up(std::string tensor, int64_t rows, int64_t cols) {
    return add({std::move(tensor), WeightKind::kKeyUp, rows, cols, -1});
}

OpCall& PlanBuilder::call(Op op) {
    OpCall call{};
    call.op = op;
    call.layer = layer_;
    for (int32_t& slot : call.in) slot = -1;
    for (int32_t& slot : call.out) slot = -1;
    for (int32_t& weight : call.w) weight = -1;
    call.rows_from_gather = gathered_;
    parts_.calls.push_back(call);
    return parts_.calls.back();
}

/// The first free slot of that kind, or a new one. The widths of a model repeat in every layer, so
/// a plan needs some ten slots, however many layers it has.
Activation PlanBuilder::take(int64_t width, SlotType type) {
    for (size_t i = 0; i < parts_.slots.size(); ++i) {
        const SlotInfo& slot = parts_.slots[i];
        if (in_use_[i] == 0 && slot.width == width && slot.type == type &&
            slot.gathered == gathered_) {
            in_use_[i] = 1;
            return Activation(this, static_cast<int32_t>(i));
        }
    }
    parts_.slots.push_back({width, type, gathered_});
    in_use_.push_back(1);
    return Activation(this, static_cast<int32_t>(parts_.slots.size()) - 1);
}

int64_t PlanBuilder::width(const Activation& x) const {
    return parts_.slots[static_cast<size_t>(x.slot())].width;
}

Activation PlanBuilder::embed(WeightId table, int64_t hidden) {
    Activation out = take(hidden);
    OpCall& entry = call(Op::kEmbed);
    entry.out[0] = out.slot();
    entry.w[0] = table.index;
    return out;
}

Activation PlanBuilder::rms_norm(const Activation& h, Activation delta, WeightId norm,
                                 double epsilon) {
    Activation out = take(width(h));
    OpCall& entry = call(Op::kRmsNorm);
    entry.in[0] = h.slot();
    entry.in[1] = delta.slot();
    entry.out[0] = out.slot();
    entry.w[0] = norm.index;
    entry.epsilon = static_cast<float>(epsilon);
    return out;
}

Activation PlanBuilder::linear(const Activation& x, WeightId weight) {
    Activation out = take(weight.rows);
    OpCall& entry = call(Op::kLinear);
    entry.in[0] = x.slot();
    entry.out[0] = out.slot();
    entry.w[0] = weight.index;
    return out;
}

void PlanBuilder::mla_store(const Activation& q, Activation kv_a, WeightId norm, double epsilon) {
    OpCall& entry = call(Op::kMlaStore);
    entry.in[0] = q.slot();
    entry.in[1] = kv_a.slot();
    entry.w[0] = norm.index;
    entry.epsilon = static_cast<float>(epsilon);
}

Activation PlanBuilder::mla_attention(Activation q, WeightId kv_b, WeightId key_up,
                                      int64_t out_width) {
    Activation out = take(out_width);
    OpCall& entry = call(Op::kMlaAttention);
    entry.in[0] = q.slot();
    entry.out[0] = out.slot();
    entry.w[0] = kv_b.index;
    entry.w[1] = key_up.index;
    return out;
}

std::pair<Activation, Activation> PlanBuilder::moe_route(const Activation& x, WeightId gate,
                                                         WeightId bias, int64_t top_k) {
    Activation ids = take(top_k, SlotType::kI32);
    Activation weights = take(top_k);
    OpCall& entry = call(Op::kMoeRoute);
    entry.in[0] = x.slot();
    entry.out[0] = ids.slot();
    entry.out[1] = weights.slot();
    entry.w[0] = gate.index;
    entry.w[1] = bias.index;
    return {std::move(ids), std::move(weights)};
}

Activation PlanBuilder::moe_ffn(Activation x, std::pair<Activation, Activation> routed,
                                const FfnWeights& experts, WeightId shared_gate) {
    Activation out = take(width(x));
    OpCall& entry = call(Op::kMoeFfn);
    entry.in[0] = x.slot();
    entry.in[1] = routed.first.slot();
    entry.in[2] = routed.second.slot();
    entry.out[0] = out.slot();
    entry.w[0] = experts.gate.index;
    entry.w[1] = experts.up.index;
    entry.w[2] = experts.down.index;
    entry.w[3] = shared_gate.index;
    return out;
}

Activation PlanBuilder::dense_ffn(Activation x, const FfnWeights& ffn) {
    Activation out = take(width(x));
    OpCall& entry = call(Op::kDenseFfn);
    entry.in[0] = x.slot();
    entry.out[0] = out.slot();
    entry.w[0] = ffn.gate.index;
    entry.w[1] = ffn.up.index;
    entry.w[2] = ffn.down.index;
    return out;
}

Activation PlanBuilder::gather_rows(Activation x) {
    OpCall& entry = call(Op::kGatherRows);
    entry.in[0] = x.slot();
    gathered_ = 1;
    Activation out = take(width(x));
    entry.out[0] = out.slot();
    return out;
}

PlanParts PlanBuilder::finish(Activation logits) {
    parts_.logits_slot = logits.slot();
    return std::move(parts_);
}

}  // namespace fathom
