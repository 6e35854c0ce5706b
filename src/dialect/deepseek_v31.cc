#include "base/status.h"
#include "dialect/control_tokens.h"
#include "dialect/releases.h"
#include "format/json_writer.h"

namespace fathom {
namespace {

/// V3.1, V3.1-Terminus, V3.2-Exp. Every answer is preceded by </think>, or by <think> where it is
/// to begin with reasoning: the form of the model card. `pair` is the template that circulates with
/// these models, which writes an empty <think></think> and quotes the arguments of tool calls once
/// more.
class V31Renderer {
public:
    V31Renderer(std::span<const Message> messages, bool pair, PromptSegments& out)
        : messages_(messages), pair_(pair), out_(out) {}

    bool run(const RenderOptions& options) {
        thinking_ = options.thinking.value_or(false);
        out_.control(kBosToken);
        bool is_first = true;
        for (size_t i = 0; i < messages_.size(); ++i) {
            if (messages_[i].role != Role::kSystem) continue;
            if (!is_first) out_.text("\n\n");
            is_first = false;
            out_.text(content_of(messages_, i));
        }
        for (size_t i = 0; i < messages_.size(); ++i) turn(i);
        if (!options.add_generation_prompt || !is_last_user_ || is_tool_) return false;
        out_.control(kAssistantToken);
        if (!thinking_) return no_reasoning();
        out_.marker(kThinkBegin);
        return true;
    }

private:
    bool no_reasoning() {
        if (pair_) out_.marker(kThinkBegin);
        out_.marker(kThinkEnd);
        return false;
    }

    void turn(size_t index) {
        const Message& message = messages_[index];
        switch (message.role) {
            case Role::kSystem: break;
            case Role::kUser:
                is_tool_ = false;
                is_last_user_ = true;
                out_.control(kUserToken).text(content_of(messages_, index));
                break;
            case Role::kAssistant:
                if (message.tool_calls.empty()) {
                    answer(message, content_of(messages_, index));
                } else {
                    calls(message);
                }
                is_last_user_ = false;
                break;
            case Role::kTool:
                is_last_user_ = false;
                is_tool_ = true;
                out_.control(kOutputBegin).text(content_of(messages_, index)).control(kOutputEnd);
                break;
        }
    }

    void answer(const Message& message, std::string_view content) {
        if (is_last_user_) {
            out_.control(kAssistantToken);
            if (message.prefix && thinking_) {
                out_.marker(kThinkBegin);
            } else {
                no_reasoning();
            }
        }
        out_.text(is_tool_ ? content : without_reasoning(content, true)).control(kEosToken);
        is_tool_ = false;
    }

    void calls(const Message& message) {
        if (is_last_user_) {
            out_.control(kAssistantToken);
            no_reasoning();
        }
        is_tool_ = false;
        out_.text(message.content).control(kCallsBegin);
        for (const ToolCall& call : message.tool_calls) {
            out_.control(kCallBegin).text(call.name).control(kToolSeparator);
            JsonWriter quoted;
            out_.text(pair_ ? quoted.string(call.arguments).text() : call.arguments);
            out_.control(kCallEnd);
        }
        out_.control(kCallsEnd).control(kEosToken);
    }

    std::span<const Message> messages_;
    bool pair_;
    PromptSegments& out_;
    bool thinking_ = false;
    bool is_tool_ = false;
    bool is_last_user_ = false;
};

bool render_card(std::span<const Message> messages, const RenderOptions& options,
                 PromptSegments& out) {
    return V31Renderer(messages, false, out).run(options);
}

bool render_pair(std::span<const Message> messages, const RenderOptions& options,
                 PromptSegments& out) {
    return V31Renderer(messages, true, out).run(options);
}

}  // namespace

constinit const Dialect kDeepSeekV31Card{"deepseek-v3.1-card", render_card,
                                         Dialect::Reasoning::kByPrompt};
constinit const Dialect kDeepSeekV31{"deepseek-v3.1", render_pair, Dialect::Reasoning::kByPrompt};

}  // namespace fathom
