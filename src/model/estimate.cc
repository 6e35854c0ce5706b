#include "model/estimate.h"

#include "model/deepseek.h"
#include "model/model.h"

namespace fathom {
namespace {

uint64_t bytes_of_each_layer(const ModelConfig& config, DType kv_dtype, int64_t values) {
    return static_cast<uint64_t>(values * config.num_hidden_layers * dtype_bytes(kv_dtype));
}

bool is_routed_expert(const WeightSpec& spec) {
    return spec.tensor.find(".mlp.experts.") != std::string::npos;
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& config) {
    uint64_t routed = 0;
    ParameterCount count;
    for (const WeightSpec& spec : build_deepseek(config).weights) {
        if (spec.kind == WeightKind::kKeyUp) continue;  // a copy of a part of kv_b_proj
        const uint64_t size = static_cast<uint64_t>(spec.rows * spec.cols);
        count.total += size;
        if (is_routed_expert(spec)) routed += size;
    }
    count.active = count.total - routed;
    if (routed > 0) {
        // All routed experts have the same size, so this division is exact.
        count.active += routed / static_cast<uint64_t>(config.n_routed_experts) *
                        static_cast<uint64_t>(config.num_experts_per_tok);
    }
    return count;
}

uint64_t kv_bytes_per_token(const ModelConfig& config, DType kv_dtype) {
    return bytes_of_each_layer(config, kv_dtype,
                               int64_t{config.kv_lora_rank} + config.qk_rope_head_dim);
}

uint64_t mha_bytes_per_token(const ModelConfig& config, DType kv_dtype) {
    const int64_t head =
        int64_t{config.qk_nope_head_dim} + config.qk_rope_head_dim + config.v_head_dim;
    return bytes_of_each_layer(config, kv_dtype, head * config.num_attention_heads);
}

DType natural_kv_dtype(const Checkpoint& checkpoint, const ModelConfig& config) {
    return ModelOutline(checkpoint, config).natural_kv_dtype();
}

ModelEstimate estimate_model(const BackendTable& table, const BackendOptions& options,
                             const Checkpoint& checkpoint, const ModelConfig& config,
                             const Limits& limits) {
    const ModelOutline outline(checkpoint, config);
    const Plan plan = outline.plan();
    const ParameterCount count = count_parameters(config);
    ModelEstimate estimate;
    estimate.weight_bytes = outline.weight_bytes();
    table.memory_need(&plan, &limits, &options, &estimate.workspace_bytes, &estimate.kv_bytes);
    estimate.kv_bytes_per_token = kv_bytes_per_token(config, limits.kv_dtype);
    estimate.mha_bytes_per_token = mha_bytes_per_token(config, limits.kv_dtype);
    estimate.parameters = count.total;
    estimate.active_parameters = count.active;
    estimate.file_bytes = checkpoint.tensor_bytes();
    return estimate;
}

}  // namespace fathom
