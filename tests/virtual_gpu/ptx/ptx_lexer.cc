#include "ptx/ptx_lexer.h"

#include <algorithm>
#include <string>

#include "ptx/ptx_error.h"

namespace virtual_gpu {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool starts_word(char c) { return is_letter(c) || c == '_' || c == '$' || c == '%' || c == '.'; }

bool continues_word(char c) { return starts_word(c) || is_digit(c); }

class Lexer {
public:
    explicit Lexer(std::string_view text) : text_(text) {}

    std::vector<Token> run() {
        for (skip_blank(); at_ < text_.size(); skip_blank()) {
            const char c = text_[at_];
            if (c == '"') {
                string();
            } else if (is_digit(c)) {
                number();
            } else if (starts_word(c)) {
                word();
            } else {
                add(TokenKind::kPunctuation, at_, 1);
                at_ += 1;
            }
        }
        tokens_.push_back({TokenKind::kEnd, {}, line_});
        return std::move(tokens_);
    }

private:
    char peek(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

    void add(TokenKind kind, size_t from, size_t length) {
        tokens_.push_back({kind, text_.substr(from, length), line_});
    }

    void skip_blank() {
        while (at_ < text_.size()) {
            const char c = text_[at_];
            if (c == '\n') {
                line_ += 1;
                at_ += 1;
            } else if (c == ' ' || c == '\t' || c == '\r') {
                at_ += 1;
            } else if (c == '/' && peek(1) == '/') {
                at_ = std::min(text_.find('\n', at_), text_.size());
            } else if (c == '/' && peek(1) == '*') {
                skip_block_comment();
            } else {
                return;
            }
        }
    }

    void skip_block_comment() {
        const size_t end = text_.find("*/", at_ + 2);
        if (end == std::string_view::npos) {
            throw PtxError(line_, "comment without an end");
        }
        for (; at_ < end + 2; at_ += 1) {
            line_ += text_[at_] == '\n';
        }
    }

    void string() {
        const size_t end = text_.find_first_of("\"\n", at_ + 1);
        if (end == std::string_view::npos || text_[end] != '"') {
            throw PtxError(line_, "string without an end");
        }
        add(TokenKind::kString, at_ + 1, end - at_ - 1);
        at_ = end + 1;
    }

    // Digits and letters: 12, 0x1F, 0f3F800000, 0d3FF0000000000000, 1U.
    void number() {
        size_t end = at_;
        while (end < text_.size() && (is_digit(text_[end]) || is_letter(text_[end]))) {
            end += 1;
        }
        add(TokenKind::kNumber, at_, end - at_);
        at_ = end;
    }

    // '::' belongs to the word ('.shared::cta'), a single ':' ends it (a label).
    void word() {
        size_t end = at_;
        while (end < text_.size()) {
            if (continues_word(text_[end])) {
                end += 1;
            } else if (text_.substr(end, 2) == "::") {
                end += 2;
            } else {
                break;
            }
        }
        add(TokenKind::kWord, at_, end - at_);
        at_ = end;
    }

    std::string_view text_;
    size_t at_ = 0;
    int line_ = 1;
    std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> lex_ptx(std::string_view text) { return Lexer(text).run(); }

}  // namespace virtual_gpu
