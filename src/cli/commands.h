#pragma once

#include <span>

#include "cli/command_line.h"

namespace fathom::cli {

extern const Command kChat;
extern const Command kRun;
extern const Command kScore;
extern const Command kInspect;
extern const Command kTokenize;
extern const Command kDetokenize;
extern const Command kRender;
extern const Command kBench;

}  // namespace fathom::cli
