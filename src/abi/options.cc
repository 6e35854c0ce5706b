#include "abi/options.h"

#include "abi/guard.h"
#include "abi/structs.h"
#include "backend/plugin.h"

namespace fathom::abi {
namespace {

static_assert(static_cast<int32_t>(EngineMode::kManual) == FATHOM_MODE_MANUAL);
static_assert(static_cast<int32_t>(CpuIsa::kScalar) == FATHOM_CPU_SCALAR &&
              static_cast<int32_t>(CpuIsa::kAvx2) == FATHOM_CPU_AVX2 &&
              static_cast<int32_t>(CpuIsa::kAvx512) == FATHOM_CPU_AVX512 &&
              static_cast<int32_t>(CpuIsa::kAvx512Bf16) == FATHOM_CPU_AVX512_BF16);
static_assert(static_cast<int32_t>(KvType::kBf16) == FATHOM_KV_BF16 &&
              static_cast<int32_t>(KvType::kF32) == FATHOM_KV_F32);
static_assert(kGenerateAppend == FATHOM_GENERATE_APPEND &&
              kGeneratePromptOnly == FATHOM_GENERATE_PROMPT_ONLY &&
              kGeneratePromptLogprobs == FATHOM_GENERATE_PROMPT_LOGPROBS &&
              kGenerateIgnoreEos == FATHOM_GENERATE_IGNORE_EOS);

/// An array argument: NULL only with count 0, and not more than the interface allows.
template <typename Element>
void require_array(const char* field, const Element* array, uint64_t count, uint64_t most) {
    if (count > most) {
        fail(Status::kInvalidArgument, field, ": found ", count, " entries, wanted at most ", most);
    }
    if (array == nullptr && count != 0) {
        fail(Status::kInvalidArgument, field, ": found NULL with ", count, " entries");
    }
}

}  // namespace

EngineOptions engine_options_of(const fathom_engine_options* options) {
    const fathom_engine_options given = read_options(options);
    require_range("fathom_engine_options.mode", given.mode, 0, FATHOM_MODE_MANUAL);
    require_range("fathom_engine_options.cpu_level", given.cpu_level, 0, FATHOM_CPU_AVX512_BF16);
    require_range("fathom_engine_options.deterministic", given.deterministic, 0, 1);
    require_range("fathom_engine_options.reserved", given.reserved, 0, 0);
    EngineOptions out;
    out.mode = static_cast<EngineMode>(given.mode);
    out.n_threads = given.n_threads;
    out.cpu_level = static_cast<CpuIsa>(given.cpu_level);
    out.deterministic = given.deterministic != 0;
    out.max_batch_rows = given.max_batch_rows;
    out.max_sequences = given.max_sequences;
    out.memory_budget = given.memory_budget;
    out.kv_cache_bytes = given.kv_cache_bytes;
    out.log.write = given.log;
    out.log.user_data = given.log_user_data;
    require_range("fathom_engine_options.device", given.device, 0, FATHOM_DEVICE_CUDA);
    require_range("fathom_engine_options.device_index", given.device_index, 0,
                  given.device == FATHOM_DEVICE_CUDA ? 1023 : 0);
    out.device_index = given.device_index;
    out.driver_folder = text_of(given.driver_folder, given.driver_folder_bytes,
                                "fathom_engine_options.driver_folder");
    const std::string_view plugin_folder = text_of(
        given.plugin_folder, given.plugin_folder_bytes, "fathom_engine_options.plugin_folder");
    if (given.device == FATHOM_DEVICE_CUDA) out.backend = load_plugin("cuda", plugin_folder);
    check_engine_options(out);
    return out;
}

ModelOptions model_options_of(const fathom_model_options* options) {
    const fathom_model_options given = read_options(options);
    require_range("fathom_model_options.kv_type", given.kv_type, 0, FATHOM_KV_F32);
    ModelOptions out;
    out.kv_type = static_cast<KvType>(given.kv_type);
    out.context = given.context;
    out.dialect = text_of(given.dialect, given.dialect_bytes, "fathom_model_options.dialect");
    out.progress = given.progress;
    out.progress_user_data = given.progress_user_data;
    return out;
}

GenerateOptions generate_options_of(const fathom_generate_options* options) {
    const fathom_generate_options given = read_options(options);
    constexpr uint32_t kKnownFlags = FATHOM_GENERATE_APPEND | FATHOM_GENERATE_PROMPT_ONLY |
                                     FATHOM_GENERATE_PROMPT_LOGPROBS | FATHOM_GENERATE_IGNORE_EOS;
    if ((given.flags & ~kKnownFlags) != 0) {
        fail(Status::kInvalidArgument, "fathom_generate_options.flags: found unknown bits in ",
             given.flags);
    }
    require_array("logit_bias", given.logit_bias, given.n_logit_bias, kMaxLogitBias);
    require_array("stop", given.stop, given.n_stop, kMaxStops);
    require_array("stop_ids", given.stop_ids, given.n_stop_ids, kMaxStops);
    GenerateOptions out;
    out.flags = given.flags;
    out.max_tokens = given.max_tokens;
    out.deadline_ns = given.deadline_ns;
    out.sampling.temperature = given.temperature;
    out.sampling.top_k = given.top_k;
    out.sampling.top_p = given.top_p;
    out.sampling.min_p = given.min_p;
    out.sampling.repetition_penalty = given.repetition_penalty;
    out.sampling.presence_penalty = given.presence_penalty;
    out.sampling.frequency_penalty = given.frequency_penalty;
    out.sampling.logprobs = given.logprobs;
    out.sampling.seed = given.seed;
    for (uint64_t i = 0; i < given.n_logit_bias; ++i) {
        out.sampling.logit_bias.push_back({given.logit_bias[i].token, given.logit_bias[i].bias});
    }
    for (uint64_t i = 0; i < given.n_stop; ++i) {
        out.stop.emplace_back(text_of(given.stop[i].data, given.stop[i].bytes, "stop"));
    }
    if (given.n_stop_ids != 0) {
        out.stop_ids.assign(given.stop_ids, given.stop_ids + given.n_stop_ids);
    }
    return out;
}

std::string folder_of(const fathom_source* source) {
    require(source, "source");
    const fathom_source given = read_options(source);
    require_range("fathom_source.reserved", given.reserved, 0, 0);
    const std::string_view path = text_of(given.path, given.path_bytes, "fathom_source.path");
    if (path.empty()) fail(Status::kInvalidArgument, "fathom_source.path: found empty text");
    return std::string(path);
}

}  // namespace fathom::abi
