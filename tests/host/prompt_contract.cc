#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

Tokenizer demo_tokenizer() {
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    fathom_tokenizer* tokenizer = nullptr;
    REQUIRE(fathom_tokenizer_open(&source, &tokenizer, nullptr) == FATHOM_OK);
    return Tokenizer(tokenizer);
}

Prompt new_prompt(const fathom_tokenizer* tokenizer, const std::string& dialect = "",
                  fathom_prompt_options options = sized<fathom_prompt_options>()) {
    options.dialect = dialect.data();
    options.dialect_bytes = dialect.size();
    fathom_prompt* prompt = nullptr;
    REQUIRE(fathom_prompt_create(tokenizer, &options, &prompt, nullptr) == FATHOM_OK);
    return Prompt(prompt);
}

/// Status of a call, whose message must contain `part`.
int32_t status_of(const std::function<int32_t(fathom_error**)>& call, const std::string& part) {
    Result result;
    result.status = call(&result.error);
    INFO(result.message());
    CHECK(fathom_error_code(result.error) == result.status);
    CHECK(result.message().find(part) != std::string::npos);
    return result.status;
}

int32_t add_message(fathom_prompt* prompt, const std::string& text, int32_t role,
                    const std::string& part = "") {
    fathom_message message = sized<fathom_message>();
    message.role = role;
    message.text = text.data();
    message.text_bytes = text.size();
    return status_of(
        [&](fathom_error** error) { return fathom_prompt_add_message(prompt, &message, error); },
        part);
}

int32_t add_tokens(fathom_prompt* prompt, const std::vector<int32_t>& ids,
                   const std::string& part = "") {
    return status_of(
        [&](fathom_error** error) {
            return fathom_prompt_add_tokens(prompt, ids.data(), ids.size(), error);
        },
        part);
}

int32_t add_json(fathom_prompt* prompt, const std::string& json, const std::string& part = "") {
    return status_of(
        [&](fathom_error** error) {
            return fathom_prompt_add_openai_json(prompt, json.data(), json.size(), error);
        },
        part);
}

std::vector<int32_t> render(const fathom_prompt* prompt) {
    std::vector<int32_t> ids(1000);
    uint64_t count = 0;
    REQUIRE(fathom_prompt_render(prompt, ids.data(), ids.size(), &count, nullptr) == FATHOM_OK);
    ids.resize(count);
    return ids;
}

}  // namespace

// Breaks when a prompt takes what its dialect cannot say, or text and raw tokens get mixed.
TEST_CASE("host prompt states", "[host][prompt]") {
    const Tokenizer tokenizer = demo_tokenizer();

    SECTION("raw tokens, then messages") {
        const Prompt prompt = new_prompt(tokenizer.get());
        REQUIRE(add_tokens(prompt.get(), {3, 4}) == FATHOM_OK);
        REQUIRE(add_message(prompt.get(), "x", FATHOM_ROLE_USER, "raw tokens") ==
                FATHOM_BAD_STATE);
        REQUIRE(add_json(prompt.get(), R"([{"role":"user","content":"x"}])", "raw tokens") ==
                FATHOM_BAD_STATE);
        REQUIRE(render(prompt.get()) == std::vector<int32_t>{3, 4});
        REQUIRE(add_tokens(prompt.get(), {5}) == FATHOM_OK);
        REQUIRE(render(prompt.get()) == std::vector<int32_t>{3, 4, 5});
    }
    SECTION("messages, then raw tokens") {
        const Prompt prompt = question(tokenizer.get(), "x");
        const std::vector<int32_t> before = render(prompt.get());
        REQUIRE(add_tokens(prompt.get(), {3, 4}, "messages") == FATHOM_BAD_STATE);
        REQUIRE(render(prompt.get()) == before);
    }
    SECTION("a prompt without a tokenizer takes no messages") {
        const Prompt prompt = new_prompt(nullptr);
        REQUIRE(add_message(prompt.get(), "x", FATHOM_ROLE_USER, "dialect") == FATHOM_BAD_STATE);
        REQUIRE(add_json(prompt.get(), R"([{"role":"user","content":"x"}])", "dialect") ==
                FATHOM_BAD_STATE);
        REQUIRE(add_tokens(prompt.get(), {3}) == FATHOM_OK);
    }
    SECTION("a folder without a tokenizer") {
        const Engine engine = new_engine();
        const Model model = load(engine.get(), fixture("v3-f32"));
        fathom_tokenizer* none = nullptr;
        REQUIRE(status_of(
                    [&](fathom_error** error) {
                        return fathom_model_tokenizer(model.get(), &none, error);
                    },
                    "tokenizer") == FATHOM_BAD_STATE);
        REQUIRE(none == nullptr);
    }
}

