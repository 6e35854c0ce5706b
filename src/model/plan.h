#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "backend/ops.h"

namespace fathom {

enum class WeightKind {
    kLinear,  // [rows, cols] as stored: F32, F16, BF16, or F8_E4M3 with block scales
    kTable,   // [rows, cols] as stored, never quantised: embedding, head, router
    kVector,  // [1, cols], brought to F32: norm weights, router bias
    kKeyUp,   // key part of kv_b_proj, transposed per head; F8_E4M3 is brought to BF16
};

/// A weight of the plan and the tensor that it is made of.
struct WeightSpec {
    std::string tensor;   // name in the checkpoint
    WeightKind kind;
    int64_t rows;         // as the operators see it
    int64_t cols;
    int32_t same_type;    // weights with the same number >= 0 have to agree in their type
};

/// What the plan consists of before there is memory for weights.
struct PlanParts {
    std::vector<OpCall> calls;
    std::vector<SlotInfo> slots;
    std::vector<WeightSpec> weights;
    int32_t logits_slot = -1;
};

class PlanBuilder;

/// An activation slot on loan: given back for reuse when this goes out of scope.
class Activation {
public:
    Activation() = default;
    Activation(Activation&& other) noexcept;
    Activation& operator=(Activation&& other) noexcept;
    Activation(const Activation&) = delete;
    Activation& operator=(const Activation&) = delete;
    ~Activation();

    int32_t slot() const { return slot_; }

private:
    friend class PlanBuilder;
    Activation(PlanBuilder* builder, int32_t slot) : builder_(builder), slot_(slot) {}
    PlanBuilder* builder_ = nullptr;
    int32_t slot_ = -1;
};

/// Index into the plan's weights; -1 means none.
struct WeightId {
    int32_t index = -1;
    int64_t rows = 0;
};

/// The three matrices of a SwiGLU feed-forward network, or the first of each of many.
struct FfnWeights {
    WeightId gate;
    WeightId up;
    WeightId down;
};

/// Appends operator calls. Its methods are the operators of backend/ops.h, so that the model file
/// reads like a forward pass; nothing is computed. An Activation passed by value is used up.
class PlanBuilder {
public:
    WeightId linear_weight(std::string tensor, int64_t rows, int64_t cols, int32_t same_type = -1);
    WeightId table(std::string tensor, int64_t rows, int64_t cols);
    WeightId vector(std::string tensor, int64_t cols);
    WeightId key_up(std::string tensor, int64_t rows, int64_t cols);
    /// A number for WeightSpec::same_type.
    int32_t new_type_group() { return n_type_groups_++; }

    /// Calls after this carry the layer's number.
    void set_layer(int32_t layer) { layer_ = layer; }

    Activation embed(WeightId table, int64_t hidden);
    /// Adds `delta` to the residual stream `h`, where there is one, and norms the sum.
    Activation rms_norm(const Activation& h, Activation delta, WeightId norm, double epsilon);
    Activation linear(const Activation& x, WeightId weight);
    void mla_store(const Activation& q, Activation kv_a, WeightId norm, double epsilon);
    Activation mla_attention(Activation q, WeightId kv_b, WeightId key_up, int64_t width);
    /// Returns the ids of the experts and their weights.
    std::pair<Activation, Activation> moe_route(const Activation& x, WeightId gate, WeightId bias,
                                                int64_t top_k);
    Activation moe_ffn(Activation x, std::pair<Activation, Activation> routed,
                       const FfnWeights& experts, WeightId shared_gate);
    Activation dense_ffn(Activation x, const FfnWeights& ffn);
    /// From here on the calls run over the rows whose logits are wanted.
    Activation gather_rows(Activation x);

    PlanParts finish(Activation logits);

private:
    friend class Activation;
    WeightId add(WeightSpec spec);
    OpCall& call(Op op);
    Activation take(int64_t width, SlotType type = SlotType::kF32);
    void give_back(int32_t slot) noexcept { in_use_[static_cast<size_t>(slot)] = 0; }
    int64_t width(const Activation& x) const;

    PlanParts parts_;
    std::vector<char> in_use_;  // for each slot
    int32_t layer_ = -1;
    int32_t gathered_ = 0;
    int32_t n_type_groups_ = 0;
};

}  // namespace fathom
