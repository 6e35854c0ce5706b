#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/owned_handles.h"

// The two-call functions of the interface as containers.
namespace fathom::cli {

Tokenizer open_tokenizer(const std::string& folder);
std::vector<int32_t> encode(const fathom_tokenizer* tokenizer, std::string_view text,
                            uint32_t flags);
std::string decode(const fathom_tokenizer* tokenizer, const std::vector<int32_t>& ids,
                   uint32_t flags);
Prompt new_prompt(const fathom_tokenizer* tokenizer, int32_t thinking, const std::string& dialect,
                  bool open_answer = true);
void add_message(fathom_prompt* prompt, int32_t role, std::string_view text,
                 std::string_view reasoning = {});
std::vector<int32_t> render(const fathom_prompt* prompt);

/// All of stdin, for texts given by a pipe.
std::string read_stdin();

}  // namespace fathom::cli
