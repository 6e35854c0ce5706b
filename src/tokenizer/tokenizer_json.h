#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "format/json.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"
#include "tokenizer/vocabulary.h"

namespace fathom {

// Limits on untrusted files, far above every published tokenizer.
inline constexpr int64_t kTokenIdMax = (1 << 21) - 1;
inline constexpr uint64_t kAddedTokensMax = 1 << 16;
inline constexpr uint64_t kTokenBytesMax = 1 << 16;
inline constexpr uint64_t kTokenizerFileBytesMax = uint64_t{128} << 20;

/// A checked tokenizer.json: byte-level BPE with everything that takes part in encoding.
struct TokenizerJson {
    std::unique_ptr<const Vocabulary> vocabulary;
    std::optional<TokenIndex> index;  // of *vocabulary
    std::vector<AddedToken> added;
    std::vector<BpeMerge> merges;
    std::vector<PretokenizerStep> steps;
    std::vector<NormalForm> normal_forms;
    bool ignore_merges = false;
};

/// Throws Error(kFormat) for a file that contradicts itself or a limit, Error(kUnsupported) for a
/// well-formed kind of tokenizer that this library does not have.
TokenizerJson read_tokenizer_json(const JsonValue& root);

/// What tokenizer_config.json adds.
struct TokenizerConfig {
    bool add_bos = false;
    std::string bos_token;
    std::string eos_token;
    std::string pad_token;
    std::string chat_template;
};

TokenizerConfig read_tokenizer_config(const JsonValue& root);

}  // namespace fathom
