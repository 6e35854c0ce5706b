#include <catch2/catch_test_macros.hpp>

#include "dialect/control_tokens.h"
#include "dialect/dialect.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

std::string rendered(std::string_view dialect, std::string_view json, RenderOptions options = {}) {
    std::string text;
    find_dialect(dialect)->render(messages_from_openai_json(json), options, text);
    return text;
}

std::shared_ptr<const Tokenizer> with_tokens(const std::vector<std::string_view>& tokens) {
    TokenizerBuilder builder;
    std::string list;
    int id = 256;
    for (const std::string_view token : tokens) {
        list += (list.empty() ? "" : ", ") + added_token(id++, token);
    }
    builder.added_tokens = "[" + list + "]";
    return builder.open();
}

}  // namespace

// Breaks when a field of the messages array is lost or misread.
TEST_CASE("dialect messages: every field is read", "[dialect]") {
    const std::vector<Message> messages = messages_from_openai_json(R"([
        {"role": "developer", "content": "D"},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "a"},
                                                    {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": null, "reasoning_content": "R",
         "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"k": [1, "ü"]}}},
                        {"id": "2", "type": "other", "function": {"name": "g", "arguments": "x"}}]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "assistant", "content": "C", "prefix": true, "tool_calls": null, "extra": {}},
        {"role": "assistant", "tool_calls": [{"function": {"name": "h", "arguments": ""}}]}])");
    REQUIRE(messages.size() == 6);
    CHECK(messages[0].role == Role::kSystem);
    CHECK(messages[1].role == Role::kUser);
    CHECK(messages[1].name == "ann");
    CHECK(messages[1].content == "ab");
    CHECK(messages[2].role == Role::kAssistant);
    CHECK_FALSE(messages[2].has_content);
    CHECK(messages[2].reasoning == "R");
    REQUIRE(messages[2].tool_calls.size() == 2);
    CHECK(messages[2].tool_calls[0].id == "1");
    CHECK(messages[2].tool_calls[0].type == "function");
    CHECK(messages[2].tool_calls[0].arguments == "{\"k\": [1, \"\u00FC\"]}");
    CHECK(messages[2].tool_calls[1].type == "other");
    CHECK(messages[2].tool_calls[1].arguments == "x");
    CHECK(messages[3].role == Role::kTool);
    CHECK(messages[3].has_content);
    CHECK(messages[3].tool_call_id == "1");
    CHECK(messages[4].prefix);
    CHECK_FALSE(messages[5].has_content);
    CHECK(messages_from_openai_json("[]").empty());
}

// Breaks when an error does not name the element and field.
TEST_CASE("dialect messages: errors name element and field", "[dialect]") {
    const std::pair<const char*, const char*> cases[] = {
        {"{}", "array of messages"},
        {R"([{"content": "x"}])", "role"},
        {R"([{"role": "wizard", "content": "x"}])", "[0].role"},
        {R"([{"role": "user"}])", "[0]"},
        {R"([{"role": "user", "content": 5}])", "[0].content"},
        {R"([{"role": "user", "content": [{"type": "image_url"}]}])", "[0].content[0].type"},
        {R"([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{}]}])",
         "function"},
        {R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}])", "arguments"},
        {"[1]", "[0]"},
        {"[", "messages"},
    };
    for (const auto& [json, where] : cases) {
        INFO(json);
        const Error error = error_of([&] { messages_from_openai_json(json); });
        CHECK(error.status() == Status::kFormat);
        CHECK(error.message().find(where) != std::string::npos);
    }
}

// Breaks when the array limits are not where they are said to be.
TEST_CASE("dialect messages: limits", "[dialect]") {
    const auto repeated = [](size_t count, std::string_view element) {
        std::string out = "[";
        for (size_t i = 0; i < count; ++i) {
            if (i > 0) out += ',';
            out += element;
        }
        return out + "]";
    };
    const std::string_view message = R"({"role":"user","content":""})";
    CHECK(messages_from_openai_json(repeated(1 << 16, message)).size() == 1 << 16);
    CHECK_THROWS_AS(messages_from_openai_json(repeated((1 << 16) + 1, message)), Error);
    const auto with_parts = [&](size_t count) {
        return R"([{"role":"user","content":)" + repeated(count, R"({"type":"text","text":"a"})") +
               "}]";
    };
    CHECK(messages_from_openai_json(with_parts(1 << 12))[0].content.size() == 1 << 12);
    CHECK_THROWS_AS(messages_from_openai_json(with_parts((1 << 12) + 1)), Error);
    const auto with_calls = [&](size_t count) {
        return R"([{"role":"assistant","tool_calls":)" +
               repeated(count, R"({"function":{"name":"f","arguments":""}})") + "}]";
    };
    CHECK(messages_from_openai_json(with_calls(1 << 10))[0].tool_calls.size() == 1 << 10);
    CHECK_THROWS_AS(messages_from_openai_json(with_calls((1 << 10) + 1)), Error);
}

