#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <iterator>
#include <random>
#include <string>

#include "tokenizer/utf8.h"

using namespace fathom;

namespace {

std::string lossy(std::string_view bytes) {
    std::string out;
    append_lossy_utf8(bytes, out);
    return out;
}

std::string assembled(std::string_view bytes, std::mt19937& random) {
    Utf8Assembler assembler;
    std::string out;
    while (!bytes.empty()) {
        const size_t part = random() % 5;
        std::string now;
        assembler.push(bytes.substr(0, part), now);
        // What comes out at once is whole.
        REQUIRE(utf8_valid_prefix(now) == now.size());
        out += now;
        bytes.remove_prefix(std::min(part, bytes.size()));
    }
    assembler.finish(out);
    REQUIRE(assembler.empty());
    return out;
}

}  // namespace

// Breaks when replacement differs from Rust's from_utf8_lossy, which the reference decoder uses:
// one U+FFFD for each maximal part of an ill-formed sequence.
TEST_CASE("utf8: replacement of ill-formed bytes", "[tokenizer]") {
    const std::string r = "\uFFFD";
    CHECK(lossy("") == "");
    CHECK(lossy("a\u00E9\u6F22\U0001F600z") == "a\u00E9\u6F22\U0001F600z");
    CHECK(lossy("\x80") == r);
    CHECK(lossy("\xC0\xAF") == r + r);                  // overlong
    CHECK(lossy("\xE0\x80\xAF") == r + r + r);          // overlong
    CHECK(lossy("\xED\xA0\x80") == r + r + r);          // surrogate
    CHECK(lossy("\xF4\x90\x80\x80") == r + r + r + r);  // above U+10FFFF
    CHECK(lossy("\xF5\x80") == r + r);
    CHECK(lossy("\xE2\x82") == r);  // cut short
    CHECK(lossy("\xF0\x9F\x98") == r);
    CHECK(lossy("\xF0\x9F\x98z\xE2\x82\xE2\x82\xAC") == r + "z" + r + "\u20AC");
    CHECK(lossy(std::string_view("\0a", 2)) == std::string_view("\0a", 2));
    CHECK(lossy("\xF4\x8F\xBF\xBF") == "\U0010FFFF");
    CHECK(lossy("\xF1\x80\x80\x80") == "\U00040000");
}

// Breaks when the two roads to text disagree, or a stream emits half a character.
TEST_CASE("utf8: a stream gives the same text in whatever parts", "[tokenizer]") {
    std::mt19937 random(3);
    static constexpr std::string_view kParts[] = {
        "a",    "\xC3\xA9", "\xE6\xBC\xA2", "\xF0\x9F\x98\x80", "\xF0\x9F",  "\xE6",
        "\x80", "\xFF",     "\xC3",         "\xED\xA0",         "0123456789"};
    for (int round = 0; round < 2000; ++round) {
        std::string bytes;
        for (size_t i = random() % 12; i > 0; --i) bytes += kParts[random() % std::size(kParts)];
        REQUIRE(assembled(bytes, random) == lossy(bytes));
    }
}

// Breaks when encoding and decoding of single characters are not inverse.
TEST_CASE("utf8: every character", "[tokenizer]") {
    for (char32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
        if (c >= 0xD800 && c < 0xE000) continue;
        std::string text;
        append_utf8(c, text);
        REQUIRE(utf8_valid_prefix(text) == text.size());
        const auto* at = reinterpret_cast<const unsigned char*>(text.data());
        REQUIRE(utf8_next(at) == c);
        REQUIRE(at == reinterpret_cast<const unsigned char*>(text.data()) + text.size());
    }
}
