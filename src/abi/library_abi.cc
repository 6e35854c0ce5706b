#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>

#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/structs.h"

namespace fathom::abi {
namespace {

constexpr StructVersion kStructs[] = {
    {FATHOM_STRUCT_ENGINE_OPTIONS, offsetof(fathom_engine_options, device),
     "fathom_engine_options"},
    {FATHOM_STRUCT_ENGINE_STATS, sizeof(fathom_engine_stats), "fathom_engine_stats"},
    {FATHOM_STRUCT_DEVICE_INFO, sizeof(fathom_device_info), "fathom_device_info"},
    {FATHOM_STRUCT_SOURCE, sizeof(fathom_source), "fathom_source"},
    {FATHOM_STRUCT_MODEL_OPTIONS, sizeof(fathom_model_options), "fathom_model_options"},
    {FATHOM_STRUCT_MODEL_DESCRIPTION, sizeof(fathom_model_description),
     "fathom_model_description"},
    {FATHOM_STRUCT_MEMORY_PLAN, sizeof(fathom_memory_plan), "fathom_memory_plan"},
    {FATHOM_STRUCT_TOKENIZER_DESCRIPTION, sizeof(fathom_tokenizer_description),
     "fathom_tokenizer_description"},
    {FATHOM_STRUCT_PROMPT_OPTIONS, sizeof(fathom_prompt_options), "fathom_prompt_options"},
    {FATHOM_STRUCT_MESSAGE, sizeof(fathom_message), "fathom_message"},
    {FATHOM_STRUCT_SESSION_OPTIONS, sizeof(fathom_session_options), "fathom_session_options"},
    {FATHOM_STRUCT_SESSION_DESCRIPTION, sizeof(fathom_session_description),
     "fathom_session_description"},
    {FATHOM_STRUCT_GENERATE_OPTIONS, sizeof(fathom_generate_options), "fathom_generate_options"},
    {FATHOM_STRUCT_EVENT, sizeof(fathom_event), "fathom_event"},
    {FATHOM_STRUCT_USAGE, sizeof(fathom_usage), "fathom_usage"},
};

constexpr const char* kStatusNames[] = {
    "FATHOM_OK",          "FATHOM_INVALID_ARGUMENT", "FATHOM_BAD_STATE", "FATHOM_BUSY",
    "FATHOM_CANCELLED",   "FATHOM_TIMEOUT",          "FATHOM_NO_MEMORY", "FATHOM_BUDGET",
    "FATHOM_IO",          "FATHOM_FORMAT",           "FATHOM_INTEGRITY", "FATHOM_UNSUPPORTED",
    "FATHOM_TEMPLATE",    "FATHOM_GRAMMAR",          "FATHOM_CONTEXT_FULL", "FATHOM_DEVICE",
    "FATHOM_DEVICE_LOST", "FATHOM_SHUTDOWN",         "FATHOM_INTERNAL",
};
static_assert(std::size(kStatusNames) == FATHOM_INTERNAL + 1);
static_assert(static_cast<int32_t>(Status::kInvalidArgument) == FATHOM_INVALID_ARGUMENT &&
              static_cast<int32_t>(Status::kBadState) == FATHOM_BAD_STATE &&
              static_cast<int32_t>(Status::kBusy) == FATHOM_BUSY &&
              static_cast<int32_t>(Status::kCancelled) == FATHOM_CANCELLED &&
              static_cast<int32_t>(Status::kTimeout) == FATHOM_TIMEOUT &&
              static_cast<int32_t>(Status::kNoMemory) == FATHOM_NO_MEMORY &&
              static_cast<int32_t>(Status::kBudget) == FATHOM_BUDGET &&
              static_cast<int32_t>(Status::kIo) == FATHOM_IO &&
              static_cast<int32_t>(Status::kFormat) == FATHOM_FORMAT &&
              static_cast<int32_t>(Status::kIntegrity) == FATHOM_INTEGRITY &&
              static_cast<int32_t>(Status::kUnsupported) == FATHOM_UNSUPPORTED &&
              static_cast<int32_t>(Status::kTemplate) == FATHOM_TEMPLATE &&
              static_cast<int32_t>(Status::kGrammar) == FATHOM_GRAMMAR &&
              static_cast<int32_t>(Status::kContextFull) == FATHOM_CONTEXT_FULL &&
              static_cast<int32_t>(Status::kDevice) == FATHOM_DEVICE &&
              static_cast<int32_t>(Status::kDeviceLost) == FATHOM_DEVICE_LOST &&
              static_cast<int32_t>(Status::kShutdown) == FATHOM_SHUTDOWN &&
              static_cast<int32_t>(Status::kInternal) == FATHOM_INTERNAL);

constexpr const char* kFeatures[] = {
    "arch.deepseek_v2",      "arch.deepseek_v3",       "arch.kimi_k2",
    "arch.glm4_moe_lite",    "backend.cpu",            "dialect.deepseek-v2",
    "dialect.deepseek-v2.5", "dialect.deepseek-v3",    "dialect.deepseek-r1",
    "dialect.deepseek-r1-0528", "dialect.deepseek-v3.1", "dtype.f32",
    "dtype.f16",             "dtype.bf16",             "dtype.f8_e4m3",
    "format.safetensors",    "tokenizer.json",         "tokenizer.sentencepiece",
    "deterministic",
};

}  // namespace

const StructVersion* find_struct(uint32_t id) {
    for (const StructVersion& known : kStructs) {
        if (known.id == id) return &known;
    }
    return nullptr;
}

void check_struct_size(uint32_t id, uint32_t size) {
    const StructVersion& known = *find_struct(id);
    // No struct of this interface will grow past this; a larger number is an uninitialised field.
    constexpr uint32_t kLargest = 4096;
    if (size < known.first_size || size > kLargest) {
        fail(Status::kInvalidArgument, known.name, ": struct_size is ", size, ", wanted ",
             known.first_size, " (sizeof the struct) to ", kLargest);
    }
}

}  // namespace fathom::abi

