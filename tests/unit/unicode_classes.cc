#include <catch2/catch_test_macros.hpp>

#include <string>

#include "tokenizer/unicode.h"

using namespace fathom;

// Breaks when the tables are older than the reference's: those of Unicode 14 and 15 give other
// pieces for about a hundred ranges.
TEST_CASE("unicode: classes of version 16", "[tokenizer]") {
    CHECK(category_class('a') == 'L');
    CHECK(category_class(0x0301) == 'M');
    CHECK(category_class(0x00BD) == 'N');
    CHECK(category_class('_') == 'P');
    CHECK(category_class('+') == 'S');
    CHECK(category_class(' ') == 'Z');
    CHECK(category_class(0x01) == 'C');
    CHECK(category_class(0x1E4D0) == 'L');  // 15.0
    CHECK(category_class(0x2EBF0) == 'L');  // 15.1
    CHECK(category_class(0x10D40) == 'N');  // 16.0
    CHECK(category_class(0x1C89) == 'L');
    CHECK(category_class(0x0897) == 'M');
    CHECK(category_class(0x1B4E) == 'P');
    CHECK(category_class(0x1CC00) == 'S');
    CHECK(category_class(0xA7CE) == 'C');  // 17.0
    CHECK(category_class(0x10FFFF) == 'C');

    // Counts over all characters, as the reference's own regex engine gives them.
    size_t letters = 0, marks = 0, numbers = 0, punctuation = 0, symbols = 0, white = 0;
    for (char32_t c = 0; c < 0x110000; ++c) {
        const char kind = category_class(c);
        letters += kind == 'L';
        marks += kind == 'M';
        numbers += kind == 'N';
        punctuation += kind == 'P';
        symbols += kind == 'S';
        white += is_white_space(c);
    }
    CHECK(letters == 141028);
    CHECK(marks == 2501);
    CHECK(numbers == 1911);
    CHECK(punctuation == 855);
    CHECK(symbols == 8514);
    CHECK(white == 25);
}

// Breaks when \s is Python's or PCRE's instead of White_Space, or Digits stops at 0 to 9.
TEST_CASE("unicode: white space, words and numerics", "[tokenizer]") {
    CHECK(is_white_space(0x85));
    CHECK(is_white_space(0xA0));
    CHECK(is_white_space(0x2028));
    CHECK(is_white_space(0x3000));
    CHECK_FALSE(is_white_space(0x1C));
    CHECK_FALSE(is_white_space(0x180E));
    CHECK_FALSE(is_white_space(0x200B));
    CHECK_FALSE(is_white_space(0xFEFF));
    CHECK(is_numeric('7'));
    CHECK(is_numeric(0xBD));
    CHECK(is_numeric(0xB2));
    CHECK(is_numeric(0x2160));
    CHECK(is_numeric(0x11DE0));  // 17.0
    CHECK(is_numeric(0x16FF6));
    CHECK_FALSE(is_numeric('a'));
    CHECK(is_word_character('_'));
    CHECK(is_word_character('7'));
    CHECK(is_word_character(0x0301));
    CHECK(is_word_character(0x200D));
    CHECK(is_word_character(0x24B6));
    CHECK(is_word_character(0x1F130));
    CHECK(is_word_character(0x1F150));
    CHECK(is_word_character(0x1F170));
    CHECK(is_word_character(0x2160));
    CHECK_FALSE(is_word_character(0xB2));
    CHECK_FALSE(is_word_character('-'));
}

// Breaks when a normal form is another one, or a pattern is completed with the wrong characters.
TEST_CASE("unicode: normal forms and ranges for older libraries", "[tokenizer]") {
    CHECK(normalize("A\u030A", NormalForm::kNfc) == "\u00C5");
    CHECK(normalize("\u00C5", NormalForm::kNfd) == "A\u030A");
    CHECK(normalize("\uFB01\u00B2", NormalForm::kNfkc) == "fi2");
    CHECK(normalize("\u00C5\uFB01", NormalForm::kNfkd) == "A\u030Afi");
    CHECK(normalize("", NormalForm::kNfc).empty());
    CHECK(younger_ranges("Pd") == "\\x{10D6E}");
    CHECK(younger_ranges("N").starts_with("\\x{10D40}-\\x{10D49}"));
    CHECK(younger_ranges("Zs").empty());
}

// Breaks when the compact table is not the function that it was made of.
TEST_CASE("unicode: table of all characters", "[tokenizer]") {
    const CharTable table(
        [](char32_t c, const void*) { return static_cast<uint8_t>(category_class(c)); }, nullptr);
    for (char32_t c = 0; c < 0x110000; ++c) REQUIRE(table[c] == category_class(c));
}
