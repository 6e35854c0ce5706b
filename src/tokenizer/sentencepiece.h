#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/vocabulary.h"

namespace fathom {

/// A SentencePiece model, run by the library of that name. Text between control symbols is encoded
/// on its own, each stretch with the model's leading space.
class SentencePieceEncoder final : public TextEncoder {
public:
    explicit SentencePieceEncoder(SentencePieceModel model);
    ~SentencePieceEncoder() override;

    void encode(std::string_view text, bool parse_special,
                std::vector<int32_t>& out) const override;
    void decode(std::span<const int32_t> ids, bool skip_special, std::string& out) const override;
    int32_t find(std::string_view bytes) const override;

    /// Made of the model; handed over once.
    std::unique_ptr<const Vocabulary> take_vocabulary() { return std::move(vocabulary_); }
    int32_t bos_id() const;
    int32_t eos_id() const;
    int32_t pad_id() const;

private:
    class Library;

    void encode_text(std::string_view text, std::vector<int32_t>& out) const;
    void make_vocabulary(const SentencePieceModel& model);

    std::unique_ptr<const Library> library_;
    std::unique_ptr<const Vocabulary> vocabulary_;
    std::vector<uint8_t> control_;       // [id]
    std::vector<std::string> spelling_;  // [id] of control symbols, else empty
    AddedTokens added_;
};

}  // namespace fathom
