// Splits PTX text into words, numbers, strings and punctuation.
#pragma once

#include <string_view>
#include <vector>

namespace virtual_gpu {

enum class TokenKind { kWord, kNumber, kString, kPunctuation, kEnd };

struct Token {
    TokenKind kind = TokenKind::kEnd;
    std::string_view text;  // Points into the module text; strings come without their quotes.
    int line = 0;           // Counted from 1.

    bool is(char c) const {
        return kind == TokenKind::kPunctuation && text.size() == 1 && text[0] == c;
    }
    bool is(std::string_view word) const { return kind == TokenKind::kWord && text == word; }
};

// The tokens of the whole text, the last one of kind kEnd. A word holds its suffixes:
// 'ld.param.u64',
// '.shared::cta', '%tid.x' and '$L__BB0_1' are one token each. The views live as long as the text.
std::vector<Token> lex_ptx(std::string_view text);

}  // namespace virtual_gpu
