#include "model/config.h"

#include <array>
#include <cmath>
#include <string_view>

#include "base/status.h"

namespace fathom {
namespace {

// Upper limits far above every released model and low enough that a product of any two widths fits
// int32_t and of any three int64_t.
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = int64_t{1} << 20;  // hidden, intermediate, vocabulary rows
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 8192;
constexpr int64_t kMaxRank = 32768;
constexpr int64_t kMaxExperts = 8192;
constexpr int64_t kMaxExpertsInAllLayers = int64_t{1} << 17;
constexpr int64_t kMaxContext = int64_t{1} << 30;

constexpr std::string_view kSupported = "deepseek_v2, deepseek_v3, kimi_k2 and glm4_moe_lite";

struct Range {
    int64_t low;
    int64_t high;
};

/// What a key means when it is absent: the defaults of the published configuration classes.
struct Defaults {
    std::string_view model_type;
    Architecture architecture;
    int32_t q_lora_rank;
    int32_t first_k_dense_replace;
    int32_t n_group;
    int32_t topk_group;
    std::string_view scoring_func;
    std::string_view topk_method;
    bool norm_topk_prob;
    double routed_scaling_factor;
    double rms_norm_eps;
};

constexpr std::array<Defaults, 4> kDefaults = {{
    {"deepseek_v2", Architecture::kDeepseekV2, 1536, 0, 1, 1, "softmax", "greedy", false, 1.0,
     1e-6},
    {"deepseek_v3", Architecture::kDeepseekV3, 1536, 3, 8, 4, "sigmoid", "noaux_tc", true, 2.5,
     1e-6},
    {"kimi_k2", Architecture::kKimiK2, 1536, 3, 8, 4, "sigmoid", "noaux_tc", true, 2.5, 1e-6},
    {"glm4_moe_lite", Architecture::kGlm4MoeLite, 768, 1, 1, 1, "sigmoid", "noaux_tc", true, 1.8,
     1e-5},
}};

struct Refused {
    std::string_view model_type;
    std::string_view why;
};

// Models that people try because of their name or their maker.
constexpr std::array<Refused, 14> kRefused = {{
    {"qwen2", "it has grouped-query attention; R1-Distill-Qwen models are Qwen2, not DeepSeek-R1"},
    {"llama", "it has grouped-query attention; R1-Distill-Llama, DeepSeek-LLM and DeepSeek-Coder "
              "v1 are Llama models"},
    {"qwen3", "it has grouped-query attention; R1-0528-Qwen3 is Qwen3, not DeepSeek-R1"},
    {"deepseek", "DeepSeekMoE-16B is older than Multi-head Latent Attention"},
    {"deepseek_v32", "DeepSeek-V3.2 selects keys with an indexer that this version lacks"},
    {"glm_moe_dsa", "GLM-5 selects keys with an indexer that this version lacks"},
    {"deepseek_v4", "DeepSeek-V4 replaced Multi-head Latent Attention by compressed attention and "
                    "hyper-connections"},
    {"deepseek_v41", "DeepSeek-V4.1 replaced Multi-head Latent Attention by compressed attention "
                     "and hyper-connections"},
    {"deepseek_vl_v2", "images are not supported, and its text model has a folder layout of its "
                       "own"},
    {"kimi_vl", "images are not supported, and its text model has a folder layout of its own"},
    {"kimi_k25", "images are not supported, and its text model has a folder layout of its own"},
    {"glm4_moe", "it has grouped-query attention; GLM-4.7-Flash (glm4_moe_lite) is supported"},
    {"mistral", "it has grouped-query attention"},
    {"gpt_oss", "it has grouped-query attention"},
}};

constexpr std::array<std::string_view, 4> kArchitectures = {
    "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "KimiK2ForCausalLM",
    "Glm4MoeLiteForCausalLM"};

/// Typed access to the members of one object with ranges; null counts as absent, as it does for
/// the classes that wrote the file.
class Reader {
public:
    Reader(JsonValue object, std::string_view file) : object_(object), file_(file) {}

    /// Whether the key is there, be it with null.
    bool has(std::string_view key) const { return object_.find(key).has_value(); }

    std::optional<JsonValue> find(std::string_view key) const {
        const std::optional<JsonValue> value = object_.find(key);
        if (!value || value->is_null()) return std::nullopt;
        return value;
    }

    int32_t integer(std::string_view key, Range range) const {
        const std::optional<JsonValue> value = find(key);
        if (!value) missing(key, concat("an integer from ", range.low, " to ", range.high));
        return check_integer(*value, range);
    }