// Breaks when the prompt does not say whether the answer begins inside reasoning, on which the
// output parser relies.
TEST_CASE("dialect: how the answer begins", "[dialect]") {
    const std::vector<Message> question =
        messages_from_openai_json(R"([{"role": "user", "content": "q"}])");
    const auto begins = [&](std::string_view dialect, std::optional<bool> thinking,
                            bool generation = true) {
        std::string text;
        return find_dialect(dialect)->render(
            question, {.add_generation_prompt = generation, .thinking = thinking}, text);
    };
    for (const char* name : {"deepseek-v2", "deepseek-v2.5", "deepseek-v3", "deepseek-r1-0528"}) {
        CHECK_FALSE(begins(name, true));
    }
    CHECK(begins("deepseek-r1", std::nullopt));
    CHECK_FALSE(begins("deepseek-r1", std::nullopt, false));
    CHECK(begins("deepseek-r1-llama.cpp", std::nullopt));
    CHECK(begins("deepseek-r1-qwen", true));
    CHECK_FALSE(begins("deepseek-r1-qwen", std::nullopt));
    for (const char* name : {"deepseek-v3.1", "deepseek-v3.1-card"}) {
        CHECK(begins(name, true));
        CHECK_FALSE(begins(name, false));
        CHECK_FALSE(begins(name, std::nullopt));
        CHECK_FALSE(begins(name, true, false));
    }
}

// Breaks when V2.5 drifts from V3, from which it differs in its system messages alone.
TEST_CASE("dialect: V2.5", "[dialect]") {
    const std::string_view json = R"([{"role": "system", "content": "A"},
        {"role": "system", "content": "B"}, {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}])";
    const std::string turns = std::string(kUserToken) + "u" + std::string(kAssistantToken) + "a" +
                              std::string(kEosToken) + std::string(kUserToken) + "v" +
                              std::string(kAssistantToken);
    CHECK(rendered("deepseek-v2.5", json) == std::string(kBosToken) + "B" + turns);
    CHECK(rendered("deepseek-v3", json) == std::string(kBosToken) + "A\n\nB" + turns);
}

// Breaks when an answer that V3.1 is to continue loses its open reasoning.
TEST_CASE("dialect: V3.1 continues a prefix", "[dialect]") {
    const std::string_view json = R"([{"role": "user", "content": "q"},
        {"role": "assistant", "content": "so", "prefix": true}])";
    const std::string head =
        std::string(kBosToken) + std::string(kUserToken) + "q" + std::string(kAssistantToken);
    const std::string tail = "so" + std::string(kEosToken);
    CHECK(rendered("deepseek-v3.1-card", json, {.thinking = true}) == head + "<think>" + tail);
    CHECK(rendered("deepseek-v3.1-card", json, {.thinking = false}) == head + "</think>" + tail);
}

// Breaks when a conversation that a template cannot express is rendered all the same.
TEST_CASE("dialect: what cannot be rendered", "[dialect]") {
    const auto fails = [](std::string_view dialect, std::string_view json, std::string_view where) {
        INFO(dialect << " " << json);
        const Error error = error_of([&] { rendered(dialect, json); });
        CHECK(error.status() == Status::kTemplate);
        CHECK(error.message().find(where) != std::string::npos);
    };
    for (const char* name : {"deepseek-v2", "deepseek-v2.5", "deepseek-v3", "deepseek-r1",
                             "deepseek-r1-0528", "deepseek-v3.1", "deepseek-r1-llama.cpp"}) {
        fails(name, R"([{"role": "user", "content": null}])", "messages[0].content");
        fails(name, R"([{"role": "system", "content": null}])", "messages[0].content");
    }
    fails("deepseek-v3", R"([{"role": "user", "content": "x"},
                             {"role": "assistant", "content": null}])",
          "messages[1]");
    fails("raw", R"([{"role": "user", "content": "x"}])", "deepseek-v3.1");
    // A vocabulary without role tokens cannot speak a dialect that needs them.
    const auto tokenizer = with_tokens({kBosToken, kEosToken});
    std::vector<int32_t> ids;
    const Error error = error_of([&] {
        find_dialect("deepseek-v3")
            ->render(*tokenizer, messages_from_openai_json(R"([{"role": "user", "content": "x"}])"),
                     {}, ids);
    });
    CHECK(error.status() == Status::kTemplate);
    CHECK(error.message().find(kUserToken) != std::string::npos);
}

