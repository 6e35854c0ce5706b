#include <catch2/catch_test_macros.hpp>

#include "tokenizer/pcre.h"
#include "tokenizer/pretokenizer.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

using Kind = PretokenizerStep::Kind;
using Behavior = PretokenizerStep::Behavior;
using Pieces = std::vector<std::string>;

PretokenizerStep split(Kind kind, std::string pattern, Behavior behavior, bool invert = false) {
    PretokenizerStep step;
    step.kind = kind;
    step.pattern = std::move(pattern);
    step.behavior = behavior;
    step.invert = invert;
    return step;
}

Pieces run(const std::vector<PretokenizerStep>& steps, std::string_view text) {
    PretokenizedText out;
    Pretokenizer(steps).run(text, out);
    Pieces pieces;
    for (const Piece piece : out.pieces) {
        pieces.emplace_back(out.text.substr(piece.begin, piece.end - piece.begin));
    }
    return pieces;
}

Pieces matches(std::string_view pattern, std::string_view text) {
    std::vector<Piece> found;
    WorkClock clock;
    Regex(pattern).find_all(text, 0, clock, found);
    Pieces out;
    for (const Piece piece : found)
        out.emplace_back(text.substr(piece.begin, piece.end - piece.begin));
    return out;
}

}  // namespace

// Breaks when a behaviour of Split differs from the reference's (checked against it): what stays
// of the delimiter, and on which side.
TEST_CASE("pretokenizer: behaviours of Split", "[tokenizer]") {
    const std::string text = "the--final-";
    for (const Kind kind : {Kind::kLiteral, Kind::kRegex}) {
        const auto with = [&](Behavior behavior, bool invert = false) {
            return run({split(kind, "-", behavior, invert)}, text);
        };
        CHECK(with(Behavior::kIsolated) == Pieces{"the", "-", "-", "final", "-"});
        CHECK(with(Behavior::kRemoved) == Pieces{"the", "final"});
        CHECK(with(Behavior::kMergedWithPrevious) == Pieces{"the-", "-", "final-"});
        CHECK(with(Behavior::kMergedWithNext) == Pieces{"the", "-", "-final", "-"});
        CHECK(with(Behavior::kContiguous) == Pieces{"the", "--", "final", "-"});
        CHECK(with(Behavior::kRemoved, true) == Pieces{"-", "-", "-"});
        CHECK(with(Behavior::kMergedWithPrevious, true) == Pieces{"the", "-", "-final", "-"});
    }
    CHECK(run({split(Kind::kLiteral, "", Behavior::kIsolated)}, "ab") == Pieces{"ab"});
    // An empty match cuts and leaves nothing behind.
    CHECK(run({split(Kind::kRegex, "x*", Behavior::kIsolated)}, "axb") == Pieces{"a", "x", "b"});
}

// Breaks when Digits or ByteLevel do other than the reference.
TEST_CASE("pretokenizer: Digits and ByteLevel", "[tokenizer]") {
    PretokenizerStep digits;
    digits.kind = Kind::kDigits;
    CHECK(run({digits}, "a12½b") == Pieces{"a", "12½", "b"});
    digits.individual_digits = true;
    CHECK(run({digits}, "a12½b") == Pieces{"a", "1", "2", "½", "b"});
    PretokenizerStep bytes;
    bytes.use_regex = true;
    CHECK(run({bytes}, "I'll  go 42!") == Pieces{"I", "'ll", " ", " go", " 42", "!"});
    bytes.add_prefix_space = true;
    CHECK(run({bytes}, "go") == Pieces{" go"});
    CHECK(run({split(Kind::kLiteral, "b", Behavior::kIsolated), bytes}, "a b") ==
          Pieces{" a", " ", " b"});
}

// Breaks when a pattern means something else to PCRE2 than to the reference's engine.
TEST_CASE("pretokenizer: patterns are translated", "[tokenizer]") {
    CHECK(matches(R"(\s)", "a\u180E\u0085\u3000") == Pieces{"\u0085", "\u3000"});
    CHECK(matches(R"(\S)", " \u180E") == Pieces{"\u180E"});
    CHECK(matches(R"([^\s\p{L}])", "a \U00010D50.") == Pieces{"."});  // a letter since Unicode 16
    CHECK(matches(R"(\p{N})", "\U00010D40") == Pieces{"\U00010D40"});
    CHECK(matches(R"(\p{^N})", "1a") == Pieces{"a"});
    CHECK(matches(R"(\d|[\d])", "1\u0661a") == Pieces{"1", "\u0661"});
    CHECK(matches(R"(\w+)", "a\u0301_-") == Pieces{"a\u0301_"});
    CHECK(matches(R"(\W|[\w])", "a-") == Pieces{"a", "-"});
    CHECK(matches(R"(\D)", "1a") == Pieces{"a"});
    CHECK(matches(R"(\p{Han}+)", "\u6F22\u30FC") == Pieces{"\u6F22"});  // not its extensions
    CHECK(matches("\\u0061\\x62", "ab") == Pieces{"ab"});
    CHECK(matches("b$", "ab\nb") == Pieces{"b", "b"});  // Ruby's $ is a line's end
    CHECK(matches("(?i:A)", "aA") == Pieces{"a", "A"});
    CHECK(matches("q", std::string(5000, 'x') + "q") == Pieces{"q"});
    CHECK(matches("\u00E9", std::string(1024, 'x') + "\u00E9") == Pieces{"\u00E9"});
    CHECK(matches("x*", "ax") == Pieces{"", "x"});
}

// Breaks when a pattern that PCRE2 would read otherwise is taken all the same.
TEST_CASE("pretokenizer: patterns that are refused", "[tokenizer]") {
    for (const char* pattern :
         {"[a&&b]", "[a[b]]", "[a", "[]a]", "\\h", "\\p", "\\pL", "\\p{L", "\\A", "\\", "\\u12",
          "[\\S]", "[\\D]", "[\\W]", "(?m:a)", "(*UCP)a", "(", "a{2,1}", "\\p{Nonsense}"}) {
        INFO(pattern);
        const Error error = error_of([&] { Regex{pattern}; });
        CHECK(error.status() == Status::kUnsupported);
        CHECK(error.message().find("tokenizer pattern '") == 0);
        CHECK(error.message().find("offset") != std::string::npos);
    }
    CHECK(error_of([] { Regex(std::string((1 << 16) + 1, 'a')); }).status() ==
          Status::kUnsupported);
    CHECK_NOTHROW(Regex(std::string(1 << 12, 'a')));
}

// Breaks when the work of one match is not bounded: such a pattern takes 2^1000 steps.
TEST_CASE("pretokenizer: a match that needs too many steps", "[tokenizer]") {
    const Regex regex("(a+)+[bc]");
    std::vector<Piece> out;
    WorkClock clock;
    const Error error = error_of([&] { regex.find_all(std::string(1000, 'a'), 0, clock, out); });
    CHECK(error.status() == Status::kInvalidArgument);
    CHECK(error.message().find("(a+)+[bc]") != std::string::npos);
    CHECK(error.message().find("text offset 0") != std::string::npos);
    CHECK_NOTHROW(regex.find_all(std::string(1000, 'a') + "b", 0, clock, out));
}
