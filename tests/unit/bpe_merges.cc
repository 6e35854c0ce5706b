#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>

#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

using Pair = std::pair<std::string, std::string>;

/// Byte-pair encoding as it is defined, in the plainest way: look at all pairs, merge the leftmost
/// of the lowest rank, begin again.
std::vector<std::string> oracle(std::string_view piece, const std::map<Pair, size_t>& ranks) {
    std::vector<std::string> symbols;
    for (const char c : piece) symbols.emplace_back(1, c);
    for (;;) {
        size_t best = symbols.size();
        size_t best_rank = SIZE_MAX;
        for (size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto found = ranks.find({symbols[i], symbols[i + 1]});
            if (found != ranks.end() && found->second < best_rank) {
                best_rank = found->second;
                best = i;
            }
        }
        if (best == symbols.size()) return symbols;
        symbols[best] += symbols[best + 1];
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
}

std::map<Pair, size_t> ranks_of(const std::vector<Pair>& merges) {
    std::map<Pair, size_t> ranks;
    for (size_t rank = 0; rank < merges.size(); ++rank) ranks[merges[rank]] = rank;
    return ranks;
}

/// Random merges over a small alphabet. `in_order`: each uses only what earlier ones made.
std::vector<Pair> random_merges(std::mt19937& random, size_t count, bool in_order) {
    std::vector<std::string> symbols = {"a", "b", "c", "\xC3", "\xA9"};
    std::vector<Pair> merges;
    std::map<std::string, bool> made;
    while (merges.size() < count) {
        const std::string left = symbols[random() % symbols.size()];
        const std::string right = symbols[random() % symbols.size()];
        if (left.size() + right.size() > 12 || made[left + right]) continue;
        made[left + right] = true;
        symbols.push_back(left + right);
        merges.emplace_back(left, right);
    }
    if (!in_order) std::shuffle(merges.begin(), merges.end(), random);
    return merges;
}

std::string random_text(std::mt19937& random, size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
        const size_t run = random() % 9 == 0 ? random() % 40 : 1;
        static constexpr std::string_view kUnits[] = {"a", "b", "c", "\xC3\xA9"};
        const std::string_view unit = kUnits[random() % 4];
        for (size_t i = 0; i < run; ++i) out += unit;
    }
    return out;
}

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, std::string_view text) {
    std::vector<std::string> out;
    for (const int32_t id : encode(tokenizer, text)) out.emplace_back(tokenizer.token_bytes(id));
    return out;
}

}  // namespace

// Breaks when any of the ways to merge (passes over short pieces, heap, buckets) is not true BPE.
TEST_CASE("bpe: equals the oracle on random merges and texts", "[tokenizer]") {
    std::mt19937 random(20261124);
    for (const bool in_order : {true, false}) {
        for (int round = 0; round < 12; ++round) {
            TokenizerBuilder builder;
            builder.merges = random_merges(random, 3 + random() % 60, in_order);
            const auto tokenizer = builder.open();
            const std::map<Pair, size_t> ranks = ranks_of(builder.merges);
            for (const size_t bytes :
                 {1u, 2u, 3u, 7u, 20u, 64u, 127u, 128u, 129u, 130u, 300u, 1000u}) {
                const std::string text = random_text(random, bytes);
                INFO("in order " << in_order << ", round " << round << ": " << text);
                REQUIRE(tokens_of(*tokenizer, text) == oracle(text, ranks));
            }
        }
    }
}

// Breaks when the linear algorithm for pieces of 4 KiB and more differs from the others.
TEST_CASE("bpe: long pieces equal the oracle", "[tokenizer]") {
    std::mt19937 random(7);
    for (const bool in_order : {true, false}) {
        TokenizerBuilder builder;
        builder.merges = random_merges(random, 40, in_order);
        const auto tokenizer = builder.open();
        for (const size_t bytes : {4095u, 4096u, 4200u}) {
            const std::string text = random_text(random, bytes);
            REQUIRE(tokens_of(*tokenizer, text) == oracle(text, ranks_of(builder.merges)));
        }
    }
}

// Breaks when the short cut for whole pieces returns a token that merging would not give: "abc" is
// in the vocabulary, but "bc" merges first and "a" + "bc" is no merge.
TEST_CASE("bpe: a token that its own merges do not reach", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.merges = {{"b", "c"}, {"a", "b"}, {"ab", "c"}};
    const auto tokenizer = builder.open();
    CHECK(tokens_of(*tokenizer, "abc") == std::vector<std::string>{"a", "bc"});
    builder.model_fields = R"("ignore_merges": true, )";
    CHECK(tokens_of(*builder.open(), "abc") == std::vector<std::string>{"abc"});
}

// Breaks when a pair that is listed twice keeps its first rank: the reference keeps the last.
TEST_CASE("bpe: a merge that is listed twice", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.merges = {{"a", "b"}, {"b", "c"}, {"a", "b"}};
    CHECK(tokens_of(*builder.open(), "abc") == std::vector<std::string>{"a", "bc"});
}

// Breaks when bytes without a token vanish or crash: they are encoded as U+FFFD.
TEST_CASE("bpe: bytes without a token", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.lacking = "\xF5\xFF";
    builder.merges = {{"\xEF", "\xBF"}, {"a", "b"}};
    const auto tokenizer = builder.open();
    for (const size_t repeats : {1u, 60u, 200u, 3000u}) {
        std::string text;
        std::string wanted;
        for (size_t i = 0; i < repeats; ++i) {
            text += "\xF5\xFF";
            wanted += "\uFFFD\uFFFD";
        }
        REQUIRE(bytes_of(*tokenizer, encode(*tokenizer, text)) == wanted);
    }
    builder.lacking = "\xF5\xFF\xEF";
    builder.merges = {{"a", "b"}};
    CHECK(bytes_of(*builder.open(), encode(*builder.open(), "a\xF5z")) == "a\xBF\xBDz");
}

// Breaks when ordinary text can be merged into an added token that is also an entry of vocab.
TEST_CASE("bpe: an added token that merges reach", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.merges = {{"<", "x"}, {"<x", ">"}, {"<x>", "a"}, {"<x>", "<x>"}};
    const std::vector<std::string> vocab = builder.vocab();
    builder.added_tokens = "[" + added_token(257, "<x>") + ", " + added_token(256, "<x") + "]";
    REQUIRE(vocab[257] == "<x>");
    const auto tokenizer = builder.open();
    CHECK(encode(*tokenizer, "<x>", true) == std::vector<int32_t>{257});
    CHECK(tokens_of(*tokenizer, "<x>") == std::vector<std::string>{"<", "x", ">"});
    // As a step on the way to an ordinary token it still serves.
    CHECK(tokens_of(*tokenizer, "<x>a") == std::vector<std::string>{"<x>a"});
    for (const size_t repeats : {2u, 3u, 100u, 2001u}) {
        std::string text;
        for (size_t i = 0; i < repeats; ++i) text += "<x>";
        const std::vector<int32_t> ids = encode(*tokenizer, text);
        for (const int32_t id : ids) REQUIRE_FALSE(tokenizer->is_control(id));
        REQUIRE(bytes_of(*tokenizer, ids) == text);
    }
}
