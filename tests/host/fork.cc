#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

struct Handles {
    fathom_engine* engine;
    fathom_model* model;
    fathom_tokenizer* tokenizer;
    fathom_prompt* prompt;
    fathom_session* session;
    fathom_stream* stream;
};

/// One bit of work of the interface, returning its status.
using Call = int32_t (*)(const Handles&, fathom_error**);

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

const std::pair<const char*, Call> kCalls[] = {
    {"devices_query", [](const Handles&, fathom_error** e) {
         return fathom_devices_query(nullptr, &devices_out, e); }},
    {"engine_create", [](const Handles&, fathom_error** e) {
         return fathom_engine_create(nullptr, &new_engine_out, e); }},
    {"engine_shutdown", [](const Handles& h, fathom_error** e) {
         return fathom_engine_shutdown(h.engine, kForEver, e); }},
    {"engine_step", [](const Handles& h, fathom_error** e) {
         return fathom_engine_step(h.engine, 0, nullptr, e); }},
    {"engine_wait_any", wait_any},
    {"engine_stats_read", stats},
    {"model_estimate", estimate},
    {"model_load", load_model},
    {"model_describe", describe_model},
    {"model_metadata_get", metadata},
    {"model_tokenizer", [](const Handles& h, fathom_error** e) {
         return fathom_model_tokenizer(h.model, &new_tokenizer_out, e); }},
    {"model_inspect", inspect},
    {"tokenizer_open", [](const Handles&, fathom_error** e) {
         return fathom_tokenizer_open(&demo_source(), &new_tokenizer_out, e); }},
    {"tokenizer_encode", [](const Handles& h, fathom_error** e) {
         return fathom_tokenizer_encode(h.tokenizer, "x", 1, 0, nullptr, 0, &count_out, e); }},
    {"tokenizer_decode", [](const Handles& h, fathom_error** e) {
         return fathom_tokenizer_decode(h.tokenizer, kIds, 1, 0, nullptr, 0, &count_out, e); }},
    {"tokenizer_describe", describe_tokenizer},
    {"prompt_create", [](const Handles& h, fathom_error** e) {
         return fathom_prompt_create(h.tokenizer, nullptr, &new_prompt_out, e); }},
    {"prompt_add_message", add_message},
    {"prompt_add_tokens", [](const Handles& h, fathom_error** e) {
         return fathom_prompt_add_tokens(h.prompt, kIds, 1, e); }},
    {"prompt_add_openai_json", [](const Handles& h, fathom_error** e) {
         return fathom_prompt_add_openai_json(h.prompt, "[]", 2, e); }},
    {"prompt_render", [](const Handles& h, fathom_error** e) {
         return fathom_prompt_render(h.prompt, nullptr, 0, &count_out, e); }},
    {"session_create", [](const Handles& h, fathom_error** e) {
         return fathom_session_create(h.model, nullptr, &new_session_out, e); }},
    {"session_generate", [](const Handles& h, fathom_error** e) {
         return fathom_session_generate(h.session, h.prompt, nullptr, &new_stream_out, e); }},
    {"session_truncate", [](const Handles& h, fathom_error** e) {
         return fathom_session_truncate(h.session, 0, e); }},
    {"session_describe", describe_session},
    {"stream_next", next_event},
    {"stream_usage", usage},
    {"stream_notify_handle", [](const Handles& h, fathom_error** e) {
         return fathom_stream_notify_handle(h.stream, &handle_out, e); }},
};
constexpr int kNCalls = static_cast<int>(std::size(kCalls));

/// In the child: 0 when all is as it should be, else 1 + the index of the call that was wrong.
int use_in_child(const Handles& handles) {
    for (int i = 0; i < kNCalls; ++i) {
        fathom_error* error = nullptr;
        if (kCalls[i].second(handles, &error) != FATHOM_BAD_STATE) return 1 + i;
        if (fathom_error_code(error) != FATHOM_BAD_STATE) return 1 + i;
        if (std::strstr(fathom_error_message(error), "fork") == nullptr) return 1 + i;
        fathom_error_release(error);
    }
    fathom_stream_cancel(handles.stream);
    fathom_stream_release(handles.stream);
    fathom_session_release(handles.session);
    fathom_prompt_release(handles.prompt);
    fathom_tokenizer_release(handles.tokenizer);
    fathom_model_release(handles.model);
    fathom_engine_release(handles.engine);
    return 0;
}

}  // namespace

// Breaks when a forked child hangs, crashes or touches the parent's engine instead of being told
// that it is a child, at whatever moment of a generation the fork came.
TEST_CASE("host fork", "[host][fork]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Prompt prompt = question(tokenizer.get(), "How much is 12 + 34?");
    const int n_forks = host::kSanitized ? 40 : 200;
    Session session = new_session(model.get());
    Stream stream = generate(session.get(), prompt.get(), at_most(60));
    for (int i = 0; i < n_forks; ++i) {
        const Handles handles = {engine.get(),  model.get(),   tokenizer.get(),
                                 prompt.get(), session.get(), stream.get()};
        const int code = host::in_fork([&] { return use_in_child(handles); });
        INFO("fork " << i << ": " << (code > 0 && code <= kNCalls ? kCalls[code - 1].first : ""));
        REQUIRE(code == 0);
        if (i % 25 == 24) {
            // The parent does not notice: its answer comes to its end.
            const Answer answer = drain(stream.get());
            REQUIRE(answer.ids.size() == 60);
            REQUIRE(answer.status == FATHOM_OK);
            stream = generate(session.get(), prompt.get(), at_most(60));
        }
    }
}

// Breaks when a pre-forking server, whose parent never used the library, cannot use it in a child.
TEST_CASE("host fork before first use", "[host][fork]") {
    std::string output;
    const int code = host::in_fresh_process("child: fork before first use", &output);
    INFO(output);
    REQUIRE(code == 0);
}

TEST_CASE("child: fork before first use", "[.child]") {
    const int code = host::in_fork([] {
        std::vector<int32_t> ids;
        return host::whole_life(fixture("v3-f32"), 4, &ids) == FATHOM_OK && ids.size() == 4 ? 0
                                                                                             : 1;
    });
    REQUIRE(code == 0);
}
