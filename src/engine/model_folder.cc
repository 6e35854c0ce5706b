#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/thread.h"
#include "dialect/dialect.h"
#include "engine/engine.h"
#include "engine/engine_core.h"
#include "engine/engine_model.h"
#include "format/checkpoint.h"
#include "format/json_writer.h"
#include "model/estimate.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

// EngineModel::load(): from a checkpoint folder to the parts of a model.
namespace fathom {
namespace {

/// Adds the ids that a JSON file names as `eos_token_id`, one or a list, where they are tokens.
void add_eos_ids(const JsonValue& root, int32_t n_tokens, std::vector<int32_t>& ids) {
    const std::optional<JsonValue> eos = root.find("eos_token_id");
    const auto add = [&](const JsonValue& value) {
        if (!value.is_number()) return;
        const int64_t id = value.as_int64();
        if (id < 0 || id >= n_tokens) return;
        const auto token = static_cast<int32_t>(id);
        if (std::find(ids.begin(), ids.end(), token) == ids.end()) ids.push_back(token);
    };
    if (!eos) return;
    if (eos->is_array()) {
        for (const JsonValue value : eos->elements()) add(value);
    } else {
        add(*eos);
    }
}

/// Tokenizer and dialect, where the folder has a tokenizer; the ids that may be produced.
void read_tokenizer(const Checkpoint& checkpoint, const ModelConfig& config,
                    const ModelOptions& options, ModelParts& parts) {
    parts.n_tokens = config.vocab_size;
    const Directory& folder = checkpoint.directory();
    if (!folder.contains("tokenizer.json") && !folder.contains("tokenizer.model")) {
        if (!options.dialect.empty()) dialect_named(options.dialect);  // a wrong name is an error
        return;
    }
    parts.tokenizer = Tokenizer::open(folder);
    const Tokenizer& tokenizer = *parts.tokenizer;
    parts.dialect = options.dialect.empty() ? &detect_dialect(tokenizer)
                                            : &dialect_named(options.dialect, tokenizer);
    parts.n_tokens = std::min(tokenizer.size(), config.vocab_size);
    for (int32_t id = 0; id < parts.n_tokens; ++id) {
        if (tokenizer.token_bytes(id).empty()) parts.missing_ids.push_back(id);
    }
    parts.end_ids = parts.dialect->end_ids(tokenizer);
    add_eos_ids(checkpoint.config().root(), parts.n_tokens, parts.end_ids);
}

/// Every scalar of a JSON object with the path to it, in no particular order.
void add_scalars(const JsonValue& root, std::string prefix,
                 std::vector<std::pair<std::string, std::string>>& out) {
    std::vector<std::pair<std::string, JsonValue>> open;
    open.emplace_back(std::move(prefix), root);
    while (!open.empty()) {
        const auto [name, value] = std::move(open.back());
        open.pop_back();
        if (value.is_object()) {
            for (const JsonMember member : value.members()) {
                open.emplace_back(concat(name, ".", member.key), member.value);
            }
        } else if (value.is_string()) {
            out.emplace_back(name, value.as_string());
        } else if (!value.is_array()) {
            JsonWriter json;
            value.write(json);
            out.emplace_back(name, json.take());
        }
    }
}

}  // namespace

std::shared_ptr<EngineModel> EngineModel::load(std::shared_ptr<Engine> engine,
                                               const std::string& folder,
                                               const ModelOptions& options) {
    std::shared_ptr<EngineModel> model(new EngineModel(std::move(engine)));
    EngineCore& core = *model->core();
    const std::shared_ptr<BackendDevice> device = core.device();
    const Checkpoint checkpoint(folder);
    const ModelConfig config = read_model_config(checkpoint.config());
    model->config_ = config;

    ModelParts parts;
    parts.natural_kv_dtype = natural_kv_dtype(checkpoint, config);
    parts.max_context = config.max_position_embeddings;
    const DType kv_dtype = kv_dtype_of(options.kv_type, parts.natural_kv_dtype);
    const uint64_t kv_page_bytes = kPageTokens * kv_bytes_per_token(config, kv_dtype);
    const RuntimePlan runtime =
        plan_runtime(core.options(), options, kv_page_bytes, parts.max_context, kv_dtype);
    // What can be refused cheaply is refused before gigabytes are read.
    read_tokenizer(checkpoint, config, options, parts);
    {
        const ModelOutline outline(checkpoint, config);
        model->reserve(outline.plan(), runtime, kv_page_bytes, outline.weight_bytes());
    }
    const LoadProgress progress = [&](uint64_t done, uint64_t total) {
        core.check_accepting();
        if (options.progress == nullptr) return true;
        const HostFloatingPointScope host;
        return options.progress(options.progress_user_data, done, total) == 0;
    };
    const std::shared_ptr<const Model> weights =
        Model::load(device->table(), device->handle(), checkpoint, config, progress);
    parts.plan = weights->plan();
    parts.weight_bytes = weights->weight_bytes();
    parts.owner = weights;
    model->read_facts(checkpoint, parts);
    for (const std::string& note : weights->notes()) core.log(kLogInfo, note);
    model->start(std::move(parts));
    core.log(kLogInfo, concat("model loaded: ", config.model_type, " from ", printable(folder)));
    return model;
}

void EngineModel::read_facts(const Checkpoint& checkpoint, const ModelParts& parts) {
    fingerprint_ = checkpoint.fingerprint();
    const JsonDocument document = checkpoint.config();
    add_scalars(document.root(), "config", metadata_);
    const std::string_view dialect = parts.dialect == nullptr ? "raw" : parts.dialect->name();
    metadata_.emplace_back("architecture", config_.model_type);
    metadata_.emplace_back("dialect", dialect);
    metadata_.emplace_back("backend", core()->device()->describe());
    std::sort(metadata_.begin(), metadata_.end());
}

}  // namespace fathom
