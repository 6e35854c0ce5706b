#include "model/deepseek.h"

#include <string_view>

#include "base/text.h"

namespace fathom {
namespace {

class Deepseek {
public:
    explicit Deepseek(const ModelConfig& config)
        : config_(config),
          n_heads_(config.num_attention_heads),
          hidden_(config.hidden_size) {}

    PlanParts build() {
        const WeightId embedding =
            builder_.table("model.embed_tokens.weight", config_.vocab_size, hidden_);
        h_ = builder_.embed(embedding, hidden_);
        for (int32_t layer = 0; layer < config_.num_hidden_layers; ++layer) block(layer);
        set_layer(-1);
        Activation x = norm(builder_.vector("model.norm.weight", hidden_));
        const WeightId head = config_.tie_word_embeddings
            ? embedding
            : builder_.table("lm_head.weight", config_.vocab_size, hidden_);
        Activation last = builder_.gather_rows(std::move(x));
        Activation logits = builder_.linear(last, head);
        return builder_.finish(std::move(logits));
    }

private:
    // A sublayer's output is added to the residual stream by the norm that follows it.
    void block(int32_t layer) {
        set_layer(layer);
        delta_ = attention(norm(vector("input_layernorm", hidden_)));
        delta_ = feed_forward(norm(vector("post_attention_layernorm", hidden_)), layer);
    }

    Activation attention(Activation x) {
        const int64_t dn = config_.qk_nope_head_dim, dv = config_.v_head_dim;
        const int64_t rkv = config_.kv_lora_rank;
        Activation q = queries(x);
        Activation kv_a = builder_.linear(
            x, linear("self_attn.kv_a_proj_with_mqa", rkv + config_.qk_rope_head_dim, hidden_));
        builder_.mla_store(q, std::move(kv_a), vector("self_attn.kv_a_layernorm", rkv),
                           kLoraNormEps);
        const WeightId kv_b = linear("self_attn.kv_b_proj", n_heads_ * (dn + dv), rkv);
        const WeightId key_up =
            builder_.key_up(name("self_attn.kv_b_proj"), n_heads_ * rkv, dn);
        Activation o = builder_.mla_attention(std::move(q), kv_b, key_up, n_heads_ * dv);
        return builder_.linear(o, linear("self_attn.o_proj", hidden_, n_heads_ * dv));
    }

    Activation queries(const Activation& x) {
        const int64_t width =
            n_heads_ * (config_.qk_nope_head_dim + config_.qk_rope_head_dim);
        const int64_t rq = config_.q_lora_rank;
        if (rq == 0) return builder_.linear(x, linear("self_attn.q_proj", width, hidden_));
        Activation q_a = builder_.linear(x, linear("self_attn.q_a_proj", rq, hidden_));
        Activation normed = builder_.rms_norm(q_a, Activation(),
                                              vector("self_attn.q_a_layernorm", rq), kLoraNormEps);
        return builder_.linear(normed, linear("self_attn.q_b_proj", width, rq));
    }

    Activation feed_forward(Activation x, int32_t layer) {
        if (!config_.has_experts(layer)) {
            return builder_.dense_ffn(std::move(x), ffn("mlp.", config_.intermediate_size));
        }
        const int64_t n_experts = config_.n_routed_experts;
        const WeightId gate = builder_.table(name("mlp.gate"), n_experts, hidden_);
        const WeightId bias =
            config_.has_router_bias()
                ? builder_.vector(concat(prefix_, "mlp.gate.e_score_correction_bias"), n_experts)
                : WeightId();
        std::pair<Activation, Activation> routed =
            builder_.moe_route(x, gate, bias, config_.num_experts_per_tok);
        const FfnWeights experts = routed_experts();
        const int64_t shared_width =
            int64_t{config_.n_shared_experts} * config_.moe_intermediate_size;
        const WeightId shared =
            shared_width > 0 ? ffn("mlp.shared_experts.", shared_width).gate : WeightId();
        return builder_.moe_ffn(std::move(x), std::move(routed), experts, shared);
    }

