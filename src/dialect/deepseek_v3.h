#pragma once

#include <span>
#include <string_view>

#include "dialect/dialect.h"

namespace fathom {

/// Where the templates of V2.5, V3 and R1 differ. They share one shape and one set of tokens, and
/// each keeps some slips of the first: a second round of tool calls continues the list of the
/// first. The model was trained on what they print, so the slips are rendered too.
struct V3Style {
    enum class Calls : uint8_t {
        kWithoutContent,  // tool calls are printed in place of a content that is null
        kInstead,         // content and calls in one turn
        kBeforeContent,   // calls in one turn, then the content in another
    };

    Calls calls = Calls::kWithoutContent;
    bool joins_system = false;      // several system messages are joined; else the last one counts
    bool drops_reasoning = false;   // from earlier answers
    bool quotes_arguments = false;  // as a JSON string
    std::string_view between_outputs = "\n";
    bool opens_reasoning = false;      // the generation prompt ends in <think> and a newline
    bool may_close_reasoning = false;  // ... and closes it again unless thinking is asked for
};

bool render_v3(std::span<const Message> messages, const RenderOptions& options,
               const V3Style& style, PromptSegments& out);

}  // namespace fathom
