// If these fail, scores and perplexities that are built on log-probabilities are wrong.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "engine/sampler.h"

using namespace fathom;

namespace {

std::vector<TokenLogprob> score(const std::vector<float>& logits, const OutputIds& ids,
                                int32_t token, int32_t n_above) {
    SamplerScratch scratch;
    std::vector<TokenLogprob> out;
    append_logprobs(logits, ids, {.token = token, .position = 7, .logprob = 0, .n_above = n_above},
                    scratch, out);
    return out;
}

}  // namespace

TEST_CASE("logprobs: log-softmax over all rows, alternatives in order", "[sampler]") {
    const std::vector<float> logits = {1, 4, 2, 4, -3, 3, 0.5F};
    const OutputIds ids{.vocab_rows = 7, .n_tokens = 6, .missing = {}};
    long double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<long double>(logit));
    const auto right = [&](size_t id) {
        return static_cast<double>(logits[id] - std::log(sum));
    };

    const std::vector<TokenLogprob> out = score(logits, ids, 2, 3);
    REQUIRE(out.size() == 4);
    CHECK(out[0].token == 2);
    CHECK(out[0].position == 7);
    CHECK(out[0].n_above == 3);
    const int32_t best[] = {1, 3, 5};  // 1 and 3 are equal: the lower id first
    for (size_t i = 0; i < 3; ++i) {
        CHECK(out[i + 1].token == best[i]);
        CHECK(out[i + 1].position == 7);
        CHECK(out[i + 1].n_above == 0);
    }
    for (const TokenLogprob& entry : out) {
        CHECK(std::abs(entry.logprob - right(static_cast<size_t>(entry.token))) < 1e-6);
    }
    CHECK(score(logits, ids, 2, 0).size() == 1);
    // The chosen token is none of its own alternatives.
    CHECK(score(logits, ids, 1, 1)[1].token == 3);
}

TEST_CASE("logprobs: more alternatives than there are tokens", "[sampler]") {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    const std::vector<float> logits = {1, kNever, 2, 9, 5};
    const OutputIds ids{.vocab_rows = 5, .n_tokens = 4, .missing = {3}};
    const std::vector<TokenLogprob> out = score(logits, ids, 0, 20);
    REQUIRE(out.size() == 2);
    CHECK(out[0].n_above == 1);
    CHECK(out[1].token == 2);
    CHECK(score(logits, ids, 1, 0)[0].logprob == kNever);
}

TEST_CASE("logprobs: large and many logits keep their precision", "[sampler]") {
    // 100,000 equal logits far from zero: a float sum would lose the fourth digit.
    const std::vector<float> logits(100'000, -12345.5F);
    const OutputIds ids{.vocab_rows = 100'000, .n_tokens = 100'000, .missing = {}};
    const std::vector<TokenLogprob> out = score(logits, ids, 77, 20);
    REQUIRE(out.size() == 21);
    CHECK(std::abs(out[0].logprob + std::log(100'000.0)) < 1e-6);
    for (int32_t i = 0; i < 20; ++i) CHECK(out[static_cast<size_t>(i) + 1].token == i);
}

TEST_CASE("logprobs: no number, no score", "[sampler]") {
    std::vector<float> logits(5, 0.0F);
    logits[2] = std::numeric_limits<float>::quiet_NaN();
    const OutputIds ids{.vocab_rows = 5, .n_tokens = 5, .missing = {}};
    CHECK_THROWS_AS(score(logits, ids, 0, 0), Error);
}
