#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <iterator>
#include <random>

#include "dialect/control_tokens.h"
#include "dialect/dialect.h"
#include "dialect/output_parser.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// Bytes as tokens, the markers as added tokens beside them.
std::shared_ptr<const Tokenizer> byte_tokenizer() {
    TokenizerBuilder builder;
    builder.added_tokens = "[" + added_token(256, kBosToken, "special") + "," +
                           added_token(257, kEosToken, "special") + "," +
                           added_token(258, kUserToken) + "," + added_token(259, kAssistantToken) +
                           "," + added_token(260, "<think>") + "," + added_token(261, "</think>") +
                           "," + added_token(262, kCallsBegin) + "]";
    return builder.open();
}

struct Answer {
    std::string reasoning;
    std::string text;
    bool stopped = false;
};

Answer parse(const Tokenizer& tokenizer, std::string_view dialect, bool in_reasoning,
             const std::vector<int32_t>& ids, const std::vector<std::string>& stop = {}) {
    OutputParser parser(tokenizer, *find_dialect(dialect), in_reasoning, stop);
    Answer answer;
    const auto take = [&] {
        for (const OutputParser::Piece& piece : parser.pieces()) {
            REQUIRE(utf8_valid_prefix(piece.text) == piece.text.size());
            REQUIRE_FALSE(piece.text.empty());
            const bool reasoning = piece.kind == OutputParser::Kind::kReasoning;
            // Reasoning never follows text.
            REQUIRE((!reasoning || answer.text.empty()));
            (reasoning ? answer.reasoning : answer.text) += piece.text;
        }
    };
    for (const int32_t id : ids) {
        parser.push(id);
        take();
    }
    parser.finish();
    take();
    answer.stopped = parser.stopped();
    return answer;
}

/// The text with markers spelled byte by byte, or as their tokens.
std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text, bool as_tokens) {
    return encode(tokenizer, text, as_tokens);
}

}  // namespace

// Breaks when reasoning is shown as answer or the answer as reasoning, in either spelling of the
// markers.
TEST_CASE("output parser: reasoning is told from the answer", "[dialect]") {
    const auto tokenizer = byte_tokenizer();
    for (const bool as_tokens : {false, true}) {
        const auto run = [&](std::string_view dialect, bool in_reasoning, std::string_view text) {
            return parse(*tokenizer, dialect, in_reasoning, ids_of(*tokenizer, text, as_tokens));
        };
        Answer answer = run("deepseek-v3.1", true, "a < b </thin k\n</think>\nyes");
        CHECK(answer.reasoning == "a < b </thin k\n");
        CHECK(answer.text == "\nyes");
        // One <think> that the model repeats is dropped.
        answer = run("deepseek-v3.1", true, "<think>a</think>b");
        CHECK(answer.reasoning == "a");
        CHECK(answer.text == "b");
        // R1's newlines around the reasoning belong to the markers.
        answer = run("deepseek-r1", true, "\nfirst\n\nsecond\n</think>\n\nyes\n");
        CHECK(answer.reasoning == "first\n\nsecond");
        CHECK(answer.text == "yes\n");
        answer = run("deepseek-r1", true, "x</think>y");
        CHECK(answer.reasoning == "x");
        CHECK(answer.text == "y");
        answer = run("deepseek-r1", true, "</think>\n\n\ny");
        CHECK(answer.reasoning.empty());
        CHECK(answer.text == "\ny");
        // R1-0528 opens the reasoning itself, or does not reason.
        answer = run("deepseek-r1-0528", false, "<think>\nwhy\n</think>\n\nso");
        CHECK(answer.reasoning == "why");
        CHECK(answer.text == "so");
        answer = run("deepseek-r1-0528", false, "<thin air> </think>");
        CHECK(answer.reasoning.empty());
        CHECK(answer.text == "<thin air> </think>");
        // A prompt that closed the reasoning: nothing is parsed any more.
        answer = run("deepseek-v3.1", false, "<think>x</think>y");
        CHECK(answer.text == "<think>x</think>y");
    }
}

// Breaks when an answer that was cut inside its reasoning loses what was held back.
TEST_CASE("output parser: a missing end of reasoning", "[dialect]") {
    const auto tokenizer = byte_tokenizer();
    const auto run = [&](std::string_view dialect, bool in_reasoning, std::string_view text) {
        return parse(*tokenizer, dialect, in_reasoning, encode(*tokenizer, text));
    };
    CHECK(run("deepseek-r1", true, "so far\n</thin").reasoning == "so far\n</thin");
    CHECK(run("deepseek-r1", true, "so far\n").reasoning == "so far\n");
    CHECK(run("deepseek-r1", true, "<th").reasoning == "<th");
    CHECK(run("deepseek-r1-0528", false, "<thi").text == "<thi");
    CHECK(run("deepseek-r1-0528", false, "").text.empty());
    CHECK(run("raw", false, "\xE6\xBC").text == "\uFFFD");
    OutputParser parser(*tokenizer, *find_dialect("deepseek-r1"), true);
    CHECK(parser.in_reasoning());
    for (const int32_t id : encode(*tokenizer, "x</think>", true)) parser.push(id);
    CHECK_FALSE(parser.in_reasoning());
}

