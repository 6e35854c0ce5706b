#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Unicode 16.0 character classes, the version inside the reference tokenizer's regex engine. A
// table of another version splits text at other places and so gives other ids.
namespace fathom {

/// First letter of the general category: L, M, N, P, S, Z, or C for everything else.
char category_class(char32_t c);

/// White_Space, which is what \s means in a tokenizer.json. Not Python's isspace: U+001C to U+001F
/// are outside.
bool is_white_space(char32_t c);

/// \w of Rust's regex crate, which decides `single_word` of added tokens.
bool is_word_character(char32_t c);

/// Rust's char::is_numeric, which is what the Digits pre-tokenizer isolates: N* of Unicode 17.0,
/// one version ahead of the regexes; includes ½ and ².
bool is_numeric(char32_t c);

/// Ranges such as `\x{897}\x{1C89}-\x{1C8A}` of characters younger than Unicode 14.0 whose category
/// begins with `name` ("L", "Lu", ...), to complete a character class of an older regex library.
std::string younger_ranges(std::string_view name);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` must be well-formed UTF-8.
std::string normalize(std::string_view text, NormalForm form);

/// One byte for every code point in two stages: 4,352 page numbers, then pages of 256 that are
/// stored once each. A few tens of KiB instead of a megabyte, so that it stays in cache.
class CharTable {
public:
    using Classify = uint8_t (*)(char32_t c, const void* context);
    CharTable(Classify classify, const void* context);

    uint8_t operator[](char32_t c) const {
        return bytes_[(static_cast<size_t>(pages_[c >> 8]) << 8) | (c & 0xFF)];
    }

private:
    std::array<uint16_t, 0x1100> pages_{};
    std::vector<uint8_t> bytes_;
};

}  // namespace fathom
