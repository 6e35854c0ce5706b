#include "dialect/deepseek_v3.h"
#include "dialect/releases.h"

namespace fathom {
namespace {

bool render(std::span<const Message> messages, const RenderOptions& options, PromptSegments& out) {
    return render_v3(messages, options, V3Style{}, out);
}

}  // namespace

constinit const Dialect kDeepSeekV25{"deepseek-v2.5", render};

}  // namespace fathom
