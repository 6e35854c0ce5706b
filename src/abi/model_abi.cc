#include <cstring>

#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/inspect.h"
#include "abi/options.h"
#include "abi/structs.h"
#include "model/estimate.h"

using namespace fathom;
using namespace fathom::abi;

int32_t fathom_model_estimate(const fathom_engine_options* engine_options,
                              const fathom_source* source,
                              const fathom_model_options* model_options, fathom_memory_plan* plan,
                              fathom_error** error) {
    return guard(error, [&] {
        require(plan, "plan");
        check_struct_size(FATHOM_STRUCT_MEMORY_PLAN, plan->struct_size);
        const FolderFacts facts(folder_of(source), engine_options_of(engine_options),
                                model_options_of(model_options));
        write_result(facts.memory_plan(), plan);
        facts.check_budget();
    });
}

int32_t fathom_model_inspect(const fathom_engine_options* engine_options,
                             const fathom_source* source,
                             const fathom_model_options* model_options, fathom_buffer** json,
                             fathom_error** error) {
    return guard(error, [&] {
        require(json, "json");
        const FolderFacts facts(folder_of(source), engine_options_of(engine_options),
                                model_options_of(model_options));
        facts.check_budget();
        *json = new fathom_buffer{{}, facts.json()};
    });
}

int32_t fathom_model_load(fathom_engine* engine, const fathom_source* source,
                          const fathom_model_options* options, fathom_model** model,
                          fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        require(model, "model");
        auto handle = std::make_unique<fathom_model>();
        handle->model =
            EngineModel::load(engine->engine, folder_of(source), model_options_of(options));
        *model = handle.release();
    });
}

void fathom_model_release(fathom_model* model) {
    guard_release([&] { retire(model); });
}

int32_t fathom_model_describe(const fathom_model* model, fathom_model_description* description,
                              fathom_error** error) {
    return guard(error, [&] {
        require(model, "model");
        const EngineModel& inner = *model->model;
        const ModelConfig& config = inner.config();
        const ParameterCount parameters = count_parameters(config);
        const DType kv_type = inner.limits().kv_dtype;
        fathom_model_description out = {};
        out.n_layers = config.num_hidden_layers;
        out.n_routed_experts = config.n_routed_experts;
        out.n_active_experts = config.num_experts_per_tok;
        out.hidden_size = config.hidden_size;
        out.vocabulary_rows = config.vocab_size;
        out.n_heads = config.num_attention_heads;
        out.kv_type = kv_type == DType::kF32 ? FATHOM_KV_F32 : FATHOM_KV_BF16;
        out.context = static_cast<uint64_t>(inner.context());
        out.parameters = parameters.total;
        out.active_parameters = parameters.active;
        out.weight_bytes = inner.weight_bytes();
        out.workspace_bytes = inner.workspace_bytes();
        out.kv_cache_bytes = inner.kv_cache_bytes();
        out.kv_bytes_per_token = kv_bytes_per_token(config, kv_type);
        out.fingerprint = inner.fingerprint();
        copy_name(config.model_type, out.architecture);
        copy_name(inner.dialect() == nullptr ? "raw" : inner.dialect()->name(), out.dialect);
        write_result(out, description);
    });
}

int32_t fathom_model_metadata_get(const fathom_model* model, const char* key, const char** value,
                                  uint64_t* value_bytes, fathom_error** error) {
    return guard(error, [&] {
        require(model, "model");
        require(key, "key");
        require(value, "value");
        *value = nullptr;
        const std::string* found = model->model->metadata(key);
        if (found == nullptr) {
            fail(Status::kInvalidArgument, "metadata: no entry '", printable(key), "'");
        }
        *value = found->c_str();
        if (value_bytes != nullptr) *value_bytes = found->size();
    });
}

int32_t fathom_model_tokenizer(const fathom_model* model, fathom_tokenizer** tokenizer,
                               fathom_error** error) {
    return guard(error, [&] {
        require(model, "model");
        require(tokenizer, "tokenizer");
        const EngineModel& inner = *model->model;
        if (inner.tokenizer() == nullptr) {
            fail(Status::kBadState, "model: its folder has neither tokenizer.json nor "
                 "tokenizer.model");
        }
        *tokenizer = new fathom_tokenizer{{}, inner.tokenizer(), inner.dialect()};
    });
}
