#include "dialect/control_tokens.h"
#include "dialect/deepseek_v3.h"
#include "dialect/releases.h"
#include "format/json_writer.h"

namespace fathom {
namespace {

using Calls = V3Style::Calls;

/// January 2025 with the change of February: the prompt opens the reasoning.
bool render_january(std::span<const Message> messages, const RenderOptions& options,
                    PromptSegments& out) {
    return render_v3(messages, options, V3Style{.drops_reasoning = true, .opens_reasoning = true},
                     out);
}

/// R1-0528 opens its reasoning itself, and closes every list of tool calls.
bool render_may(std::span<const Message> messages, const RenderOptions& options,
                PromptSegments& out) {
    return render_v3(messages, options,
                     V3Style{.calls = Calls::kInstead,
                             .joins_system = true,
                             .drops_reasoning = true,
                             .between_outputs = ""},
                     out);
}

/// As circulated for R1-Distill-Qwen-32B: reasoning only when asked for.
bool render_qwen(std::span<const Message> messages, const RenderOptions& options,
                 PromptSegments& out) {
    return render_v3(messages, options,
                     V3Style{.calls = Calls::kBeforeContent,
                             .drops_reasoning = true,
                             .quotes_arguments = true,
                             .opens_reasoning = true,
                             .may_close_reasoning = true},
                     out);
}

/// llama.cpp's own template for R1: every turn ends in EOS, the user's too.
class LlamaCppRenderer {
public:
    LlamaCppRenderer(std::span<const Message> messages, PromptSegments& out)
        : messages_(messages), out_(out) {}

    bool run(const RenderOptions& options) {
        out_.control(kBosToken);
        std::string_view system;
        for (size_t i = 0; i < messages_.size(); ++i) {
            if (messages_[i].role == Role::kSystem) system = content_of(messages_, i);
        }
        out_.text(system);
        for (size_t i = 0; i < messages_.size(); ++i) turn(i);
        end_outputs();
        if (!options.add_generation_prompt) return false;
        out_.control(kAssistantToken).marker(kThinkBegin).text("\n");
        return true;
    }

private:
    void end_outputs() {
        if (is_tool_outputs_) out_.control(kOutputsEnd).control(kEosToken);
        is_tool_outputs_ = false;
    }

    void turn(size_t index) {
        const Message& message = messages_[index];
        if (message.role != Role::kTool) end_outputs();
        if (message.role == Role::kUser) {
            out_.control(kUserToken).text(content_of(messages_, index)).control(kEosToken);
        } else if (message.role == Role::kAssistant && message.content.empty()) {
            calls(message);
        } else if (message.role == Role::kAssistant) {
            out_.control(kAssistantToken).text(without_reasoning(message.content));
            out_.control(kEosToken);
        } else if (message.role == Role::kTool) {
            is_tool_outputs_ = true;
            if (is_output_first_) out_.control(kOutputsBegin);
            is_output_first_ = false;
            out_.text("\n").control(kOutputBegin).text(content_of(messages_, index));
            out_.control(kOutputEnd);
        }
    }

    void calls(const Message& message) {
        out_.control(kAssistantToken).control(kCallsBegin);
        for (const ToolCall& call : message.tool_calls) {
            if (&call != &message.tool_calls.front()) out_.text("\n");
            JsonWriter arguments;
            arguments.string(call.arguments);
            out_.control(kCallBegin).text(call.type).control(kToolSeparator).text(call.name);
            out_.text("\n```json\n").text(arguments.text()).text("\n```").control(kCallEnd);
        }
        out_.control(kCallsEnd).control(kEosToken);
    }

    std::span<const Message> messages_;
    PromptSegments& out_;
    bool is_tool_outputs_ = false;
    bool is_output_first_ = true;
};

bool render_llama_cpp(std::span<const Message> messages, const RenderOptions& options,
                      PromptSegments& out) {
    return LlamaCppRenderer(messages, out).run(options);
}

}  // namespace

using Reasoning = Dialect::Reasoning;
constinit const Dialect kDeepSeekR1{"deepseek-r1", render_january, Reasoning::kByPrompt, true};
constinit const Dialect kDeepSeekR1May{"deepseek-r1-0528", render_may, Reasoning::kByAnswer, true};
constinit const Dialect kDeepSeekR1Qwen{"deepseek-r1-qwen", render_qwen, Reasoning::kByPrompt,
                                        true};
constinit const Dialect kDeepSeekR1LlamaCpp{"deepseek-r1-llama.cpp", render_llama_cpp,
                                            Reasoning::kByPrompt, true};

}  // namespace fathom
