#include "dialect/deepseek_v3.h"

#include "base/status.h"
#include "dialect/control_tokens.h"
#include "dialect/releases.h"
#include "format/json_writer.h"

namespace fathom {
namespace {

/// The state that the template carries from turn to turn, under its own names.
class V3Renderer {
public:
    V3Renderer(std::span<const Message> messages, const V3Style& style, PromptSegments& out)
        : messages_(messages), style_(style), out_(out) {}

    bool run(const RenderOptions& options) {
        out_.control(kBosToken);
        system();
        for (size_t i = 0; i < messages_.size(); ++i) {
            switch (messages_[i].role) {
                case Role::kSystem: break;
                case Role::kUser:
                    is_tool_ = false;
                    out_.control(kUserToken).text(content_of(messages_, i));
                    break;
                case Role::kAssistant: assistant(i); break;
                case Role::kTool: tool(i); break;
            }
        }
        if (is_tool_) out_.control(kOutputsEnd);
        return options.add_generation_prompt && !is_tool_ && open_answer(options);
    }

private:
    void system() {
        std::string prompt;
        bool is_first = true;
        for (size_t i = 0; i < messages_.size(); ++i) {
            if (messages_[i].role != Role::kSystem) continue;
            if (!style_.joins_system) prompt.clear();
            if (style_.joins_system && !is_first) prompt.append("\n\n");
            prompt.append(content_of(messages_, i));
            is_first = false;
        }
        out_.text(prompt);
    }

    void assistant(size_t index) {
        using Calls = V3Style::Calls;
        const Message& message = messages_[index];
        const bool has_calls = !message.tool_calls.empty();
        if (!message.has_content && !has_calls) {
            fail(Status::kTemplate, "messages[", index,
                 "]: found an assistant's turn without content and tool calls");
        }
        const bool prints_calls =
            style_.calls == Calls::kWithoutContent ? !message.has_content : has_calls;
        if (prints_calls) calls(message);
        const bool prints_content =
            style_.calls == Calls::kInstead ? !has_calls : message.has_content;
        if (!prints_content) return;
        if (is_tool_) {
            out_.control(kOutputsEnd).text(message.content);
        } else {
            out_.control(kAssistantToken)
                .text(style_.drops_reasoning ? without_reasoning(message.content)
                                             : std::string_view(message.content));
        }
        out_.control(kEosToken);
        is_tool_ = false;
    }

    void calls(const Message& message) {
        is_tool_ = false;
        const bool closes_each = style_.calls == V3Style::Calls::kWithoutContent;
        for (const ToolCall& call : message.tool_calls) {
            if (!is_first_) {
                out_.control(kAssistantToken);
                if (style_.calls == V3Style::Calls::kInstead) out_.text(message.content);
                out_.control(kCallsBegin);
            } else {
                out_.text("\n");
            }
            out_.control(kCallBegin).text(call.type).control(kToolSeparator).text(call.name);
            out_.text("\n```json\n").text(arguments(call)).text("\n```").control(kCallEnd);
            // The first templates close the list behind every call but the first.
            if (closes_each && is_first_) out_.control(kCallsEnd).control(kEosToken);
            is_first_ = true;
        }
        if (!closes_each) out_.control(kCallsEnd).control(kEosToken);
    }

    std::string arguments(const ToolCall& call) const {
        if (!style_.quotes_arguments) return call.arguments;
        JsonWriter writer;
        return writer.string(call.arguments).take();
    }

    void tool(size_t index) {
        is_tool_ = true;
        if (is_output_first_) {
            out_.control(kOutputsBegin);
        } else {
            out_.text(style_.between_outputs);
        }
        is_output_first_ = false;
        out_.control(kOutputBegin).text(content_of(messages_, index)).control(kOutputEnd);
    }

    bool open_answer(const RenderOptions& options) {
        out_.control(kAssistantToken);
        if (!style_.opens_reasoning) return false;
        out_.marker(kThinkBegin).text("\n");
        if (!style_.may_close_reasoning || options.thinking.value_or(false)) return true;
        out_.marker(kThinkEnd);
        return false;
    }

    std::span<const Message> messages_;
    const V3Style& style_;
    PromptSegments& out_;
    bool is_first_ = false;  // a tool call was printed; so named in the template
    bool is_tool_ = false;
    bool is_output_first_ = true;
};

bool render(std::span<const Message> messages, const RenderOptions& options, PromptSegments& out) {
    return render_v3(messages, options, V3Style{.joins_system = true}, out);
}

}  // namespace

bool render_v3(std::span<const Message> messages, const RenderOptions& options,
               const V3Style& style, PromptSegments& out) {
    return V3Renderer(messages, style, out).run(options);
}

constinit const Dialect kDeepSeekV3{"deepseek-v3", render};

}  // namespace fathom
