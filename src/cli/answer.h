#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/owned_handles.h"

namespace fathom::cli {

/// One answer, whole.
struct Answer {
    std::string reasoning;
    std::string text;
    std::vector<int32_t> ids;
    std::vector<fathom_logprob> logprobs;
    int32_t finish_reason = 0;
    fathom_usage usage = {};
};

/// Receives pieces as they come: FATHOM_EVENT_REASONING or FATHOM_EVENT_TEXT, and the piece.
using PieceFunction = std::function<void(int32_t type, std::string_view piece)>;

/// Generates and pulls events until DONE. Inside an InterruptScope, Ctrl-C ends the answer, not the
/// program.
Answer generate(fathom_session* session, const fathom_prompt* prompt,
                const fathom_generate_options& options, const PieceFunction& piece);

/// Lets SIGINT cancel the running answer for as long as it lives; the command's process is ours.
class InterruptScope {
public:
    InterruptScope();
    ~InterruptScope();
    InterruptScope(const InterruptScope&) = delete;
    InterruptScope& operator=(const InterruptScope&) = delete;
};

const char* finish_name(int32_t finish_reason);

}  // namespace fathom::cli
