// Number 28 of the list of bad inputs: texts and patterns that are made to be slow.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "hostile/slow_text.h"
#include "tokenizer/pretokenizer.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

// Breaks when run time or stack grow faster than the text.
TEST_CASE("hostile E28: a mebibyte without a break, on 192 KiB of stack", "[hostile]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    for (const char* name : {"deepseek-v2", "deepseek-v3"}) {
        const auto tokenizer = reference_tokenizer(name);
        for (const std::string_view part :
             {"a", " ", "\n", "\u0301", "\u6F22", "\x01", "ab", "=", " \t", "7", "\xFF"}) {
            const std::string text = repeated(part, 1 << 20);
            std::vector<int32_t> ids;
            double best = 1e9;
            on_small_stack([&] {
                for (int round = 0; round < 2; ++round) {
                    ids.clear();
                    best = std::min(best, seconds([&] { tokenizer->encode(text, false, ids); }));
                }
            });
            INFO(name << ": " << part << ": " << best << " s");
            CHECK(best < 0.2 * kSlack);
            // V2's vocabulary has no token for the byte 0xFF.
            if (part != "\xFF" || tokenizer->find_token("\xFF") >= 0) {
                CHECK(bytes_of(*tokenizer, ids) == text);
            }
        }
    }
}

TEST_CASE("hostile E28: the same for a SentencePiece model", "[hostile]") {
    FATHOM_NEEDS_REFERENCE("llama-spm/tokenizer.model");
    const auto tokenizer = reference_tokenizer("llama-spm");
    for (const std::string_view part : {"a", " ", "\n", "\u6F22"}) {
        const std::string text = repeated(part, 1 << 18);
        double taken = 0;
        std::vector<int32_t> ids;
        on_small_stack([&] { taken = seconds([&] { tokenizer->encode(text, false, ids); }); });
        INFO(part << ": " << taken << " s");
        CHECK(taken < 1.0 * kSlack);
        CHECK(decode(*tokenizer, ids) == text);
    }
}

TEST_CASE("hostile E28: a pattern of quadratic time ends with an error or an answer", "[hostile]") {
    TokenizerBuilder builder;
    builder.pre_tokenizer = R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\s+$"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
    const auto tokenizer = builder.open();
    const std::string text = std::string(10'000, ' ') + "x";
    on_small_stack([&] { CHECK(encode(*tokenizer, text).size() == text.size()); });
    builder.pre_tokenizer = R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(a|a?)+[bc]"}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})";
    const auto slow = builder.open();
    on_small_stack([&] {
        const Error error = error_of([&] { encode(*slow, std::string(5000, 'a')); });
        CHECK(error.status() == Status::kInvalidArgument);
        CHECK(error.message().find("offset 0") != std::string::npos);
    });
    CHECK(encode(*slow, "xab").size() == 3);
}

// Breaks when a pattern of a stranger's tokenizer.json holds the host's thread for as long as it
// likes: slow at every position, slow in what one step looks at, or a little slow in every piece.
TEST_CASE("hostile E28: a slow pattern ends when its time is up", "[hostile]") {
    using Kind = PretokenizerStep::Kind;
    const auto split = [](std::string pattern, Kind kind = Kind::kRegex) {
        PretokenizerStep step;
        step.kind = kind;
        step.pattern = std::move(pattern);
        return step;
    };
    const std::string mebibyte(1 << 20, 'a');
    struct Case {
        std::vector<PretokenizerStep> steps;
        std::string text;
    };
    const std::vector<Case> cases = {
        {{split("(?:a|a){22}[bc]")}, std::string(400, 'a')},
        {{split("(?:a|a){16}(?>[a-y]*)[z!]")}, mebibyte},
        {{split("(?>[a-y]*)[z!]")}, mebibyte},
        {{split("(?:(?=a*+)(?=a*+)a){15}(?:a|a){15}[z!]")}, mebibyte},
        {{split(" "), split("(?:a|a){15}[bc]")}, repeated("aaaaaaaaaaaaaaaa ", 1 << 18)},
        {std::vector<PretokenizerStep>(100'000, split("z", Kind::kLiteral)),
         repeated("az", 1 << 18)},
    };
    for (const Case& slow : cases) {
        PretokenizedText out;
        out.clock = WorkClock(std::chrono::milliseconds(200));
        const Pretokenizer pretokenizer(slow.steps);
        double taken = 0;
        std::string message;
        on_small_stack([&] {
            taken = seconds([&] {
                try {
                    pretokenizer.run(slow.text, out);
                } catch (const Error& error) {
                    CHECK(error.status() == Status::kInvalidArgument);
                    message = error.message();
                }
            });
        });
        INFO(slow.steps.back().pattern << ": " << taken << " s: " << message);
        CHECK(message.find("more time than allowed") != std::string::npos);
        CHECK(message.find("200 ms") != std::string::npos);
        CHECK(taken < 1.5 * kSlack);
        PretokenizedText next;
        CHECK_NOTHROW(pretokenizer.run("q", next));
        CHECK(next.pieces.size() == 1);
    }
}

// Breaks when looking for the place where a match may begin, or for a text, starts over again and
// again: that is quadratic in an honest text without one.
TEST_CASE("hostile E28: a pattern that is nowhere in 16 MiB is linear", "[hostile]") {
    PretokenizerStep step;
    step.behavior = PretokenizerStep::Behavior::kIsolated;
    const std::string text = repeated("a", 16 << 20);
    for (const bool literal : {false, true}) {
        using Kind = PretokenizerStep::Kind;
        step.kind = literal ? Kind::kLiteral : Kind::kRegex;
        step.pattern = literal ? std::string(1 << 19, 'a') + "b" : "[0-9\u4e00-\u9fa5]+";
        const Pretokenizer pretokenizer({step});
        PretokenizedText out;
        const double taken = seconds([&] { pretokenizer.run(text, out); });
        INFO(step.pattern.substr(0, 20) << ": " << taken << " s");
        CHECK(taken < 1.0 * kSlack);
        CHECK(out.pieces.size() == 1);
    }
}

// Breaks when a file's list of normal forms may be as long as it likes: each rewrites the text.
TEST_CASE("hostile E27: too many normalizers", "[hostile]") {
    const auto builder = [](int n) {
        TokenizerBuilder out;
        out.normalizer = R"({"type": "Sequence", "normalizers": [)";
        for (int i = 1; i < n; ++i) out.normalizer += R"({"type": "NFC"}, )";
        out.normalizer += R"({"type": "NFC"}]})";
        return out;
    };
    CHECK(encode(*builder(8).open(), "ok") == std::vector<int32_t>{'o', 'k'});
    CHECK(error_of([&] { builder(9).open(); }).status() == Status::kUnsupported);
}
