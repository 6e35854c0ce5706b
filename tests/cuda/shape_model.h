#pragma once

// A model of any shape with weights that stand for nothing, for tests that count instead of
// compare: the real plan over made-up weights of one type.

#include <cstring>
#include <memory>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "backend/ops.h"
#include "model/deepseek.h"
#include "model/plan.h"
#include "model/rope.h"

namespace cuda_test {

/// DeepSeek-V2-Lite with fewer layers, experts and tokens: what a token reads in a layer is the
/// same.
inline fathom::ModelConfig v2_lite_config(int32_t n_layers, int32_t n_experts) {
    fathom::ModelConfig config;
    config.vocab_size = 4096;
    config.hidden_size = 2048;
    config.num_hidden_layers = n_layers;
    config.max_position_embeddings = 163840;
    config.rms_norm_eps = 1e-6;
    config.num_attention_heads = 16;
    config.kv_lora_rank = 512;
    config.qk_nope_head_dim = 128;
    config.qk_rope_head_dim = 64;
    config.v_head_dim = 128;
    config.rope_theta = 10000;
    config.intermediate_size = 1408;
    config.first_k_dense_replace = n_experts > 0 ? 0 : n_layers;
    config.n_routed_experts = n_experts;
    config.n_shared_experts = n_experts > 0 ? 2 : 0;
    config.num_experts_per_tok = n_experts > 0 ? 6 : 0;
    config.moe_intermediate_size = n_experts > 0 ? 1408 : 0;
    return config;
}

class ShapeModel {
public:
    ShapeModel(const fathom::BackendTable& table, void* device, const fathom::ModelConfig& config,
               fathom::DType dtype)
        : table_(table),
          device_(device),
          rope_(fathom::make_rope(config)),
          parts_(fathom::build_deepseek(config)) {
        for (const fathom::WeightSpec& spec : parts_.weights) {
            const bool is_vector = spec.kind == fathom::WeightKind::kVector;
            const bool is_linear = spec.kind == fathom::WeightKind::kLinear;
            fathom::Weight weight;
            weight.rows = spec.rows;
            weight.cols = spec.cols;
            weight.dtype = is_vector                                       ? fathom::DType::kF32
                           : !is_linear && dtype == fathom::DType::kF8E4M3 ? fathom::DType::kBF16
                                                                           : dtype;
            weight.data = take(data_of(weight));
            if (weight.dtype == fathom::DType::kF8E4M3) {
                const int64_t blocks = ((weight.rows + 127) / 128) * ((weight.cols + 127) / 128);
                const std::vector<float> scale(static_cast<size_t>(blocks), 1e-4f);
                weight.scale = static_cast<const float*>(take(
                    {reinterpret_cast<const char*>(scale.data()), scale.size() * sizeof(float)}));
            }
            weights_.push_back(weight);
        }
        plan_.shape = fathom::deepseek_shape(config, rope_);
        plan_.calls = parts_.calls.data();
        plan_.n_calls = static_cast<int32_t>(parts_.calls.size());
        plan_.slots = parts_.slots.data();
        plan_.n_slots = static_cast<int32_t>(parts_.slots.size());
        plan_.weights = weights_.data();
        plan_.n_weights = static_cast<int32_t>(weights_.size());
        plan_.logits_slot = parts_.logits_slot;
    }
    ~ShapeModel() {
        for (const auto& [memory, bytes] : memory_) table_.free(device_, memory, bytes);
    }
    ShapeModel(const ShapeModel&) = delete;
    ShapeModel& operator=(const ShapeModel&) = delete;

    const fathom::Plan& plan() const { return plan_; }
    const std::vector<std::pair<void*, uint64_t>>& memory() const { return memory_; }

private:
    /// Small values of both signs, another order in every weight.
    std::string data_of(const fathom::Weight& weight) {
        const int64_t count = weight.rows * weight.cols;
        std::string bytes(static_cast<size_t>(count * fathom::dtype_bytes(weight.dtype)), '\0');
        for (int64_t i = 0; i < count; ++i) {
            state_ = state_ * 6364136223846793005u + 1442695040888963407u;
            const float value = static_cast<float>(static_cast<int32_t>(state_ >> 40) & 0xffff) *
                                    (0.06f / 65536.0f) -
                                0.03f;
            char* to = bytes.data() + i * fathom::dtype_bytes(weight.dtype);
            if (weight.dtype == fathom::DType::kF32) {
                std::memcpy(to, &value, 4);
            } else if (weight.dtype == fathom::DType::kF8E4M3) {
                *to = static_cast<char>(state_ >> 33 & 0xbf);
            } else {
                std::memcpy(to, reinterpret_cast<const char*>(&value) + 2, 2);
            }
        }
        return bytes;
    }

    void* take(std::string_view bytes) {
        void* memory = nullptr;
        fathom::BackendError error{};
        REQUIRE(table_.alloc(device_, bytes.size(), &memory, &error) == 0);
        memory_.push_back({memory, bytes.size()});
        REQUIRE(table_.upload(device_, memory, bytes.data(), bytes.size(), &error) == 0);
        return memory;
    }

    const fathom::BackendTable& table_;
    void* device_;
    fathom::Rope rope_;
    fathom::PlanParts parts_;
    std::vector<fathom::Weight> weights_;
    std::vector<std::pair<void*, uint64_t>> memory_;
    fathom::Plan plan_{};
    uint64_t state_ = 1;
};

}  // namespace cuda_test
