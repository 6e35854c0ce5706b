// If this fails, the plan computes something else than the model, or an operator reads an
// activation that another has overwritten.
#include "model/plan.h"

#include <algorithm>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "model/deepseek.h"
#include "unit/model_support.h"

using namespace fathom;
using namespace fathom::test;

namespace {

std::vector<Op> operators_of_layer(const PlanParts& parts, int32_t layer) {
    std::vector<Op> ops;
    for (const OpCall& call : parts.calls) {
        if (call.layer == layer) ops.push_back(call.op);
    }
    return ops;
}

const std::string& tensor_of(const PlanParts& parts, int32_t weight) {
    return parts.weights.at(static_cast<size_t>(weight)).tensor;
}

const OpCall& find_call(const PlanParts& parts, Op op, int32_t layer) {
    const auto call = std::ranges::find_if(
        parts.calls, [&](const OpCall& c) { return c.op == op && c.layer == layer; });
    REQUIRE(call != parts.calls.end());
    return *call;
}

/// Walks the plan as a backend would: a slot is written before it is read, and what was written is
/// read before it is overwritten.
void check_data_flow(const PlanParts& parts) {
    enum { kEmpty, kWritten, kRead };
    std::vector<int> state(parts.slots.size(), kEmpty);
    for (const OpCall& call : parts.calls) {
        std::set<int32_t> in;
        for (int32_t slot : call.in) {
            if (slot < 0) continue;
            INFO("operator " << static_cast<int>(call.op) << " layer " << call.layer);
            REQUIRE(static_cast<size_t>(slot) < parts.slots.size());
            CHECK(state[static_cast<size_t>(slot)] != kEmpty);
            state[static_cast<size_t>(slot)] = kRead;
            const bool gathered = parts.slots[static_cast<size_t>(slot)].gathered != 0;
            CHECK(gathered == (call.rows_from_gather != 0));
            in.insert(slot);
        }
        for (int32_t slot : call.out) {
            if (slot < 0) continue;
            CHECK_FALSE(in.contains(slot));
            CHECK(state[static_cast<size_t>(slot)] != kWritten);
            state[static_cast<size_t>(slot)] = kWritten;
        }
    }
}

}  // namespace

TEST_CASE("plan of V2-Lite is the forward pass of its paper") {
    const PlanParts parts = build_deepseek(parse_config(kV2Lite));
    check_data_flow(parts);
    CHECK(parts.slots.size() <= 12);
    CHECK(operators_of_layer(parts, 0) ==
          std::vector<Op>{Op::kRmsNorm, Op::kLinear, Op::kLinear, Op::kMlaStore, Op::kMlaAttention,
                          Op::kLinear, Op::kRmsNorm, Op::kDenseFfn});
    CHECK(operators_of_layer(parts, 26) ==
          std::vector<Op>{Op::kRmsNorm, Op::kLinear, Op::kLinear, Op::kMlaStore, Op::kMlaAttention,
                          Op::kLinear, Op::kRmsNorm, Op::kMoeRoute, Op::kMoeFfn});
    CHECK(operators_of_layer(parts, -1) ==
          std::vector<Op>{Op::kEmbed, Op::kRmsNorm, Op::kGatherRows, Op::kLinear});
    CHECK(find_call(parts, Op::kMoeRoute, 5).w[1] == -1);  // V2's router has no bias
    CHECK(parts.slots[static_cast<size_t>(parts.logits_slot)].width == 102400);
    CHECK(parts.calls.back().out[0] == parts.logits_slot);
    CHECK(parts.calls.back().rows_from_gather == 1);
}

TEST_CASE("plan of V3 factors queries and keeps its MTP layer out") {
    const PlanParts parts = build_deepseek(parse_config(kV3));
    check_data_flow(parts);
    CHECK(operators_of_layer(parts, 60) ==
          std::vector<Op>{Op::kRmsNorm, Op::kLinear, Op::kRmsNorm, Op::kLinear, Op::kLinear,
                          Op::kMlaStore, Op::kMlaAttention, Op::kLinear, Op::kRmsNorm,
                          Op::kMoeRoute, Op::kMoeFfn});
    CHECK(operators_of_layer(parts, 61).empty());
    const OpCall& route = find_call(parts, Op::kMoeRoute, 3);
    CHECK(tensor_of(parts, route.w[1]) == "model.layers.3.mlp.gate.e_score_correction_bias");
}

TEST_CASE("plan lays experts and shared experts one behind the other") {
    const PlanParts parts = build_deepseek(parse_config(kV3));
    const OpCall& ffn = find_call(parts, Op::kMoeFfn, 7);
    const char* const kNames[] = {"gate_proj", "up_proj", "down_proj"};
    for (int32_t matrix = 0; matrix < 3; ++matrix) {
        for (int32_t expert = 0; expert < 256; ++expert) {
            const std::string wanted = concat("model.layers.7.mlp.experts.", expert, ".",
                                              kNames[matrix], ".weight");
            REQUIRE(tensor_of(parts, ffn.w[matrix] + expert) == wanted);
        }
        CHECK(tensor_of(parts, ffn.w[3] + matrix) ==
              concat("model.layers.7.mlp.shared_experts.", kNames[matrix], ".weight"));
    }
    const std::string none = with(kV3, "n_shared_experts", "null");
    CHECK(find_call(build_deepseek(parse_config(none)), Op::kMoeFfn, 7).w[3] == -1);
}

TEST_CASE("plan norms the latents with 1e-6, whatever rms_norm_eps is") {
    const PlanParts parts = build_deepseek(parse_config(kGlm47Flash));
    CHECK(find_call(parts, Op::kMlaStore, 0).epsilon == 1e-6F);
    int n_lora = 0;
    for (const OpCall& call : parts.calls) {
        if (call.op != Op::kRmsNorm) continue;
        const bool lora = tensor_of(parts, call.w[0]).ends_with("q_a_layernorm.weight");
        CHECK(call.epsilon == (lora ? 1e-6F : 1e-5F));
        n_lora += lora ? 1 : 0;
    }
    CHECK(n_lora == 47);
}

TEST_CASE("plan gives the head the embedding where they are tied") {
    const PlanParts untied = build_deepseek(parse_config(kV3));
    CHECK(tensor_of(untied, untied.calls.back().w[0]) == "lm_head.weight");
    const PlanParts tied =
        build_deepseek(parse_config(with(kV3, "tie_word_embeddings", "true")));
    CHECK(tensor_of(tied, tied.calls.back().w[0]) == "model.embed_tokens.weight");
    CHECK(tied.weights.size() == untied.weights.size() - 1);
}

TEST_CASE("plan adds each sublayer to the residual stream exactly once") {
    const PlanParts parts = build_deepseek(parse_config(kV2Lite));
    const int32_t stream = find_call(parts, Op::kEmbed, -1).out[0];
    int n_added = 0;
    for (const OpCall& call : parts.calls) {
        for (int32_t slot : call.out) {
            if (call.op != Op::kEmbed) CHECK(slot != stream);
        }
        if (call.op == Op::kRmsNorm && call.in[0] == stream && call.in[1] >= 0) ++n_added;
    }
    CHECK(n_added == 2 * 27);
}
