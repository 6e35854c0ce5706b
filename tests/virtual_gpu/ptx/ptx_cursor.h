// Walks the tokens of a PTX module.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/ptx_error.h"
#include "ptx/ptx_lexer.h"

namespace virtual_gpu {

class TokenCursor {
public:
    explicit TokenCursor(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

    const Token& peek(size_t ahead = 0) const {
        return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
    }
    const Token& next() {
        const Token& token = peek();
        at_ += at_ + 1 < tokens_.size();
        return token;
    }
    bool at_end() const { return peek().kind == TokenKind::kEnd; }
    int line() const { return peek().line; }

    bool accept(char c) { return peek().is(c) && (next(), true); }
    bool accept(std::string_view word) { return peek().is(word) && (next(), true); }

    void expect(char c) {
        if (!accept(c)) {
            fail(std::string("'") + c + "' expected");
        }
    }

    std::string_view word(const char* what) {
        if (peek().kind != TokenKind::kWord) {
            fail(std::string(what) + " expected");
        }
        return next().text;
    }

    // An integer with an optional sign, as two's complement.
    uint64_t integer() {
        const bool negative = accept('-');
        if (peek().kind != TokenKind::kNumber) {
            fail("number expected");
        }
        uint64_t value = 0;
        if (!parse_integer(peek().text, &value)) {
            fail("number not understood");
        }
        next();
        return negative ? 0 - value : value;
    }

    // A number as written: 0f and 0d give the bits of a float and of a double. 'form' becomes 'f',
    // 'd', or 'i' for an integer.
    uint64_t literal(char* form);

    // Reads what may stand for an integer in PTX: decimal, 0x, 0 (octal), 0b, with a final U or
    // not.
    static bool parse_integer(std::string_view text, uint64_t* value);

    [[noreturn]] void fail(const std::string& what) const {
        const std::string found(peek().text);
        throw PtxError(line(), what + ", found '" + (at_end() ? "end of text" : found) + "'");
    }

private:
    std::vector<Token> tokens_;
    size_t at_ = 0;
};

}  // namespace virtual_gpu
