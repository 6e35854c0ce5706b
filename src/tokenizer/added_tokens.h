#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// One element of "added_tokens" in tokenizer.json.
struct AddedToken {
    int32_t id = -1;
    std::string content;
    bool single_word = false;  // only between characters that are no word characters
    bool lstrip = false;       // takes the white space before it along
    bool rstrip = false;       // and after it
    bool normalized = false;   // matched in the normalised text, after all others
    bool special = false;      // what skip_special leaves out when decoding
};

/// A stretch of text between added tokens, or such a token.
struct AddedSplit {
    std::string_view text;
    int32_t id = -1;  // -1: text
};

/// Finds spelled-out added tokens: leftmost, of several at one place the longest. Immutable.
class AddedTokens {
public:
    AddedTokens() = default;
    /// Contents are unique and not empty.
    explicit AddedTokens(std::vector<AddedToken> tokens);

    /// Cuts `text` and appends the parts to `out`.
    void split(std::string_view text, std::vector<AddedSplit>& out) const;

    bool empty() const { return tokens_.empty(); }

private:
    const AddedToken* longest_at(std::string_view text, size_t at) const;

    std::vector<AddedToken> tokens_;     // sorted by content
    std::array<uint32_t, 257> first_{};  // [byte] index of the first content that begins with it
};

}  // namespace fathom
