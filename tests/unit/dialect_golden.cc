#include <catch2/catch_test_macros.hpp>

#include <map>

#include "dialect/control_tokens.h"
#include "dialect/dialect.h"
#include "format/json.h"
#include "format/json_writer.h"
#include "tokenizer_support.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// Which dialect speaks as which published template. The templates of V3.2, V4 and DeepSeek-Coder
/// v1 belong to no dialect of this library.
const std::map<std::string, std::string> kDialectOf = {
    {"deepseek-v2/tokenizer_config.json", "deepseek-v2"},
    {"llama_cpp_cases.json#DeepSeek-V2", "deepseek-v2"},
    {"deepseek-v3/tokenizer_config.json", "deepseek-v3"},
    {"deepseek-r1/tokenizer_config.json", "deepseek-r1-0528"},
    {"chat-templates/deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", "deepseek-r1"},
    {"chat-templates/deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "deepseek-r1-qwen"},
    {"chat-templates/llama-cpp-deepseek-r1.jinja", "deepseek-r1-llama.cpp"},
    {"chat-templates/deepseek-ai-DeepSeek-V3.1.jinja", "deepseek-v3.1"},
};

struct Rendering {
    std::string template_name;
    std::vector<Message> messages;
    RenderOptions options;
    std::string wanted;
};

/// The renderings that did not end in an error of the template engine.
std::vector<Rendering> renderings() {
    std::vector<Rendering> out;
    for (const std::string& line : read_lines(reference_path("chat-templates/renderings.jsonl"))) {
        const JsonDocument document = JsonDocument::parse(line, JsonLimits{}, "renderings.jsonl");
        const JsonValue root = document.root();
        const auto rendered = root.find("rendered");
        if (!rendered || rendered->is_null()) continue;
        Rendering rendering;
        rendering.template_name = root.at("template").as_string();
        JsonWriter messages;
        root.at("messages").write(messages);
        rendering.messages = messages_from_openai_json(messages.text());
        rendering.options.add_generation_prompt = root.at("add_generation_prompt").as_bool();
        const auto thinking = root.at("kwargs").find("thinking");
        if (thinking) rendering.options.thinking = thinking->as_bool();
        rendering.wanted = rendered->as_string();
        out.push_back(std::move(rendering));
    }
    return out;
}

}  // namespace

// Breaks when a prompt differs by one byte from what the published template prints.
TEST_CASE("dialect golden: published templates", "[dialect]") {
    FATHOM_NEEDS_REFERENCE("chat-templates/renderings.jsonl");
    std::map<std::string, size_t> n_checked;
    for (const Rendering& rendering : renderings()) {
        const auto known = kDialectOf.find(rendering.template_name);
        if (known == kDialectOf.end()) continue;
        std::string text;
        find_dialect(known->second)->render(rendering.messages, rendering.options, text);
        INFO(rendering.template_name << " " << rendering.wanted);
        REQUIRE(text == rendering.wanted);
        ++n_checked[known->first];
    }
    CHECK(n_checked["deepseek-v2/tokenizer_config.json"] == 14);
    CHECK(n_checked["llama_cpp_cases.json#DeepSeek-V2"] == 14);
    CHECK(n_checked["chat-templates/deepseek-ai-DeepSeek-V3.1.jinja"] == 54);
    for (const auto& [name, dialect] : kDialectOf) {
        if (name.find("v2") == name.npos && name.find("V2") == name.npos &&
            name.find("V3.1") == name.npos) {
            CHECK(n_checked[name] == 18);
        }
    }
}

