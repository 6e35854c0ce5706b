#include "abi/inspect.h"

#include <map>
#include <utility>

#include "backend/backend.h"
#include "base/status.h"
#include "dialect/dialect.h"
#include "format/json_writer.h"
#include "tokenizer/tokenizer.h"

namespace fathom::abi {
namespace {

DType kv_dtype_of(KvType type, const Checkpoint& checkpoint, const ModelConfig& config) {
    switch (type) {
        case KvType::kBf16: return DType::kBF16;
        case KvType::kF32: return DType::kF32;
        case KvType::kAuto: break;
    }
    return natural_kv_dtype(checkpoint, config);
}

/// Name of the dialect, or "" where the folder has no tokenizer.
std::string dialect_of(const Checkpoint& checkpoint, const std::string& named) {
    const Directory& folder = checkpoint.directory();
    if (!folder.contains("tokenizer.json") && !folder.contains("tokenizer.model")) {
        return named.empty() ? "" : std::string(dialect_named(named).name());
    }
    const auto tokenizer = Tokenizer::open(folder);
    return std::string(
        (named.empty() ? detect_dialect(*tokenizer) : dialect_named(named, *tokenizer)).name());
}

void write_tensor_types(JsonWriter& json, const Checkpoint& checkpoint) {
    struct Sum {
        uint64_t tensors = 0;
        uint64_t bytes = 0;
    };
    std::map<std::string_view, Sum> by_type;
    for (const TensorInfo& tensor : checkpoint.tensors()) {
        Sum& sum = by_type[stored_type_name(tensor.dtype)];
        ++sum.tensors;
        sum.bytes += tensor.bytes;
    }
    json.key("tensors").begin_object();
    for (const auto& [type, sum] : by_type) {
        json.key(type).begin_object();
        json.key("count").unsigned_integer(sum.tensors);
        json.key("bytes").unsigned_integer(sum.bytes);
        json.end_object();
    }
    json.end_object();
}

void write_config(JsonWriter& json, const ModelConfig& config) {
    const std::pair<const char*, int64_t> numbers[] = {
        {"vocab_size", config.vocab_size},
        {"hidden_size", config.hidden_size},
        {"num_hidden_layers", config.num_hidden_layers},
        {"num_attention_heads", config.num_attention_heads},
        {"q_lora_rank", config.q_lora_rank},
        {"kv_lora_rank", config.kv_lora_rank},
        {"qk_nope_head_dim", config.qk_nope_head_dim},
        {"qk_rope_head_dim", config.qk_rope_head_dim},
        {"v_head_dim", config.v_head_dim},
        {"intermediate_size", config.intermediate_size},
        {"first_k_dense_replace", config.first_k_dense_replace},
        {"n_routed_experts", config.n_routed_experts},
        {"n_shared_experts", config.n_shared_experts},
        {"num_experts_per_tok", config.num_experts_per_tok},
        {"moe_intermediate_size", config.moe_intermediate_size},
        {"n_group", config.n_group},
        {"topk_group", config.topk_group},
        {"max_position_embeddings", config.max_position_embeddings},
    };
    json.key("config").begin_object();
    for (const auto& [name, value] : numbers) json.key(name).integer(value);
    json.key("rope_theta").number(config.rope_theta);
    json.key("yarn_factor").number(config.yarn ? config.yarn->factor : 1.0);
    json.end_object();
}

}  // namespace

FolderFacts::FolderFacts(std::string folder, const EngineOptions& engine,
                         const ModelOptions& model)
    : checkpoint_(std::move(folder)),
      config_(read_model_config(checkpoint_.config())),
      memory_budget_(engine.memory_budget),
      kv_dtype_(kv_dtype_of(model.kv_type, checkpoint_, config_)),
      runtime_(plan_runtime(engine, model, kPageTokens * kv_bytes_per_token(config_, kv_dtype_),
                            config_.max_position_embeddings, kv_dtype_)),
      estimate_(estimate_model(engine.backend != nullptr ? *engine.backend : *cpu_backend(),
                               {.n_threads = engine.n_threads,
                                .deterministic = engine.deterministic ? 1 : 0,
                                .isa = engine.cpu_level,
                                .mla_form = engine.mla_form},
                               checkpoint_, config_, runtime_.limits)),
      dialect_(dialect_of(checkpoint_, model.dialect)) {}

fathom_memory_plan FolderFacts::memory_plan() const {
    fathom_memory_plan plan = {};
    plan.kv_type = kv_dtype_ == DType::kF32 ? FATHOM_KV_F32 : FATHOM_KV_BF16;
    plan.weight_bytes = estimate_.weight_bytes;
    plan.workspace_bytes = estimate_.workspace_bytes;
    plan.kv_cache_bytes = estimate_.kv_bytes;
    plan.total_bytes = estimate_.weight_bytes + estimate_.workspace_bytes + estimate_.kv_bytes;
    plan.kv_bytes_per_token = estimate_.kv_bytes_per_token;
    plan.mha_bytes_per_token = estimate_.mha_bytes_per_token;
    plan.context = static_cast<uint64_t>(runtime_.context);
    plan.parameters = estimate_.parameters;
    plan.active_parameters = estimate_.active_parameters;
    plan.file_bytes = estimate_.file_bytes;
    return plan;
}

void FolderFacts::check_budget() const {
    const uint64_t total = memory_plan().total_bytes;
    if (memory_budget_ == 0 || total <= memory_budget_) return;
    fail(Status::kBudget, "memory budget: the model needs ", total, " bytes, the budget is ",
         memory_budget_, " bytes");
}

std::string FolderFacts::json() const {
    const fathom_memory_plan plan = memory_plan();
    JsonWriter json;
    json.begin_object();
    json.key("architecture").string(config_.model_type);
    json.key("dialect").string(dialect_.empty() ? "no tokenizer" : dialect_);
    json.key("parameters").unsigned_integer(plan.parameters);
    json.key("active_parameters").unsigned_integer(plan.active_parameters);
    write_config(json, config_);
    write_tensor_types(json, checkpoint_);
    json.key("memory").begin_object();
    json.key("total_bytes").unsigned_integer(plan.total_bytes);
    json.key("weight_bytes").unsigned_integer(plan.weight_bytes);
    json.key("workspace_bytes").unsigned_integer(plan.workspace_bytes);
    json.key("kv_cache_bytes").unsigned_integer(plan.kv_cache_bytes);
    json.key("kv_type").string(dtype_name(kv_dtype_));
    json.key("kv_bytes_per_token").unsigned_integer(plan.kv_bytes_per_token);
    json.key("mha_bytes_per_token").unsigned_integer(plan.mha_bytes_per_token);
    json.key("context").unsigned_integer(plan.context);
    json.end_object();
    json.end_object();
    return json.take();
}

}  // namespace fathom::abi
