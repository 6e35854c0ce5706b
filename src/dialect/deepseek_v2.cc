#include "dialect/control_tokens.h"
#include "dialect/releases.h"

namespace fathom {
namespace {

// V2, V2-Lite-Chat, Coder-V2: roles are plain words, because these vocabularies have no tokens for
// them. The template knows no tools and passes over their turns.
bool render(std::span<const Message> messages, const RenderOptions& options, PromptSegments& out) {
    out.control(kBosToken);
    for (size_t i = 0; i < messages.size(); ++i) {
        switch (messages[i].role) {
            case Role::kSystem: out.text(content_of(messages, i)).text("\n\n"); break;
            case Role::kUser: out.text("User: ").text(content_of(messages, i)).text("\n\n"); break;
            case Role::kAssistant:
                out.text("Assistant: ").text(content_of(messages, i)).control(kEosToken);
                break;
            case Role::kTool: break;
        }
    }
    if (options.add_generation_prompt) out.text("Assistant:");
    return false;
}

}  // namespace

constinit const Dialect kDeepSeekV2{"deepseek-v2", render};

}  // namespace fathom
