#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace fathom {

/// What stands at the start of a text. Ill-formed bytes are counted in maximal subparts, as Unicode
/// recommends and as Rust's from_utf8_lossy does: each such part is worth one U+FFFD.
struct Utf8Sequence {
    enum class Kind : uint8_t { kWhole, kIllFormed, kIncomplete };
    Kind kind;
    uint8_t bytes;
};

/// Classifies the start of `text`, which must not be empty. kIncomplete means that the text ends
/// inside a character that further bytes could complete.
Utf8Sequence utf8_sequence(std::string_view text);

/// Bytes of the longest well-formed prefix.
size_t utf8_valid_prefix(std::string_view text);

/// Decodes one character of text that is known to be well-formed and advances `at`.
inline char32_t utf8_next(const unsigned char*& at) {
    const char32_t lead = *at++;
    if (lead < 0x80) return lead;
    if (lead < 0xE0) return ((lead & 0x1F) << 6) | (*at++ & 0x3Fu);
    if (lead < 0xF0) {
        const char32_t high = (lead & 0x0F) << 12;
        const char32_t middle = (at[0] & 0x3Fu) << 6;
        const char32_t low = at[1] & 0x3Fu;
        at += 2;
        return high | middle | low;
    }
    const char32_t high = ((lead & 0x07) << 18) | ((at[0] & 0x3Fu) << 12);
    const char32_t low = ((at[1] & 0x3Fu) << 6) | (at[2] & 0x3Fu);
    at += 3;
    return high | low;
}

void append_utf8(char32_t code_point, std::string& out);

/// Appends `bytes` with every ill-formed part replaced by U+FFFD.
void append_lossy_utf8(std::string_view bytes, std::string& out);

/// Joins the bytes of streamed tokens, which may end inside a character, into whole UTF-8.
class Utf8Assembler {
public:
    /// Appends to `out` what is certain: whole characters, and U+FFFD for bytes that nothing can
    /// complete. At most three bytes are held back.
    void push(std::string_view bytes, std::string& out);

    /// The stream ends here: an incomplete tail becomes one U+FFFD. The object starts afresh.
    void finish(std::string& out);

    bool empty() const { return pending_bytes_ == 0; }

private:
    char pending_[4] = {};
    uint8_t pending_bytes_ = 0;
};

}  // namespace fathom
