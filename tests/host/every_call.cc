#include "host/every_call.h"

#include <string>

#include "host/host_support.h"

using namespace library;

namespace host {
namespace {

const fathom_source& demo_source() {
    static const std::string path = demo_model();
    static const fathom_source source = source_of(path);
    return source;
}

int32_t describe_model(const Handles& h, fathom_error** error) {
    fathom_model_description out = sized<fathom_model_description>();
    return fathom_model_describe(h.model, &out, error);
}
int32_t estimate(const Handles&, fathom_error** error) {
    fathom_memory_plan out = sized<fathom_memory_plan>();
    return fathom_model_estimate(nullptr, &demo_source(), nullptr, &out, error);
}
int32_t inspect(const Handles&, fathom_error** error) {
    fathom_buffer* out = nullptr;
    return fathom_model_inspect(nullptr, &demo_source(), nullptr, &out, error);
}
int32_t load_model(const Handles& h, fathom_error** error) {
    fathom_model* out = nullptr;
    return fathom_model_load(h.engine, &demo_source(), nullptr, &out, error);
}
int32_t metadata(const Handles& h, fathom_error** error) {
    const char* out = nullptr;
    return fathom_model_metadata_get(h.model, "architecture", &out, nullptr, error);
}
int32_t add_message(const Handles& h, fathom_error** error) {
    fathom_message message = sized<fathom_message>();
    message.role = FATHOM_ROLE_USER;
    return fathom_prompt_add_message(h.prompt, &message, error);
}
int32_t next_event(const Handles& h, fathom_error** error) {
    fathom_event event = sized<fathom_event>();
    return fathom_stream_next(h.stream, UINT64_MAX, &event, error);
}
int32_t usage(const Handles& h, fathom_error** error) {
    fathom_usage out = sized<fathom_usage>();
    return fathom_stream_usage(h.stream, &out, error);
}
int32_t wait_any(const Handles& h, fathom_error** error) {
    uint32_t ready = 0;
    return fathom_engine_wait_any(h.engine, &h.stream, 1, UINT64_MAX, &ready, error);
}
int32_t stats(const Handles& h, fathom_error** error) {
    fathom_engine_stats out = sized<fathom_engine_stats>();
    return fathom_engine_stats_read(h.engine, &out, error);
}
int32_t describe_session(const Handles& h, fathom_error** error) {
    fathom_session_description out = sized<fathom_session_description>();
    return fathom_session_describe(h.session, &out, error);
}
int32_t describe_tokenizer(const Handles& h, fathom_error** error) {
    fathom_tokenizer_description out = sized<fathom_tokenizer_description>();
    return fathom_tokenizer_describe(h.tokenizer, &out, error);
}

constexpr uint64_t kForEver = UINT64_MAX;
fathom_engine* new_engine_out;
fathom_tokenizer* new_tokenizer_out;
fathom_prompt* new_prompt_out;
fathom_session* new_session_out;
fathom_stream* new_stream_out;
uint64_t count_out;
uint32_t devices_out;
int64_t handle_out;
const int32_t kIds[] = {5};

constexpr NamedCall kCalls[] = {
    {"devices_query", false, [](const Handles&, fathom_error** e) {
         return fathom_devices_query(nullptr, &devices_out, e); }},
    {"engine_create", false, [](const Handles&, fathom_error** e) {
         return fathom_engine_create(nullptr, &new_engine_out, e); }},
    {"engine_shutdown", true, [](const Handles& h, fathom_error** e) {
         return fathom_engine_shutdown(h.engine, kForEver, e); }},
    {"engine_step", true, [](const Handles& h, fathom_error** e) {
         return fathom_engine_step(h.engine, 0, nullptr, e); }},
    {"engine_wait_any", true, wait_any},
    {"engine_stats_read", true, stats},
    {"model_estimate", false, estimate},
    {"model_load", true, load_model},
    {"model_describe", true, describe_model},
    {"model_metadata_get", true, metadata},
    {"model_tokenizer", true, [](const Handles& h, fathom_error** e) {
         return fathom_model_tokenizer(h.model, &new_tokenizer_out, e); }},
    {"model_inspect", false, inspect},
    {"tokenizer_open", false, [](const Handles&, fathom_error** e) {
         return fathom_tokenizer_open(&demo_source(), &new_tokenizer_out, e); }},
    {"tokenizer_encode", true, [](const Handles& h, fathom_error** e) {
         return fathom_tokenizer_encode(h.tokenizer, "x", 1, 0, nullptr, 0, &count_out, e); }},
    {"tokenizer_decode", true, [](const Handles& h, fathom_error** e) {
         return fathom_tokenizer_decode(h.tokenizer, kIds, 1, 0, nullptr, 0, &count_out, e); }},
    {"tokenizer_describe", true, describe_tokenizer},
    {"prompt_create", true, [](const Handles& h, fathom_error** e) {
         return fathom_prompt_create(h.tokenizer, nullptr, &new_prompt_out, e); }},
    {"prompt_add_message", true, add_message},
    {"prompt_add_tokens", true, [](const Handles& h, fathom_error** e) {
         return fathom_prompt_add_tokens(h.prompt, kIds, 1, e); }},
    {"prompt_add_openai_json", true, [](const Handles& h, fathom_error** e) {
         return fathom_prompt_add_openai_json(h.prompt, "[]", 2, e); }},
    {"prompt_render", true, [](const Handles& h, fathom_error** e) {
         return fathom_prompt_render(h.prompt, nullptr, 0, &count_out, e); }},
    {"session_create", true, [](const Handles& h, fathom_error** e) {
         return fathom_session_create(h.model, nullptr, &new_session_out, e); }},
    {"session_generate", true, [](const Handles& h, fathom_error** e) {
         return fathom_session_generate(h.session, h.prompt, nullptr, &new_stream_out, e); }},
    {"session_truncate", true, [](const Handles& h, fathom_error** e) {
         return fathom_session_truncate(h.session, 0, e); }},
    {"session_describe", true, describe_session},
    {"stream_next", true, next_event},
    {"stream_usage", true, usage},
    {"stream_notify_handle", true, [](const Handles& h, fathom_error** e) {
         return fathom_stream_notify_handle(h.stream, &handle_out, e); }},
};

}  // namespace

std::span<const NamedCall> every_call() { return kCalls; }

void release_all(const Handles& handles) {
    fathom_stream_cancel(handles.stream);
    fathom_stream_release(handles.stream);
    fathom_session_release(handles.session);
    fathom_prompt_release(handles.prompt);
    fathom_tokenizer_release(handles.tokenizer);
    fathom_model_release(handles.model);
    fathom_engine_release(handles.engine);
}

}  // namespace host