    int32_t integer(std::string_view key, Range range, int32_t fallback) const {
        const std::optional<JsonValue> value = find(key);
        return value ? check_integer(*value, range) : fallback;
    }

    double number(std::string_view key, double low, double high, double fallback) const {
        const std::optional<JsonValue> value = find(key);
        return value ? check_number(*value, low, high) : fallback;
    }

    double number(std::string_view key, double low, double high) const {
        const std::optional<JsonValue> value = find(key);
        if (!value) missing(key, concat("a number from ", low, " to ", high));
        return check_number(*value, low, high);
    }

    bool boolean(std::string_view key, bool fallback) const {
        const std::optional<JsonValue> value = find(key);
        return value ? value->as_bool() : fallback;
    }

    std::string_view text(std::string_view key, std::string_view fallback) const {
        const std::optional<JsonValue> value = find(key);
        return value ? value->as_string() : fallback;
    }

    /// Refuses the value of `key`, wherever it came from: the file or a default.
    [[noreturn]] void refuse(std::string_view key, int64_t value, std::string_view wanted) const {
        if (const std::optional<JsonValue> found = find(key)) found->refuse(wanted);
        fail(Status::kFormat, where(key), ": absent, which means ", value, ", wanted ", wanted);
    }

    [[noreturn]] void unsupported(std::string_view key, std::string_view found,
                                  std::string_view wanted) const {
        fail(Status::kUnsupported, where(key), ": found ", printable(found),
             "; this library supports ", wanted);
    }

    [[noreturn]] void missing(std::string_view key, std::string_view wanted) const {
        fail(Status::kFormat, where(key), ": missing, wanted ", wanted);
    }

private:
    std::string where(std::string_view key) const {
        const std::string parent = object_.path();
        return concat(file_, ": ", parent, parent.empty() ? "" : ".", key);
    }

    static int32_t check_integer(JsonValue value, Range range) {
        if (!value.is_number()) {
            value.refuse(concat("an integer from ", range.low, " to ", range.high));
        }
        const int64_t found = value.as_int64();
        if (found < range.low || found > range.high) {
            value.refuse(concat("an integer from ", range.low, " to ", range.high));
        }
        return static_cast<int32_t>(found);
    }

    static double check_number(JsonValue value, double low, double high) {
        const double found = value.as_double();
        // Written so that a NaN, should a parser ever let one through, is refused as well.
        if (!(found >= low && found <= high)) {
            value.refuse(concat("a number from ", low, " to ", high));
        }
        return found;
    }

