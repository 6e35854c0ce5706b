#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/vocabulary.h"

namespace fathom {

/// Byte-level BPE as tokenizer.json describes it: added tokens, normaliser, pieces, merges.
class ByteLevelEncoder final : public TextEncoder {
public:
    /// `vocabulary` is that of `parts` and outlives this object.
    ByteLevelEncoder(const Vocabulary& vocabulary, TokenizerJson parts);

    void encode(std::string_view text, bool parse_special,
                std::vector<int32_t>& out) const override;
    void decode(std::span<const int32_t> ids, bool skip_special, std::string& out) const override;
    int32_t find(std::string_view bytes) const override { return bpe_.find(bytes); }

private:
    void encode_stretch(std::string_view text, const AddedTokens* added,
                        PretokenizedText& scratch, std::vector<int32_t>& out) const;
    void encode_text(std::string_view text, PretokenizedText& scratch,
                     std::vector<int32_t>& out) const;
    std::string normalized(std::string_view text) const;

    const Vocabulary& vocabulary_;
    AddedTokens raw_added_;         // matched before the normaliser
    AddedTokens normalized_added_;  // matched behind it
    std::vector<NormalForm> normal_forms_;
    Pretokenizer pretokenizer_;
    Bpe bpe_;
};

}  // namespace fathom
