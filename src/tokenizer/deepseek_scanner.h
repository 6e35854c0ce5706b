#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"

// The pre-tokenizers of the two DeepSeek families by hand: the same pieces as the chain of regular
// expressions in tokenizer.json, in one pass, in linear time, without a stack.
namespace fathom {

/// V3, R1, V3.1, V3.2, V4.
class DeepSeekV3Scanner final : public Scanner {
public:
    DeepSeekV3Scanner();
    /// Whether `steps` is this family's chain, letter for letter.
    static bool recognises(const std::vector<PretokenizerStep>& steps);
    void scan(std::string_view text, std::vector<Piece>& out) const override;

private:
    const unsigned char* match(const unsigned char* at, const unsigned char* end) const;
    const unsigned char* match_space(const unsigned char* at, const unsigned char* end) const;
    uint8_t kind_at(const unsigned char* at, const unsigned char* end) const;
    template <typename Wanted>
    const unsigned char* run(const unsigned char* at, const unsigned char* end,
                             Wanted wanted) const;

    CharTable kinds_;
};

/// DeepSeek-LLM, V2, V2-Lite, V2.5, Coder-V2.
class DeepSeekV2Scanner final : public Scanner {
public:
    DeepSeekV2Scanner();
    static bool recognises(const std::vector<PretokenizerStep>& steps);
    void scan(std::string_view text, std::vector<Piece>& out) const override;

private:
    CharTable flags_;
};

/// The scanner for `steps`, or nothing where the general chain has to do.
std::unique_ptr<const Scanner> deepseek_scanner(const std::vector<PretokenizerStep>& steps);

}  // namespace fathom