    JsonValue object_;
    std::string_view file_;
};

const Defaults& read_architecture(const Reader& reader) {
    const std::optional<JsonValue> type = reader.find("model_type");
    if (!type) reader.missing("model_type", concat("one of ", kSupported));
    const std::string_view name = type->as_string();
    for (const Refused& refused : kRefused) {
        if (name == refused.model_type) {
            reader.unsupported("model_type", name, concat(kSupported, ": ", refused.why));
        }
    }
    for (const Defaults& defaults : kDefaults) {
        if (name == defaults.model_type) return defaults;
    }
    reader.unsupported("model_type", name, kSupported);
}

/// A classification head or a vision model may carry a model_type that we know.
void check_architectures(const Reader& reader) {
    const std::optional<JsonValue> list = reader.find("architectures");
    if (!list) return;
    std::string_view found = "an empty list";
    for (JsonValue element : list->elements()) {
        found = element.as_string();
        for (std::string_view known : kArchitectures) {
            if (found == known) return;
        }
    }
    reader.unsupported("architectures", found,
                       "DeepseekV2ForCausalLM, DeepseekV3ForCausalLM, KimiK2ForCausalLM and "
                       "Glm4MoeLiteForCausalLM");
}

/// Features that no released model of these types uses. Each would change the arithmetic, so
/// ignoring it would give wrong answers without a word.
void check_features(const Reader& reader) {
    if (const std::string_view act = reader.text("hidden_act", "silu"); act != "silu") {
        reader.unsupported("hidden_act", act, "silu");
    }
    for (std::string_view key : {"attention_bias", "mlp_bias"}) {
        if (reader.boolean(key, false)) reader.unsupported(key, "true", "false");
    }
    if (!reader.boolean("rope_interleave", true)) {
        reader.unsupported("rope_interleave", "false", "true");
    }
    const int32_t frequency = reader.integer("moe_layer_freq", {1, kMaxLayers}, 1);
    if (frequency != 1) {
        reader.unsupported("moe_layer_freq", concat(frequency), "1: experts in every layer from "
                           "first_k_dense_replace on");
    }
    if (reader.find("index_topk")) {
        reader.unsupported("index_topk", "a value", "models without a key indexer");
    }
}

void read_sizes(const Reader& reader, const Defaults& defaults, ModelConfig& config) {
    config.vocab_size = reader.integer("vocab_size", {1, kMaxWidth});
    config.hidden_size = reader.integer("hidden_size", {1, kMaxWidth});
    config.num_hidden_layers = reader.integer("num_hidden_layers", {1, kMaxLayers});
    config.max_position_embeddings = reader.integer("max_position_embeddings", {1, kMaxContext});
    config.rms_norm_eps = reader.number("rms_norm_eps", 1e-30, 0.1, defaults.rms_norm_eps);
    config.tie_word_embeddings = reader.boolean("tie_word_embeddings", false);
    config.intermediate_size = reader.integer("intermediate_size", {1, kMaxWidth});
}

void read_attention(const Reader& reader, const Defaults& defaults, ModelConfig& config) {
    config.num_attention_heads = reader.integer("num_attention_heads", {1, kMaxHeads});
    config.kv_lora_rank = reader.integer("kv_lora_rank", {1, kMaxRank});
    config.qk_nope_head_dim = reader.integer("qk_nope_head_dim", {1, kMaxHeadDim});
    config.qk_rope_head_dim = reader.integer("qk_rope_head_dim", {2, kMaxHeadDim});
    config.v_head_dim = reader.integer("v_head_dim", {1, kMaxHeadDim});
    if (config.qk_rope_head_dim % 2 != 0) {
        reader.refuse("qk_rope_head_dim", config.qk_rope_head_dim,
                      "an even number: RoPE rotates pairs");
    }
    const int32_t kv_heads =
        reader.integer("num_key_value_heads", {1, kMaxHeads}, config.num_attention_heads);
    if (kv_heads != config.num_attention_heads) {
        reader.refuse("num_key_value_heads", kv_heads,
                      concat("num_attention_heads (", config.num_attention_heads, ")"));
    }
    // An explicit null means that queries are not factored; an absent key means the default.
    const bool has_key = reader.has("q_lora_rank");
    config.q_lora_rank = has_key ? reader.integer("q_lora_rank", {1, kMaxRank}, 0)
                                 : defaults.q_lora_rank;
}

/// transformers 5 lists "dense" and "sparse" for each layer where first_k_dense_replace was.
int32_t dense_layers_from_list(const Reader& reader, JsonValue list, int32_t n_layers) {
    if (list.size() != static_cast<uint64_t>(n_layers)) {
        list.refuse(concat("num_hidden_layers (", n_layers, ") entries"));
    }
    int32_t n_dense = 0;
    bool sparse = false;
    for (JsonValue element : list.elements()) {
        const std::string_view kind = element.as_string();
        if (kind != "dense" && kind != "sparse") element.refuse("\"dense\" or \"sparse\"");
        if (kind == "dense" && sparse) {
            reader.unsupported("mlp_layer_types", "a dense layer after a sparse one",
                               "dense layers first");
        }
        sparse = kind == "sparse";
        n_dense += sparse ? 0 : 1;
    }
    return n_dense;
}

int32_t read_dense_layers(const Reader& reader, const Defaults& defaults, int32_t n_layers) {
    int32_t n_dense =
        reader.integer("first_k_dense_replace", {0, kMaxLayers}, defaults.first_k_dense_replace);
    if (const std::optional<JsonValue> list = reader.find("mlp_layer_types")) {
        const int32_t listed = dense_layers_from_list(reader, *list, n_layers);
        if (reader.find("first_k_dense_replace") && listed != n_dense) {
            reader.refuse("first_k_dense_replace", n_dense,
                          concat("the number of dense layers in mlp_layer_types (", listed, ")"));
        }
        n_dense = listed;
    }
    if (n_dense > n_layers) {
        reader.refuse("first_k_dense_replace", n_dense,
                      concat("at most num_hidden_layers (", n_layers, ")"));
    }
    return n_dense;
}

void read_experts(const Reader& reader, const Defaults& defaults, ModelConfig& config) {
    config.first_k_dense_replace = read_dense_layers(reader, defaults, config.num_hidden_layers);
    if (!reader.has("n_routed_experts")) {
        reader.missing("n_routed_experts", concat("an integer from 1 to ", kMaxExperts,
                                                  ", or null for a model without experts"));
    }
    config.n_routed_experts = reader.integer("n_routed_experts", {1, kMaxExperts}, 0);
    if (config.n_routed_experts == 0) config.first_k_dense_replace = config.num_hidden_layers;
    if (config.first_k_dense_replace == config.num_hidden_layers) {
        config.n_routed_experts = 0;
        return;
    }
    const int64_t n_sparse = config.num_hidden_layers - config.first_k_dense_replace;
    if (n_sparse * config.n_routed_experts > kMaxExpertsInAllLayers) {
        reader.refuse("n_routed_experts", config.n_routed_experts,
                      concat("at most ", kMaxExpertsInAllLayers, " experts in the ", n_sparse,
                             " layers that have them"));
    }
    config.moe_intermediate_size = reader.integer("moe_intermediate_size", {1, kMaxWidth});
    config.num_experts_per_tok = reader.integer("num_experts_per_tok", {1, kMaxExperts});
    if (config.num_experts_per_tok > config.n_routed_experts) {
        reader.refuse("num_experts_per_tok", config.num_experts_per_tok,
                      concat("at most n_routed_experts (", config.n_routed_experts, ")"));
    }
    // Absent means none to one published class and two to another, so it has to be said.
    if (!reader.has("n_shared_experts")) {
        reader.missing("n_shared_experts", "an integer, or null for none");
    }
    config.n_shared_experts = reader.integer("n_shared_experts", {0, 1024}, 0);
    const int64_t shared_width =
        int64_t{config.n_shared_experts} * config.moe_intermediate_size;
    if (shared_width > kMaxWidth) {
        reader.refuse("n_shared_experts", config.n_shared_experts,
                      concat("at most ", kMaxWidth, " / moe_intermediate_size (",
                             config.moe_intermediate_size, ")"));
    }
}

TopkMethod read_topk_method(const Reader& reader, const Defaults& defaults) {
    const std::string_view scoring = reader.text("scoring_func", defaults.scoring_func);
    const std::string_view method = reader.text("topk_method", defaults.topk_method);
    constexpr std::string_view kRouters =
        "softmax with greedy or group_limited_greedy, and sigmoid with noaux_tc";
    if (scoring == "softmax" && method == "greedy") return TopkMethod::kGreedy;
    if (scoring == "softmax" && method == "group_limited_greedy") {
        return TopkMethod::kGroupLimitedGreedy;
    }
    if (scoring == "sigmoid" && method == "noaux_tc") return TopkMethod::kNoauxTc;
    reader.unsupported("scoring_func", concat(scoring, " with topk_method ", method), kRouters);
}

void read_router(const Reader& reader, const Defaults& defaults, ModelConfig& config) {
    config.topk_method = read_topk_method(reader, defaults);
    config.norm_topk_prob = reader.boolean("norm_topk_prob", defaults.norm_topk_prob);
    config.routed_scaling_factor =
        reader.number("routed_scaling_factor", 1e-6, 1e6, defaults.routed_scaling_factor);
    const int32_t n_group = reader.integer("n_group", {1, kMaxExperts}, defaults.n_group);
    const int32_t topk_group = reader.integer("topk_group", {1, kMaxExperts}, defaults.topk_group);
    const int32_t n_experts = config.n_routed_experts;
    if (n_experts == 0) return;
    if (n_experts % n_group != 0) {
        reader.refuse("n_group", n_group,
                      concat("a divisor of n_routed_experts (", n_experts, ")"));
    }
    if (topk_group > n_group) {
        reader.refuse("topk_group", topk_group, concat("at most n_group (", n_group, ")"));
    }
    const int32_t group_size = n_experts / n_group;
    const int64_t n_choice = int64_t{topk_group} * group_size;
    if (config.num_experts_per_tok > n_choice) {
        reader.refuse("num_experts_per_tok", config.num_experts_per_tok,
                      concat("at most the ", n_choice, " experts in topk_group (", topk_group,
                             ") of n_group (", n_group, ") groups"));
    }
    if (config.topk_method == TopkMethod::kNoauxTc && n_group > 1 && group_size < 2) {
        reader.refuse("n_group", n_group,
                      "groups of at least 2 experts: a group's score is the sum of its two best");
    }
    if (config.topk_method == TopkMethod::kGreedy) return;  // chooses among all experts
    config.n_group = n_group;
    config.topk_group = topk_group;
}

YarnConfig read_yarn(const Reader& scaling) {
    YarnConfig yarn;
    yarn.factor = scaling.number("factor", 1, 1e6);
    yarn.original_max_position_embeddings =
        scaling.integer("original_max_position_embeddings", {1, kMaxContext});
    yarn.beta_fast = scaling.number("beta_fast", 1e-3, 1e6, yarn.beta_fast);
    yarn.beta_slow = scaling.number("beta_slow", 1e-3, 1e6, yarn.beta_slow);
    yarn.mscale = scaling.number("mscale", 0, 100, yarn.mscale);
    yarn.mscale_all_dim = scaling.number("mscale_all_dim", 0, 100, yarn.mscale_all_dim);
    if (scaling.find("attention_factor")) {
        yarn.attention_factor = scaling.number("attention_factor", 1e-3, 1e3);
    }
    if (yarn.beta_fast < yarn.beta_slow) {
        const std::optional<JsonValue> fast = scaling.find("beta_fast");
        (fast ? fast : scaling.find("beta_slow"))->refuse("beta_fast not below beta_slow");
    }
    if (!scaling.boolean("truncate", true)) scaling.unsupported("truncate", "false", "true");
    return yarn;
}

/// Three spellings exist: rope_scaling with `type` (DeepSeek) or `rope_type` (transformers 4), and
/// rope_parameters with rope_theta inside (transformers 5).
void read_rope(const Reader& reader, ModelConfig& config) {
    const double rotary = reader.number("partial_rotary_factor", 0, 1, 1);
    if (rotary != 1) reader.unsupported("partial_rotary_factor", concat(rotary), "1");
    config.rope_theta = reader.number("rope_theta", 1.001, 1e12, 10000);
    std::optional<JsonValue> found = reader.find("rope_parameters");
    if (!found) found = reader.find("rope_scaling");
    if (!found) return;
    if (!found->is_object()) found->refuse("an object or null");
    const Reader scaling(*found, config.file);
    config.rope_theta = scaling.number("rope_theta", 1.001, 1e12, config.rope_theta);
    const double inner = scaling.number("partial_rotary_factor", 0, 1, 1);
    if (inner != 1) scaling.unsupported("partial_rotary_factor", concat(inner), "1");
    for (JsonMember member : found->members()) {
        if (member.value.is_object()) {
            scaling.unsupported(member.key, "an object", "one set of parameters for all layers");
        }
    }
    const std::string_view type = scaling.text("rope_type", scaling.text("type", "default"));
    if (type == "yarn") {
        config.yarn = read_yarn(scaling);
    } else if (type != "default") {
        scaling.unsupported(scaling.find("rope_type") ? "rope_type" : "type", type,
                            "default and yarn");
    }
}

/// The types of the tensors say which of them are quantised; here is checked that their scales
/// mean what we take them for.
void check_quantization(const Reader& reader, std::string_view file) {
    const std::optional<JsonValue> found = reader.find("quantization_config");
    if (!found) return;
    const Reader quantization(*found, file);
    const std::string_view method = quantization.text("quant_method", "none");
    if (method != "fp8") quantization.unsupported("quant_method", method, "fp8");
    const std::string_view format = quantization.text("fmt", "e4m3");
    if (format != "e4m3") quantization.unsupported("fmt", format, "e4m3");
    const std::string_view scale = quantization.text("scale_fmt", "float");
    if (scale != "float" && scale != "ue8m0") {
        quantization.unsupported("scale_fmt", scale, "float and ue8m0");
    }
    const std::optional<JsonValue> block = quantization.find("weight_block_size");
    if (!block) quantization.missing("weight_block_size", "[128, 128]");
    if (!block->is_array() || block->size() != 2) block->refuse("[128, 128]");
    for (JsonValue side : block->elements()) {
        if (side.as_int64() != 128) block->refuse("[128, 128]");
    }
}

}  // namespace

ModelConfig read_model_config(const JsonDocument& document) {
    ModelConfig config;
    config.file = document.name();
    if (!document.root().is_object()) document.root().refuse("an object");
    const Reader reader(document.root(), config.file);
    const Defaults& defaults = read_architecture(reader);
    config.architecture = defaults.architecture;
    config.model_type = defaults.model_type;
    check_architectures(reader);
    check_features(reader);
    read_sizes(reader, defaults, config);
    read_attention(reader, defaults, config);
    read_experts(reader, defaults, config);
    read_router(reader, defaults, config);
    read_rope(reader, config);
    check_quantization(reader, config.file);
    return config;
}

}  // namespace fathom
