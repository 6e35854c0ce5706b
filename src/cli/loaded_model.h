#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/command_line.h"
#include "cli/owned_handles.h"

namespace fathom::cli {

/// The options of every command that loads a model, followed by the command's own.
std::vector<Flag> with_model_flags(std::span<const Flag> own);
/// The options of every command that generates, followed by the command's own.
std::vector<Flag> with_generate_flags(std::span<const Flag> own);

/// Engine options as the command line gives them.
fathom_engine_options engine_options(const CommandLine& line);

/// Generate options as the command line gives them. `stop` and `texts` live beside it.
struct GenerateOptions {
    explicit GenerateOptions(const CommandLine& line);
    fathom_generate_options options = {};
    std::vector<std::string> stop;
    std::vector<fathom_text> texts;
};

int32_t thinking_of(const CommandLine& line);

/// A model with its engine and tokenizer, loaded with a progress bar.
struct LoadedModel {
    explicit LoadedModel(const CommandLine& line);

    std::string dialect;  // text behind the options' pointers
    Engine engine;
    Model model;
    Tokenizer tokenizer;
};

}  // namespace fathom::cli