// Breaks when a stop string is missed across tokens, or its beginning is delivered.
TEST_CASE("output parser: stop strings", "[dialect]") {
    const auto tokenizer = byte_tokenizer();
    const auto run = [&](std::string_view text, std::vector<std::string> stop) {
        return parse(*tokenizer, "deepseek-v3", false, encode(*tokenizer, text), stop);
    };
    Answer answer = run("one\n\ntwo", {"\n\n"});
    CHECK(answer.text == "one");
    CHECK(answer.stopped);
    answer = run("aab aac aabaac!", {"aabaac"});
    CHECK(answer.text == "aab aac ");
    answer = run("xaaab", {"aab"});
    CHECK(answer.text == "xa");
    answer = run("stop", {"op", "stop"});
    CHECK(answer.text.empty());
    answer = run("sto", {"stop"});
    CHECK(answer.text == "sto");
    CHECK_FALSE(answer.stopped);
    answer = run("\u6F22\u5B57\u3002", {"\u5B57"});
    CHECK(answer.text == "\u6F22");
    answer = run("nothing", {});
    CHECK(answer.text == "nothing");
    // Not in the reasoning, which is no part of the answer.
    const std::vector<std::string> stop = {"b"};
    answer = parse(*tokenizer, "deepseek-v3.1", true, encode(*tokenizer, "abc</think>abc"), stop);
    CHECK(answer.reasoning == "abc");
    CHECK(answer.text == "a");
}

// Breaks when the pieces depend on how the text was cut into tokens: against the plain search in
// the whole text.
TEST_CASE("output parser: random texts and stop strings", "[dialect]") {
    TokenizerBuilder builder;
    builder.merges = {{"a", "b"}, {"ab", "a"}, {"<", "/"}, {"</", "t"}, {"\n", "\n"}};
    const auto tokenizer = builder.open();
    std::mt19937 random(5);
    static constexpr std::string_view kParts[] = {"a", "b", "ab", "</", "think>", "\n", "\u6F22"};
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (size_t i = random() % 14; i > 0; --i) text += kParts[random() % std::size(kParts)];
        std::vector<std::string> stop;
        for (size_t i = random() % 3; i > 0; --i) {
            std::string one;
            for (size_t j = 1 + random() % 3; j > 0; --j) one += kParts[random() % 3];
            stop.push_back(one);
        }
        const size_t end = text.find("</think>");
        const std::string reasoning = text.substr(0, end);
        std::string wanted = end == text.npos ? "" : text.substr(end + 8);
        // The match that ends first, of several the longest.
        size_t cut = wanted.npos;
        for (size_t stop_end = 1; stop_end <= wanted.size() && cut == wanted.npos; ++stop_end) {
            for (const std::string& one : stop) {
                if (std::string_view(wanted).substr(0, stop_end).ends_with(one)) {
                    cut = std::min(cut, stop_end - one.size());
                }
            }
        }
        INFO(text);
        const Answer answer =
            parse(*tokenizer, "deepseek-v3.1", true, encode(*tokenizer, text), stop);
        REQUIRE(answer.reasoning == reasoning);
        REQUIRE(answer.text == wanted.substr(0, cut));
        REQUIRE(answer.stopped == (cut != wanted.npos));
    }
}

// Breaks when role tokens leak into the answer: most are not marked special, so only this parser
// leaves them out. Tool tokens stay, as the host's way to see a call.
TEST_CASE("output parser: role tokens are no text", "[dialect]") {
    const auto tokenizer = byte_tokenizer();
    const Answer answer =
        parse(*tokenizer, "deepseek-v3", false, {256, 'a', 258, 'b', 259, 257, 262, 'c'});
    CHECK(answer.text == "ab" + std::string(kCallsBegin) + "c");
}

// Breaks when a bad stop string is taken.
TEST_CASE("output parser: limits of stop strings", "[dialect]") {
    const auto tokenizer = byte_tokenizer();
    const auto make = [&](const std::vector<std::string>& stop) {
        OutputParser(*tokenizer, *find_dialect("raw"), false, stop);
    };
    CHECK_NOTHROW(make(std::vector<std::string>(64, "x")));
    CHECK(error_of([&] { make(std::vector<std::string>(65, "x")); }).status() ==
          Status::kInvalidArgument);
    CHECK_NOTHROW(make({std::string(4096, 'x')}));
    for (const std::string& bad : {std::string(4097, 'x'), std::string(), std::string("\xFF")}) {
        CHECK(error_of([&] { make({"ok", bad}); }).message().find("stop strings[1]") == 0);
    }
}