// Breaks when the model card's form of V3.1 drifts: it is the stored rendering with two known
// differences, no empty <think> before </think> and arguments that are not quoted once more.
TEST_CASE("dialect golden: V3.1 as on the model card", "[dialect]") {
    FATHOM_NEEDS_REFERENCE("chat-templates/renderings.jsonl");
    size_t n_checked = 0;
    for (const Rendering& rendering : renderings()) {
        if (kDialectOf.contains(rendering.template_name) &&
            kDialectOf.at(rendering.template_name) != "deepseek-v3.1") {
            continue;
        }
        if (!kDialectOf.contains(rendering.template_name)) continue;
        bool has_calls = false;
        for (const Message& message : rendering.messages) has_calls |= !message.tool_calls.empty();
        if (has_calls) continue;
        std::string wanted = rendering.wanted;
        const std::string pair = "<think></think>";
        for (size_t at; (at = wanted.find(pair)) != wanted.npos;) wanted.erase(at, 7);
        std::string text;
        find_dialect("deepseek-v3.1-card")->render(rendering.messages, rendering.options, text);
        REQUIRE(text == wanted);
        ++n_checked;
    }
    CHECK(n_checked == 36);

    const std::vector<Message> messages = messages_from_openai_json(
        R"([{"role": "user", "content": "Q"},
            {"role": "assistant", "content": null, "tool_calls": [
               {"type": "function", "function": {"name": "a", "arguments": "{\"x\": 1}"}},
               {"type": "function", "function": {"name": "b", "arguments": "{}"}}]},
            {"role": "tool", "content": "r"},
            {"role": "assistant", "content": "A"}])");
    std::string text;
    find_dialect("deepseek-v3.1-card")->render(messages, {.add_generation_prompt = false}, text);
    const auto join = [](std::initializer_list<std::string_view> parts) {
        std::string out;
        for (const std::string_view part : parts) out += part;
        return out;
    };
    CHECK(text == join({kBosToken,   kUserToken, "Q",       kAssistantToken, "</think>",
                        kCallsBegin, kCallBegin, "a",       kToolSeparator,  "{\"x\": 1}",
                        kCallEnd,    kCallBegin, "b",       kToolSeparator,  "{}",
                        kCallEnd,    kCallsEnd,  kEosToken, kOutputBegin,    "r",
                        kOutputEnd,  "A",        kEosToken}));
}

// Breaks when a folder's own template is taken for another release's.
TEST_CASE("dialect golden: detection by template and by tokens", "[dialect]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3.1");
    CHECK(detect_dialect(*reference_tokenizer("deepseek-v2")).name() == "deepseek-v2");
    CHECK(detect_dialect(*reference_tokenizer("deepseek-v3")).name() == "deepseek-v3");
    CHECK(detect_dialect(*reference_tokenizer("deepseek-r1")).name() == "deepseek-r1-0528");
    // No tokenizer_config.json lies beside these two: the tokens decide.
    CHECK(detect_dialect(*reference_tokenizer("deepseek-v2.5")).name() == "deepseek-v2.5");
    CHECK(detect_dialect(*reference_tokenizer("deepseek-v3.1")).name() == "deepseek-v3.1-card");

    const std::map<std::string, std::string> by_template = {
        {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B.jinja", "deepseek-r1"},
        {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B.jinja", "deepseek-r1-qwen"},
        {"llama-cpp-deepseek-r1.jinja", "deepseek-r1-llama.cpp"},
        {"deepseek-ai-DeepSeek-V3.1.jinja", "deepseek-v3.1"},
        {"deepseek-ai-DeepSeek-V3.2.jinja", "unknown"},
        {"deepseek-ai-DeepSeek-V4.jinja", "unknown"},
    };
    for (const auto& [file, name] : by_template) {
        const TokenizerFolder folder;
        std::filesystem::copy_file(reference_path("deepseek-v2.5/tokenizer.json"),
                                   folder.path() + "/tokenizer.json");
        folder.write("chat_template.jinja", read_file(reference_path("chat-templates/" + file)));
        INFO(file);
        CHECK(detect_dialect(*open_folder(folder.path())).name() == name);
    }
}

// Breaks when the ids of a rendered prompt are not those that the model was trained on: for
// conversations whose content spells no control token, they equal the tokenised text.
TEST_CASE("dialect golden: ids of a prompt", "[dialect]") {
    FATHOM_NEEDS_REFERENCE("chat-templates/renderings.jsonl");
    const std::map<std::string, std::string> tokenizer_of = {
        {"deepseek-v2/tokenizer_config.json", "deepseek-v2"},
        {"deepseek-v3/tokenizer_config.json", "deepseek-v3"},
        {"deepseek-r1/tokenizer_config.json", "deepseek-r1"},
        {"chat-templates/deepseek-ai-DeepSeek-V3.1.jinja", "deepseek-v3.1"},
    };
    size_t n_checked = 0;
    for (const Rendering& rendering : renderings()) {
        const auto name = tokenizer_of.find(rendering.template_name);
        if (name == tokenizer_of.end()) continue;
        bool spells = false;
        for (const Message& message : rendering.messages) {
            spells |= message.content.find("think>") != std::string::npos;
        }
        if (spells) continue;
        const auto tokenizer = reference_tokenizer(name->second);
        std::vector<int32_t> ids;
        find_dialect(kDialectOf.at(rendering.template_name))
            ->render(*tokenizer, rendering.messages, rendering.options, ids);
        INFO(rendering.wanted);
        REQUIRE(ids == encode(*tokenizer, rendering.wanted, true));
        ++n_checked;
    }
    CHECK(n_checked > 80);
}
