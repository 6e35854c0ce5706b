#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "fathom/fathom.h"

namespace fathom::cli {
namespace {

constexpr const Command* kCommands[] = {&kChat,     &kRun,        &kScore,  &kInspect,
                                        &kTokenize, &kDetokenize, &kRender, &kBench};

std::string overview() {
    std::string text = "fathom COMMAND [options]: run DeepSeek-class models on this machine\n\n";
    for (const Command* command : kCommands) {
        std::string left = std::string("  ") + command->name;
        left.resize(14, ' ');
        text += left + command->summary + "\n";
    }
    text += "\n  fathom COMMAND --help   options and examples\n"
            "  fathom --version        what this build is\n\n"
            "Exit code 0: done; 1: failed, the reason is on stderr; 2: wrong use.\n";
    return text;
}

int dispatch(std::span<const char* const> words) {
    if (words.empty()) throw UsageError("no command given");
    const std::string_view name = words.front();
    if (name == "--help" || name == "-h" || name == "help") {
        print(overview());
        return 0;
    }
    if (name == "--version") {
        print(std::string(fathom_build_info_json()) + "\n");
        return 0;
    }
    const auto found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                    [&](const Command* known) { return name == known->name; });
    if (found == std::end(kCommands)) {
        throw UsageError("unknown command '" + std::string(name) + "'");
    }
    const Command& command = **found;
    const std::span<const char* const> rest = words.subspan(1);
    for (const std::string_view word : rest) {
        if (word == "--") break;
        if (word == "--help" || word == "-h") {
            print(help_text(command));
            return 0;
        }
    }
    try {
        const CommandLine line(rest, command.flags);
        if (line.words().size() > command.max_words) {
            throw UsageError("unexpected '" + line.words()[command.max_words] +
                             "'; a text of several words takes quotes");
        }
        return command.run(line);
    } catch (const UsageError& error) {
        throw UsageError(std::string(error.what()) + "; see fathom " + command.name + " --help");
    }
}

}  // namespace
}  // namespace fathom::cli

int main(int argc, char** argv) {
    using namespace fathom::cli;
    // A reader that went away shows as a failed write, which says more than a dead process.
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return dispatch(std::span<const char* const>(argv + 1, static_cast<size_t>(argc - 1)));
    } catch (const UsageError& error) {
        print_error(std::string("fathom: ") + error.what());
        return 2;
    } catch (const std::exception& error) {
        print_error(std::string("fathom: ") + error.what());
        return 1;
    }
}
