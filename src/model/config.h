#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/json.h"

namespace fathom {

enum class Architecture { kDeepseekV2, kDeepseekV3, kKimiK2, kGlm4MoeLite };

enum class TopkMethod {
    kGreedy,              // V2-Lite: best scores of all experts
    kGroupLimitedGreedy,  // V2: best scores within the groups of highest maximum
    kNoauxTc,             // V3: sigmoid scores, a bias that only selects, groups by top-2 sum
};

/// `rope_scaling` of type yarn.
struct YarnConfig {
    double factor = 1;
    double beta_fast = 32;
    double beta_slow = 1;
    double mscale = 1;
    double mscale_all_dim = 0;
    std::optional<double> attention_factor;  // replaces the ratio of the two mscales
    int32_t original_max_position_embeddings = 0;
};

/// The hyper-parameters of config.json under the checkpoint's names, each inside a range in which
/// every product that this library forms fits its type.
struct ModelConfig {
    Architecture architecture = Architecture::kDeepseekV2;
    std::string model_type;
    std::string file;  // name for messages, "config.json"

    int32_t vocab_size = 0;
    int32_t hidden_size = 0;
    int32_t num_hidden_layers = 0;
    int32_t max_position_embeddings = 0;
    double rms_norm_eps = 0;
    bool tie_word_embeddings = false;

    int32_t num_attention_heads = 0;
    int32_t q_lora_rank = 0;  // 0 where config.json says null: one q_proj instead of two factors
    int32_t kv_lora_rank = 0;
    int32_t qk_nope_head_dim = 0;
    int32_t qk_rope_head_dim = 0;
    int32_t v_head_dim = 0;
    double rope_theta = 0;
    std::optional<YarnConfig> yarn;

    int32_t intermediate_size = 0;
    int32_t first_k_dense_replace = 0;  // num_hidden_layers in a model without experts
    int32_t n_routed_experts = 0;       // 0 in a model without experts, as what follows
    int32_t n_shared_experts = 0;
    int32_t num_experts_per_tok = 0;
    int32_t moe_intermediate_size = 0;
    int32_t n_group = 1;
    int32_t topk_group = 1;
    TopkMethod topk_method = TopkMethod::kGreedy;
    bool norm_topk_prob = false;
    double routed_scaling_factor = 1;

    bool has_experts(int32_t layer) const { return layer >= first_k_dense_replace; }
    bool has_router_bias() const { return topk_method == TopkMethod::kNoauxTc; }
};

/// The epsilon of q_a_layernorm and kv_a_layernorm. The published code builds both with their
/// constructor's default and never passes rms_norm_eps, so models with 1e-5 elsewhere use 1e-6
/// here.
inline constexpr float kLoraNormEps = 1e-6F;

/// Reads and checks config.json. Throws Error(kFormat) for a value that is missing, out of range
/// or contradicts another, Error(kUnsupported) for a model or feature that this library lacks;
/// both name file, key, what was found and what is wanted.
ModelConfig read_model_config(const JsonDocument& document);

}  // namespace fathom
