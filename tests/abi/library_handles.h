#pragma once

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fathom/fathom.h"

// Owners of handles and the shortest way to a running stream, for tests that see the library as a
// host does. Shared by tests/abi and tests/host.
namespace library {

template <auto Release>
struct Releaser {
    template <typename Handle>
    void operator()(Handle* handle) const {
        Release(handle);
    }
};
using Engine = std::unique_ptr<fathom_engine, Releaser<fathom_engine_release>>;
using Model = std::unique_ptr<fathom_model, Releaser<fathom_model_release>>;
using Tokenizer = std::unique_ptr<fathom_tokenizer, Releaser<fathom_tokenizer_release>>;
using Prompt = std::unique_ptr<fathom_prompt, Releaser<fathom_prompt_release>>;
using Session = std::unique_ptr<fathom_session, Releaser<fathom_session_release>>;
using Stream = std::unique_ptr<fathom_stream, Releaser<fathom_stream_release>>;

/// A struct of the interface with its size set.
template <typename Struct>
Struct sized() {
    Struct value = {};
    value.struct_size = sizeof value;
    return value;
}

/// Status and message of one call: `Result r; r.status = fathom_...(..., &r.error);`
struct Result {
    ~Result() { fathom_error_release(error); }
    std::string message() const { return fathom_error_message(error); }
    int32_t status = FATHOM_OK;
    fathom_error* error = nullptr;
};

inline std::string fixture(const std::string& name) {
    return std::string(FATHOM_SOURCE_DIR) + "/tests/golden/" + name;
}
inline std::string demo_model() {
    return std::string(FATHOM_SOURCE_DIR) + "/examples/demo-model/model";
}

inline fathom_source source_of(const std::string& folder) {
    fathom_source source = sized<fathom_source>();
    source.path = folder.data();
    source.path_bytes = folder.size();
    return source;
}

inline Engine new_engine(fathom_engine_options options = sized<fathom_engine_options>()) {
    fathom_engine* engine = nullptr;
    Result result;
    result.status = fathom_engine_create(&options, &engine, &result.error);
    INFO(result.message());
    REQUIRE(result.status == FATHOM_OK);
    return Engine(engine);
}

inline Model load(fathom_engine* engine, const std::string& folder,
                  fathom_model_options options = sized<fathom_model_options>()) {
    const fathom_source source = source_of(folder);
    fathom_model* model = nullptr;
    Result result;
    result.status = fathom_model_load(engine, &source, &options, &model, &result.error);
    INFO(result.message());
    REQUIRE(result.status == FATHOM_OK);
    return Model(model);
}

inline Tokenizer tokenizer_of(const fathom_model* model) {
    fathom_tokenizer* tokenizer = nullptr;
    REQUIRE(fathom_model_tokenizer(model, &tokenizer, nullptr) == FATHOM_OK);
    return Tokenizer(tokenizer);
}

inline Prompt raw_prompt(const std::vector<int32_t>& ids,
                         const fathom_tokenizer* tokenizer = nullptr) {
    fathom_prompt* prompt = nullptr;
    REQUIRE(fathom_prompt_create(tokenizer, nullptr, &prompt, nullptr) == FATHOM_OK);
    Prompt owned(prompt);
    REQUIRE(fathom_prompt_add_tokens(prompt, ids.data(), ids.size(), nullptr) == FATHOM_OK);
    return owned;
}

inline Prompt question(const fathom_tokenizer* tokenizer, const std::string& text,
                       int32_t thinking = FATHOM_THINKING_AUTO) {
    fathom_prompt_options options = sized<fathom_prompt_options>();
    options.thinking = thinking;
    fathom_prompt* prompt = nullptr;
    REQUIRE(fathom_prompt_create(tokenizer, &options, &prompt, nullptr) == FATHOM_OK);
    Prompt owned(prompt);
    fathom_message message = sized<fathom_message>();
    message.role = FATHOM_ROLE_USER;
    message.text = text.data();
    message.text_bytes = text.size();
    REQUIRE(fathom_prompt_add_message(prompt, &message, nullptr) == FATHOM_OK);
    return owned;
}

inline Session new_session(fathom_model* model) {
    fathom_session* session = nullptr;
    REQUIRE(fathom_session_create(model, nullptr, &session, nullptr) == FATHOM_OK);
    return Session(session);
}

inline fathom_generate_options at_most(uint64_t tokens) {
    fathom_generate_options options = sized<fathom_generate_options>();
    options.max_tokens = tokens;
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    return options;
}

inline Stream generate(fathom_session* session, const fathom_prompt* prompt,
                       const fathom_generate_options& options) {
    fathom_stream* stream = nullptr;
    Result result;
    result.status = fathom_session_generate(session, prompt, &options, &stream, &result.error);
    INFO(result.message());
    REQUIRE(result.status == FATHOM_OK);
    return Stream(stream);
}

/// Everything that a stream delivered.
struct Answer {
    std::string text;
    std::string reasoning;
    std::vector<int32_t> ids;
    std::vector<fathom_logprob> logprobs;
    int32_t finish_reason = 0;
    int32_t status = FATHOM_OK;
    std::string message;
};

inline Answer drain(fathom_stream* stream) {
    Answer answer;
    fathom_event event = sized<fathom_event>();
    uint64_t sequence = 0;
    do {
        REQUIRE(fathom_stream_next(stream, UINT64_MAX, &event, nullptr) == FATHOM_OK);
        REQUIRE(event.sequence == sequence++);
        answer.ids.insert(answer.ids.end(), event.ids, event.ids + event.n_ids);
        answer.logprobs.insert(answer.logprobs.end(), event.logprobs,
                               event.logprobs + event.n_logprobs);
        const std::string text(event.text, event.text_bytes);
        if (event.type == FATHOM_EVENT_TEXT) answer.text += text;
        if (event.type == FATHOM_EVENT_REASONING) answer.reasoning += text;
        if (event.type == FATHOM_EVENT_DONE) answer.message = text;
    } while (event.type != FATHOM_EVENT_DONE);
    answer.finish_reason = event.finish_reason;
    answer.status = event.status;
    return answer;
}

}  // namespace library