using namespace fathom::abi;

uint32_t fathom_abi_version(void) { return FATHOM_ABI_VERSION; }

const char* fathom_build_info_json(void) {
    return "{\"version\":\"" FATHOM_VERSION_TEXT "\",\"abi\":\"1.0\",\"compiler\":\"" __VERSION__
           "\",\"backends\":[\"cpu\"],\"cpu_levels\":[\"scalar\",\"avx2\",\"avx512\","
           "\"avx512_bf16\"]}";
}

int32_t fathom_feature_supported(const char* name) {
    if (name == nullptr) return 0;
    for (const char* known : kFeatures) {
        if (std::strcmp(known, name) == 0) return 1;
    }
    return 0;
}

const char* fathom_status_name(int32_t status) {
    if (status < 0 || status > FATHOM_INTERNAL) return "unknown status";
    return kStatusNames[status];
}

int32_t fathom_struct_init(void* structure, uint32_t id, uint32_t size) {
    const StructVersion* known = find_struct(id);
    if (structure == nullptr || known == nullptr || size < known->first_size) {
        return FATHOM_INVALID_ARGUMENT;
    }
    std::memset(structure, 0, size);
    std::memcpy(structure, &size, sizeof size);
    return FATHOM_OK;
}

const char* fathom_buffer_data(const fathom_buffer* buffer, uint64_t* bytes) {
    const bool live = is_live(buffer);
    if (bytes != nullptr) *bytes = live ? buffer->text.size() : 0;
    return live ? buffer->text.data() : nullptr;
}

void fathom_buffer_release(fathom_buffer* buffer) {
    guard_release([&] { retire(buffer); });
}

int32_t fathom_error_code(const fathom_error* error) {
    return error == nullptr ? FATHOM_OK : static_cast<int32_t>(error->status);
}

const char* fathom_error_message(const fathom_error* error) {
    return error == nullptr ? "" : error->message;
}

void fathom_error_release(fathom_error* error) {
    if (error == nullptr || is_static(error)) return;
    delete[] error->message;
    delete error;
}
