#include <catch2/catch_test_macros.hpp>

#include <iterator>
#include <random>

#include "format/json.h"
#include "tokenizer/pcre.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"
#include "unit/tokenizer_support.h"

using namespace fathom;
using namespace fathom::test;

namespace {

using Kind = PretokenizerStep::Kind;

std::vector<PretokenizerStep> steps_of(const std::string& name) {
    const JsonDocument document = JsonDocument::parse(
        read_file(reference_path(name + "/tokenizer.json")), JsonLimits{}, "tokenizer.json");
    return read_tokenizer_json(document.root()).steps;
}

/// The same chain for the regex library: a group around a pattern changes its text alone.
std::vector<PretokenizerStep> disguised(std::vector<PretokenizerStep> steps) {
    for (PretokenizerStep& step : steps) {
        if (step.kind == Kind::kRegex) step.pattern = "(?:" + step.pattern + ")";
    }
    return steps;
}

std::vector<std::string> pieces_of(const Pretokenizer& pretokenizer, std::string_view text) {
    PretokenizedText out;
    pretokenizer.run(text, out);
    std::vector<std::string> pieces;
    for (const Piece piece : out.pieces) {
        pieces.emplace_back(out.text.substr(piece.begin, piece.end - piece.begin));
    }
    return pieces;
}

/// Characters at which the families' patterns change their mind.
std::string random_text(std::mt19937& random) {
    static constexpr char32_t kCharacters[] = {
        'a',      'Z',    '0',    '9',    ' ',     ' ',     '\n',    '\r',    '\t',    '.',
        '(',      '_',    '~',    '\'',   0x01,    0x1C,    0x85,    0xA0,    0xB5,    0xBD,
        0xB2,     0xE9,   0x301,  0x345,  0x3B1,   0x5D0,   0x660,   0x903,   0x200B,  0x200D,
        0x2018,   0x2028, 0x2160, 0x212A, 0x3000,  0x3002,  0x3042,  0x3097,  0x3099,  0x30FB,
        0x30FF,   0x3100, 0x4E00, 0x9FA5, 0x9FA6,  0xAC00,  0xD7A3,  0xD7FF,  0xE000,  0xFF01,
        0xFF21,   0xFF5E, 0xFF10, 0xFFFD, 0x10400, 0x1F600, 0x1E4D0, 0x10D40, 0x20000, 0xE0100,
        0x10FFFF, 0x180E, 0x1E00, 0x2126, 0xFEFF};
    std::string text;
    for (size_t count = 1 + random() % 16; count > 0; --count) {
        const char32_t c = kCharacters[random() % std::size(kCharacters)];
        for (size_t run = random() % 4 == 0 ? 1 + random() % 4 : 1; run > 0; --run) {
            append_utf8(c, text);
        }
    }
    return text;
}

void check_equal(const std::string& name) {
    const std::vector<PretokenizerStep> steps = steps_of(name);
    const Pretokenizer scanner(steps);
    const Pretokenizer chain(disguised(steps));
    REQUIRE(scanner.has_scanner());
    REQUIRE_FALSE(chain.has_scanner());
    std::mt19937 random(11);
    for (int round = 0; round < 20000; ++round) {
        const std::string text = random_text(random);
        INFO(text);
        const std::vector<std::string> pieces = pieces_of(scanner, text);
        REQUIRE(pieces == pieces_of(chain, text));
        std::string joined;
        for (const std::string& piece : pieces) joined += piece;
        REQUIRE(joined == text);
    }
}

}  // namespace

// Breaks when a hand-written scanner cuts text otherwise than the patterns that it stands for.
TEST_CASE("scanner: V3 equals its regular expressions", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    check_equal("deepseek-v3");
}
TEST_CASE("scanner: V2 equals its regular expressions", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v2");
    check_equal("deepseek-v2");
}

// Breaks when the look-ahead `\s+(?!\S)` is forgotten, or White_Space is taken for ASCII's.
TEST_CASE("scanner: V3 by example", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    const Pretokenizer scanner(steps_of("deepseek-v3"));
    using Pieces = std::vector<std::string>;
    CHECK(pieces_of(scanner, "").empty());
    CHECK(pieces_of(scanner, "    int x") == Pieces{"   ", " int", " x"});
    CHECK(pieces_of(scanner, "a  1234  ") == Pieces{"a", "  ", "123", "4", "  "});
    CHECK(pieces_of(scanner, "x \n\n y") == Pieces{"x", " \n\n", " y"});
    CHECK(pieces_of(scanner, "f(x)!!\n") == Pieces{"f", "(x", ")!!\n"});
    CHECK(pieces_of(scanner,
                    "\x01\x02"
                    "a\x03") == Pieces{"\x01",
                                       "\x02"
                                       "a",
                                       "\x03"});
    CHECK(pieces_of(scanner, "漢字かな!") == Pieces{"漢字かな", "!"});
    // The middle dot is inside the ideographs' class and still punctuation to the last step.
    CHECK(pieces_of(scanner, "カ・ナ") == Pieces{"カ", "・", "ナ"});
    CHECK(pieces_of(scanner, "\x01\u3097\u3097か") == Pieces{"\x01", "\u3097", "\u3097か"});
}

// Breaks when one changed letter of a pattern still selects a scanner.
TEST_CASE("scanner: only for its exact patterns", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    for (const std::string name : {"deepseek-v2", "deepseek-v3"}) {
        const std::vector<PretokenizerStep> steps = steps_of(name);
        for (size_t i = 0; i < steps.size(); ++i) {
            std::vector<PretokenizerStep> changed = steps;
            if (changed[i].kind == Kind::kRegex) changed[i].pattern.back() = '*';
            if (changed[i].kind == Kind::kDigits) changed[i].individual_digits = false;
            if (changed[i].kind == Kind::kByteLevel) changed[i].use_regex = true;
            if (changed[i].pattern == "[\r\n*") changed[i].pattern = "[\r\n\t]";
            if (changed[i].pattern == "\\p{N}{1,3*") changed[i].pattern = "\\p{N}{1,2}";
            if (changed[i].pattern == "\\s+*") changed[i].pattern = "\\s+";
            if (changed[i].pattern.ends_with("|\\s*")) changed[i].pattern += "x";
            INFO(name << " step " << i);
            CHECK_FALSE(Pretokenizer(changed).has_scanner());
            changed = steps;
            changed[i].invert = true;
            if (changed[i].kind == Kind::kRegex) CHECK_FALSE(Pretokenizer(changed).has_scanner());
        }
    }
}
