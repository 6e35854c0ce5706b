#include "cli/tokens.h"

#include <cstdio>

namespace fathom::cli {

Tokenizer open_tokenizer(const std::string& folder) {
    const fathom_source source = source_of(folder);
    fathom_tokenizer* tokenizer = nullptr;
    Outcome outcome;
    outcome = fathom_tokenizer_open(&source, &tokenizer, outcome);
    return Tokenizer(tokenizer);
}

std::vector<int32_t> encode(const fathom_tokenizer* tokenizer, std::string_view text,
                            uint32_t flags) {
    // A token holds at least one byte of the text, so one call does.
    std::vector<int32_t> ids(text.size() + 1);
    uint64_t count = 0;
    Outcome outcome;
    outcome = fathom_tokenizer_encode(tokenizer, text.data(), text.size(), flags, ids.data(),
                                      ids.size(), &count, outcome);
    ids.resize(count);
    return ids;
}

std::string decode(const fathom_tokenizer* tokenizer, const std::vector<int32_t>& ids,
                   uint32_t flags) {
    uint64_t count = 0;
    Outcome outcome;
    outcome = fathom_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, nullptr, 0, &count,
                                      outcome);
    std::string text(count, '\0');
    outcome = fathom_tokenizer_decode(tokenizer, ids.data(), ids.size(), flags, text.data(),
                                      text.size(), &count, outcome);
    return text;
}

Prompt new_prompt(const fathom_tokenizer* tokenizer, int32_t thinking, const std::string& dialect,
                  bool open_answer) {
    fathom_prompt_options options = {};
    options.struct_size = sizeof options;
    options.thinking = thinking;
    options.no_generation = open_answer ? 0 : 1;
    options.dialect = dialect.empty() ? nullptr : dialect.data();
    options.dialect_bytes = dialect.size();
    fathom_prompt* prompt = nullptr;
    Outcome outcome;
    outcome = fathom_prompt_create(tokenizer, &options, &prompt, outcome);
    return Prompt(prompt);
}

void add_message(fathom_prompt* prompt, int32_t role, std::string_view text,
                 std::string_view reasoning) {
    fathom_message message = {};
    message.struct_size = sizeof message;
    message.role = role;
    message.text = text.data();
    message.text_bytes = text.size();
    message.reasoning = reasoning.data();
    message.reasoning_bytes = reasoning.size();
    Outcome outcome;
    outcome = fathom_prompt_add_message(prompt, &message, outcome);
}

std::vector<int32_t> render(const fathom_prompt* prompt) {
    uint64_t count = 0;
    Outcome outcome;
    outcome = fathom_prompt_render(prompt, nullptr, 0, &count, outcome);
    std::vector<int32_t> ids(count);
    outcome = fathom_prompt_render(prompt, ids.data(), ids.size(), &count, outcome);
    return ids;
}

std::string read_stdin() {
    std::string text;
    char piece[4096];
    size_t got;
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0) text.append(piece, got);
    if (ferror(stdin) != 0) throw Failure("stdin: reading failed");
    return text;
}

}  // namespace fathom::cli