// Breaks when a value out of its range is taken for another one.
TEST_CASE("host prompt arguments", "[host][prompt]") {
    const Tokenizer tokenizer = demo_tokenizer();
    const Prompt prompt = new_prompt(tokenizer.get());
    fathom_tokenizer_description facts = sized<fathom_tokenizer_description>();
    REQUIRE(fathom_tokenizer_describe(tokenizer.get(), &facts, nullptr) == FATHOM_OK);

    SECTION("role") {
        for (const int32_t role : {-1, 0, 5, INT32_MAX}) {
            REQUIRE(add_message(prompt.get(), "x", role, std::to_string(role)) ==
                    FATHOM_INVALID_ARGUMENT);
        }
    }
    SECTION("thinking") {
        for (const int32_t thinking : {-1, 3}) {
            fathom_prompt_options options = sized<fathom_prompt_options>();
            options.thinking = thinking;
            fathom_prompt* made = nullptr;
            REQUIRE(status_of(
                        [&](fathom_error** error) {
                            return fathom_prompt_create(tokenizer.get(), &options, &made, error);
                        },
                        "thinking") == FATHOM_INVALID_ARGUMENT);
            REQUIRE(made == nullptr);
        }
    }
    SECTION("dialect") {
        fathom_prompt_options options = sized<fathom_prompt_options>();
        options.dialect = "nobody's";
        options.dialect_bytes = 8;
        fathom_prompt* made = nullptr;
        REQUIRE(status_of(
                    [&](fathom_error** error) {
                        return fathom_prompt_create(tokenizer.get(), &options, &made, error);
                    },
                    "nobody's") == FATHOM_UNSUPPORTED);
        REQUIRE(made == nullptr);
    }
    SECTION("hostile 31: ids that the tokenizer does not have, also behind good ones") {
        for (const int32_t id : {-1, INT32_MIN, facts.n_tokens, INT32_MAX}) {
            REQUIRE(add_tokens(prompt.get(), {1, 2, id}, "ids[2]: found " + std::to_string(id)) ==
                    FATHOM_INVALID_ARGUMENT);
        }
        REQUIRE(render(prompt.get()).empty());
        REQUIRE(add_tokens(prompt.get(), {0, facts.n_tokens - 1}) == FATHOM_OK);
    }
    SECTION("texts without bytes") {
        fathom_message message = sized<fathom_message>();
        message.role = FATHOM_ROLE_USER;
        message.text_bytes = 1;
        REQUIRE(fathom_prompt_add_message(prompt.get(), &message, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
        REQUIRE(fathom_prompt_add_message(prompt.get(), nullptr, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
        REQUIRE(fathom_prompt_add_tokens(prompt.get(), nullptr, 1, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
        REQUIRE(fathom_prompt_add_openai_json(prompt.get(), nullptr, 1, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
    }
}

// Breaks when a conversation that is not one is taken in part, or the message names another place.
TEST_CASE("host prompt OpenAI JSON", "[host][prompt]") {
    const Tokenizer tokenizer = demo_tokenizer();
    const Prompt prompt = new_prompt(tokenizer.get());
    struct Bad {
        const char* json;
        const char* part;
    };
    for (const Bad& bad : {Bad{"", ""},
                           {"{", "byte 1"},
                           {R"({"role":"user","content":"x"})", "an array"},
                           {R"([{"role":"user","content":"x"},7])", "[1]"},
                           {R"([{"role":"user","content":"x"},{"content":"x"}])", "role"},
                           {R"([{"role":"robot","content":"x"}])", "[0].role"},
                           {R"([{"role":"user"}])", "content"},
                           {R"([{"role":"user","content":5}])", "[0].content"},
                           {R"([{"role":"user","content":[{"type":"image_url"}]}])", "type"}}) {
        CAPTURE(bad.json);
        REQUIRE(add_json(prompt.get(), bad.json, bad.part) == FATHOM_FORMAT);
        REQUIRE(render(prompt.get()).empty());
    }
    REQUIRE(add_json(prompt.get(), R"([{"role":"user","content":"x"}])") == FATHOM_OK);
    REQUIRE(render(prompt.get()) == render(question(tokenizer.get(), "x").get()));
}

// Breaks when a conversation that the model was never shown is rendered as if it had been.
TEST_CASE("host prompt that the dialect cannot render", "[host][prompt]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Prompt prompt = new_prompt(tokenizer.get(), "deepseek-v3");
    REQUIRE(add_json(prompt.get(), R"([{"role":"user","content":"x"},)"
                                   R"({"role":"assistant","content":null}])") == FATHOM_OK);
    std::vector<int32_t> ids(1000);
    uint64_t count = 0;
    REQUIRE(status_of(
                [&](fathom_error** error) {
                    return fathom_prompt_render(prompt.get(), ids.data(), ids.size(), &count,
                                                error);
                },
                "messages[1]") == FATHOM_TEMPLATE);
    const Session session = new_session(model.get());
    fathom_stream* stream = nullptr;
    REQUIRE(status_of(
                [&](fathom_error** error) {
                    return fathom_session_generate(session.get(), prompt.get(), nullptr, &stream,
                                                   error);
                },
                "messages[1]") == FATHOM_TEMPLATE);
    REQUIRE(stream == nullptr);
}

// Breaks when the assistant's turn is opened although the host wants to end with its own, or the
// other way round.
TEST_CASE("host prompt no_generation", "[host][prompt]") {
    const Tokenizer tokenizer = demo_tokenizer();
    fathom_prompt_options options = sized<fathom_prompt_options>();
    const Prompt open = new_prompt(tokenizer.get(), "", options);
    options.no_generation = 1;
    const Prompt closed = new_prompt(tokenizer.get(), "", options);
    for (const Prompt* prompt : {&open, &closed}) {
        REQUIRE(add_message(prompt->get(), "hello", FATHOM_ROLE_USER) == FATHOM_OK);
    }
    const std::vector<int32_t> longer = render(open.get());
    const std::vector<int32_t> shorter = render(closed.get());
    REQUIRE(shorter.size() < longer.size());
    REQUIRE(std::equal(shorter.begin(), shorter.end(), longer.begin()));
}
