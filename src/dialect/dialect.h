#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

// How each release talks: what a conversation looks like to the model, where an answer ends and
// what in it is reasoning. Chat templates are recognised, never interpreted; docs/dialects.md lists
// what they do and where ours differ.
namespace fathom {

enum class Role : uint8_t { kSystem, kUser, kAssistant, kTool };

struct ToolCall {
    std::string id;
    std::string type = "function";
    std::string name;
    std::string arguments;  // JSON text
};

/// One turn. All of it is untrusted: none of its bytes can become a control token.
struct Message {
    Role role = Role::kUser;
    std::string content;
    bool has_content = true;  // false for JSON's null: an assistant's turn of tool calls alone
    bool prefix = false;      // an assistant's turn that the answer is to continue
    std::string reasoning;    // assistant: before the content; no dialect so far keeps it
    std::vector<ToolCall> tool_calls;
    std::string tool_call_id;
    std::string name;
};

struct RenderOptions {
    bool add_generation_prompt = true;  // open the assistant's turn at the end
    std::optional<bool> thinking;       // empty: the dialect's default
};

/// A stretch of a rendered prompt: text, or one control token by its spelling.
struct PromptSegment {
    enum class Kind : uint8_t {
        kText,
        kControl,  // the tokenizer must have it
        kMarker,   // a control token where the tokenizer has it, else plain text: <think>
    };
    Kind kind;
    std::string text;
};

/// A conversation in the making. Neighbouring texts join, since a tokenizer that saw them apart
/// would give other ids than the model was trained on.
class PromptSegments {
public:
    PromptSegments& control(std::string_view spelling);
    PromptSegments& marker(std::string_view spelling);
    PromptSegments& text(std::string_view text);
    const std::vector<PromptSegment>& list() const { return list_; }

private:
    std::vector<PromptSegment> list_;
};

/// A release's manner of speaking. Constant objects; any thread.
class Dialect {
public:
    /// Appends the conversation; true if the answer begins inside reasoning. Throws
    /// Error(kTemplate) that names the message for what the template cannot express.
    using Render = bool (*)(std::span<const Message> messages, const RenderOptions& options,
                            PromptSegments& out);
    enum class Reasoning : uint8_t {
        kNone,
        kByPrompt,  // the prompt opens it with <think>, or not
        kByAnswer,  // the answer may begin with <think>
    };

    constexpr Dialect(std::string_view name, Render function,
                      Reasoning reasoning = Reasoning::kNone, bool newlines = false)
        : name_(name), render_(function), reasoning_(reasoning), newlines_(newlines) {}

    std::string_view name() const { return name_; }
    /// No messages, only text and tokens: a base model, or a template that is not known.
    bool is_raw() const { return render_ == nullptr; }
    Reasoning reasoning() const { return reasoning_; }
    /// The model writes <think>, newline, reasoning, newline, </think>, two newlines, answer.
    bool newlines_around_reasoning() const { return newlines_; }

    /// The prompt as text, control tokens spelled out.
    bool render(std::span<const Message> messages, const RenderOptions& options,
                std::string& out) const;

    /// The prompt as ids. True if the answer begins inside reasoning. Throws Error(kTemplate) as
    /// above and for a control token that the tokenizer lacks.
    bool render(const Tokenizer& tokenizer, std::span<const Message> messages,
                const RenderOptions& options, std::vector<int32_t>& out) const;

    /// Ids that end the assistant's turn.
    std::vector<int32_t> end_ids(const Tokenizer& tokenizer) const;

private:
    bool render_segments(std::span<const Message> messages, const RenderOptions& options,
                         PromptSegments& out) const;

    std::string_view name_;
    Render render_;
    Reasoning reasoning_;
    bool newlines_;
};

/// The dialect of this name, or null.
const Dialect* find_dialect(std::string_view name);

/// The same; throws Error(kUnsupported) that lists the names.
const Dialect& dialect_named(std::string_view name);

/// The same for a folder: "deepseek-v3.1" is the form that the folder's template has, where it has
/// one of V3.1's two (docs/dialects.md).
const Dialect& dialect_named(std::string_view name, const Tokenizer& tokenizer);

/// Recognises the dialect by the folder's chat template, or where there is none by its control
/// tokens. Never fails: a template that is not known gives the raw dialect "unknown", a base model
/// the raw dialect "raw", and these say what is supported when a conversation is put to them.
const Dialect& detect_dialect(const Tokenizer& tokenizer);

/// The `messages` array of OpenAI's interface, with `reasoning_content`, `tool_calls`,
/// `tool_call_id` and `prefix`. Throws Error(kFormat) that names the element and field.
std::vector<Message> messages_from_openai_json(std::string_view json);

}  // namespace fathom