    /// The gate, up and down matrices of all experts: each kind consecutive in the plan's weights.
    FfnWeights routed_experts() {
        const int32_t type = builder_.new_type_group();
        const int64_t width = config_.moe_intermediate_size;
        const auto all = [&](std::string_view matrix, int64_t rows, int64_t cols) {
            WeightId first;
            for (int32_t expert = 0; expert < config_.n_routed_experts; ++expert) {
                const WeightId id = builder_.linear_weight(
                    name(concat("mlp.experts.", expert, ".", matrix)), rows, cols, type);
                if (expert == 0) first = id;
            }
            return first;
        };
        FfnWeights experts;
        experts.gate = all("gate_proj", width, hidden_);
        experts.up = all("up_proj", width, hidden_);
        experts.down = all("down_proj", hidden_, width);
        return experts;
    }

    FfnWeights ffn(std::string_view module, int64_t width) {
        const int32_t type = builder_.new_type_group();
        FfnWeights weights;
        weights.gate =
            builder_.linear_weight(name(concat(module, "gate_proj")), width, hidden_, type);
        weights.up =
            builder_.linear_weight(name(concat(module, "up_proj")), width, hidden_, type);
        weights.down =
            builder_.linear_weight(name(concat(module, "down_proj")), hidden_, width, type);
        return weights;
    }

    Activation norm(WeightId weight) {
        return builder_.rms_norm(h_, std::move(delta_), weight, config_.rms_norm_eps);
    }

    void set_layer(int32_t layer) {
        builder_.set_layer(layer);
        prefix_ = concat("model.layers.", layer, ".");
    }

    std::string name(std::string_view module) const { return concat(prefix_, module, ".weight"); }
    WeightId vector(std::string_view module, int64_t width) {
        return builder_.vector(name(module), width);
    }
    WeightId linear(std::string_view module, int64_t rows, int64_t cols) {
        return builder_.linear_weight(name(module), rows, cols);
    }

    const ModelConfig& config_;
    const int64_t n_heads_;
    const int64_t hidden_;
    PlanBuilder builder_;
    std::string prefix_;
    Activation h_;      // residual stream
    Activation delta_;  // output of the last sublayer, not added yet
};

}  // namespace

PlanParts build_deepseek(const ModelConfig& config) { return Deepseek(config).build(); }

ModelShape deepseek_shape(const ModelConfig& config, const Rope& rope) {
    ModelShape shape{};
    shape.n_layers = config.num_hidden_layers;
    shape.hidden = config.hidden_size;
    shape.vocab_rows = config.vocab_size;
    shape.n_heads = config.num_attention_heads;
    shape.qk_nope = config.qk_nope_head_dim;
    shape.qk_rope = config.qk_rope_head_dim;
    shape.v_head = config.v_head_dim;
    shape.kv_lora_rank = config.kv_lora_rank;
    shape.softmax_scale = static_cast<float>(rope.softmax_scale);
    shape.rope_magnitude = static_cast<float>(rope.magnitude);
    shape.rope_inverse_frequency = rope.inverse_frequency.data();
    shape.n_routed_experts = config.n_routed_experts;
    shape.top_k = config.num_experts_per_tok;
    shape.n_group = config.n_group;
    shape.topk_group = config.topk_group;
    const bool noaux = config.topk_method == TopkMethod::kNoauxTc;
    shape.scoring = noaux ? Scoring::kSigmoid : Scoring::kSoftmax;
    shape.group_score_top2 = noaux ? 1 : 0;
    shape.scale_when_normalised = noaux ? 1 : 0;
    // V2 normalises only where there is more than one weight to normalise.
    shape.norm_topk_prob =
        config.norm_topk_prob && (noaux || config.num_experts_per_tok > 1) ? 1 : 0;
    shape.routed_scaling_factor = static_cast<float>(config.routed_scaling_factor);
    shape.moe_intermediate = config.moe_intermediate_size;
    shape.shared_intermediate = config.n_shared_experts * config.moe_intermediate_size;
    shape.dense_intermediate = config.intermediate_size;
    return shape;
}

}  // namespace fathom
