#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace fathom {
namespace {

constexpr char32_t kNoCharacter = 0;  // neither a word character nor white space

char32_t first_character(std::string_view text, size_t& bytes) {
    bytes = 0;
    if (text.empty()) return kNoCharacter;
    const Utf8Sequence sequence = utf8_sequence(text);
    bytes = sequence.bytes;
    if (sequence.kind != Utf8Sequence::Kind::kWhole) return kNoCharacter;
    const auto* at = reinterpret_cast<const unsigned char*>(text.data());
    return utf8_next(at);
}

char32_t last_character(std::string_view text, size_t& bytes) {
    for (bytes = 1; bytes <= 4 && bytes <= text.size(); ++bytes) {
        const std::string_view tail = text.substr(text.size() - bytes);
        const Utf8Sequence sequence = utf8_sequence(tail);
        if (sequence.kind != Utf8Sequence::Kind::kWhole) continue;
        if (sequence.bytes != bytes) break;
        const auto* at = reinterpret_cast<const unsigned char*>(tail.data());
        return utf8_next(at);
    }
    bytes = 0;
    return kNoCharacter;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
    size_t bytes = 0;
    return !is_word_character(last_character(text.substr(0, begin), bytes)) &&
           !is_word_character(first_character(text.substr(end), bytes));
}

size_t without_space_before(std::string_view text, size_t begin, size_t limit) {
    while (begin > limit) {
        size_t bytes = 0;
        if (!is_white_space(last_character(text.substr(0, begin), bytes))) break;
        begin -= bytes;
    }
    return std::max(begin, limit);
}

size_t without_space_after(std::string_view text, size_t end) {
    while (end < text.size()) {
        size_t bytes = 0;
        if (!is_white_space(first_character(text.substr(end), bytes))) break;
        end += bytes;
    }
    return end;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
    std::sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
        return a.content < b.content;  // char_traits<char> compares as unsigned
    });
    for (const AddedToken& token : tokens_) {
        ++first_[static_cast<unsigned char>(token.content[0]) + 1u];
    }
    for (size_t byte = 1; byte < first_.size(); ++byte) first_[byte] += first_[byte - 1];
}

// Narrows the sorted range of contents byte by byte; a content that ends where the range begins is
// a match, and every later one in the range is longer.
const AddedToken* AddedTokens::longest_at(std::string_view text, size_t at) const {
    const size_t lead = static_cast<unsigned char>(text[at]);
    auto low = tokens_.begin() + first_[lead];
    auto high = tokens_.begin() + first_[lead + 1];
    const AddedToken* best = nullptr;
    for (size_t depth = 1; low != high; ++depth) {
        while (low != high && low->content.size() == depth) best = &*low++;
        if (at + depth >= text.size()) break;
        const unsigned char byte = static_cast<unsigned char>(text[at + depth]);
        const auto byte_of = [depth](const AddedToken& token) {
            return static_cast<unsigned char>(token.content[depth]);
        };
        low =
            std::partition_point(low, high, [&](const AddedToken& t) { return byte_of(t) < byte; });
        high = std::partition_point(low, high,
                                    [&](const AddedToken& t) { return byte_of(t) == byte; });
    }
    return best;
}

void AddedTokens::split(std::string_view text, std::vector<AddedSplit>& out) const {
    size_t done = 0;
    size_t at = 0;
    while (at < text.size()) {
        const size_t lead = static_cast<unsigned char>(text[at]);
        const AddedToken* const token =
            first_[lead] == first_[lead + 1] ? nullptr : longest_at(text, at);
        if (token == nullptr) {
            ++at;
            continue;
        }
        size_t begin = at;
        size_t end = at + token->content.size();
        // The search goes on behind the token itself, not behind white space that it takes along.
        at = end;
        if (begin < done) continue;
        if (token->single_word && !stands_alone(text, begin, end)) continue;
        if (token->lstrip) begin = without_space_before(text, begin, done);
        if (token->rstrip) end = without_space_after(text, end);
        if (begin > done) out.push_back({text.substr(done, begin - done), -1});
        out.push_back({text.substr(begin, end - begin), token->id});
        done = end;
    }
    if (done < text.size()) out.push_back({text.substr(done), -1});
}

}  // namespace fathom