// Breaks when names, detection by tokens or the ends of turns go wrong.
TEST_CASE("dialect: names, tokens and ends of turns", "[dialect]") {
    for (const char* name : {"deepseek-v2", "deepseek-v2.5", "deepseek-v3", "deepseek-r1",
                             "deepseek-r1-0528", "deepseek-v3.1", "raw"}) {
        REQUIRE(find_dialect(name) != nullptr);
        CHECK(dialect_named(name).name() == name);
    }
    CHECK(find_dialect("deepseek-v9") == nullptr);
    const Error error = error_of([] { dialect_named("deepseek-v9"); });
    CHECK(error.status() == Status::kUnsupported);
    CHECK(error.message().find("deepseek-r1-0528") != std::string::npos);

    CHECK(detect_dialect(*with_tokens({kBosToken, kEosToken})).name() == "raw");
    CHECK(detect_dialect(*with_tokens({kBosToken, kUserToken, kAssistantToken})).name() ==
          "deepseek-v2.5");
    CHECK(detect_dialect(*with_tokens({kPadToken, kUserToken, kAssistantToken})).name() ==
          "deepseek-v3");
    CHECK(detect_dialect(
              *with_tokens({kPadToken, kUserToken, kAssistantToken, kThinkBegin, kThinkEnd}))
              .name() == "deepseek-r1");
    const auto v31 =
        with_tokens({kEosToken, kUserToken, kAssistantToken, kThinkBegin, kThinkEnd, kSearchBegin});
    CHECK(detect_dialect(*v31).name() == "deepseek-v3.1-card");
    CHECK(find_dialect("deepseek-v3.1")->end_ids(*v31) == std::vector<int32_t>{256, 257});
    CHECK(find_dialect("raw")->end_ids(*v31) == std::vector<int32_t>{256});
    CHECK(find_dialect("raw")->is_raw());
    CHECK_FALSE(find_dialect("deepseek-v3")->is_raw());
}

// Breaks when a template that no dialect speaks is taken for one.
TEST_CASE("dialect: templates that are not known", "[dialect]") {
    const TokenizerBuilder builder;
    const auto named = [&](const std::string& source) {
        return detect_dialect(*TokenizerBuilder::open_json(
                                  builder.json(), "{\"chat_template\": \"" + source + "\"}"))
            .name();
    };
    CHECK(named("{{ messages }}") == "unknown");
    CHECK(named("<|im_start|>") == "unknown");
    CHECK(named("<\uFF5CUser\uFF5C> <\uFF5CAssistant\uFF5C> \uFF5CDSML\uFF5C") == "unknown");
    CHECK(named("'<\uFF5CUser\uFF5C>' '<\uFF5CAssistant\uFF5C></think>'") == "deepseek-v3.1-card");
    CHECK(named("'<\uFF5CUser\uFF5C>' '<\uFF5CAssistant\uFF5C>'") == "deepseek-v2.5");
    CHECK(named("'User: ' + 'Assistant: '") == "deepseek-v2");
}

// Breaks when naming V3.1 overrules the form that the folder's own template has.
TEST_CASE("dialect: V3.1 by name takes the folder's form", "[dialect]") {
    const TokenizerBuilder builder;
    const auto named = [&](const std::string& config) {
        const auto tokenizer = TokenizerBuilder::open_json(builder.json(), config);
        return std::string(dialect_named("deepseek-v3.1", *tokenizer).name());
    };
    const std::string begin = "{\"chat_template\": \"'<\uFF5CUser\uFF5C>' '<\uFF5CAssistant\uFF5C>";
    CHECK(named(begin + "</think>'\"}") == "deepseek-v3.1-card");
    CHECK(named(begin + "<think></think>'\"}") == "deepseek-v3.1");
    CHECK(named(begin + "'\"}") == "deepseek-v3.1");
    CHECK(named("{}") == "deepseek-v3.1");
}

// Breaks when <think> is demanded of a vocabulary that spells it in letters.
TEST_CASE("dialect: a marker without a token is text", "[dialect]") {
    const auto tokenizer = with_tokens({kBosToken, kUserToken, kAssistantToken});
    std::vector<int32_t> ids;
    CHECK(find_dialect("deepseek-r1")
              ->render(*tokenizer, messages_from_openai_json(R"([{"role":"user","content":"x"}])"),
                       {}, ids));
    std::vector<int32_t> wanted = {256, 257, 'x', 258};
    for (const char c : std::string_view("<think>\n")) wanted.push_back(c);
    CHECK(ids == wanted);
}
