#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"

namespace fathom {
namespace {

using Candidate = SamplerScratch::Candidate;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

bool more_likely(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// The largest of the logits, which must be a number that a softmax can be taken over.
float checked_maximum(std::span<const float> logits, int64_t position) {
    float best = kMinusInfinity;
    bool any_nan = false;
    for (const float logit : logits) {
        any_nan |= logit != logit;
        best = logit > best ? logit : best;
    }
    if (any_nan || !std::isfinite(best)) {
        fail(Status::kDevice, "logits for position ", position, ": found ",
             any_nan ? "NaN" : best > 0 ? "infinity" : "nothing above minus infinity",
             ", wanted finite numbers; the checkpoint's weights may be damaged");
    }
    return best;
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t even = uint64_t{0xD2511F53} * counter[0];
        const uint64_t odd = uint64_t{0xCD9E8D57} * counter[2];
        counter = {static_cast<uint32_t>(odd >> 32) ^ counter[1] ^ key[0],
                   static_cast<uint32_t>(odd),
                   static_cast<uint32_t>(even >> 32) ^ counter[3] ^ key[1],
                   static_cast<uint32_t>(even)};
        key[0] += 0x9E3779B9;  // the golden ratio and the square root of 3, minus 1
        key[1] += 0xBB67AE85;
    }
    return counter;
}

double uniform_at(uint64_t seed, uint64_t position) {
    const std::array<uint32_t, 4> words =
        philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0},
                   {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    const uint64_t bits = (uint64_t{words[0] >> 5} << 26) | (words[1] >> 6);
    return static_cast<double>(bits) * 0x1p-53;
}

void SamplerScratch::reserve(const OutputIds& ids) {
    logits.reserve(static_cast<size_t>(ids.n_tokens));
    candidates.reserve(static_cast<size_t>(ids.n_tokens));
    best.reserve(kMaxLogprobs);
}

Sampler::Sampler(const SamplingOptions& options, const OutputIds& ids)
    : options_(options), ids_(ids) {
    if (options_.repetition_penalty == 0) options_.repetition_penalty = 1;
    counts_ = options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
              options_.frequency_penalty != 0;
    adjusts_ = counts_ || !options_.logit_bias.empty() || !ids_.missing.empty();
    if (counts_) {
        count_.assign(static_cast<size_t>(ids_.n_tokens), -1);
        seen_.reserve(static_cast<size_t>(ids_.n_tokens));
    }
}

void Sampler::observe_prompt(std::span<const int32_t> tokens) {
    if (!counts_) return;
    for (const int32_t token : tokens) {
        if (token >= ids_.n_tokens) continue;
        int32_t& count = count_[static_cast<size_t>(token)];
        if (count >= 0) continue;
        count = 0;
        seen_.push_back(token);
    }
}

void Sampler::observe_generated(int32_t token) {
    if (!counts_) return;
    observe_prompt({&token, 1});
    ++count_[static_cast<size_t>(token)];
}

int32_t Sampler::sample(std::span<const float> logits, int64_t position,
                        SamplerScratch& scratch) const {
    logits = adjust(logits.first(static_cast<size_t>(ids_.n_tokens)), scratch);
    const float best = checked_maximum(logits, position);
    if (options_.temperature == 0) {
        return static_cast<int32_t>(std::find(logits.begin(), logits.end(), best) -
                                    logits.begin());
    }
    const double uniform = uniform_at(options_.seed, static_cast<uint64_t>(position));
    const bool keeps_all =
        (options_.top_k == 0 || options_.top_k >= ids_.n_tokens) && options_.min_p == 0 &&
        (options_.top_p == 0 || options_.top_p == 1);
    return keeps_all ? draw(logits, best, uniform) : draw_kept(logits, best, uniform, scratch);
}

std::span<const float> Sampler::adjust(std::span<const float> logits,
                                       SamplerScratch& scratch) const {
    if (!adjusts_) return logits;
    std::vector<float>& out = scratch.logits;
    out.assign(logits.begin(), logits.end());
    for (const LogitBias& bias : options_.logit_bias) {
        out[static_cast<size_t>(bias.token)] += bias.bias;
    }
    for (const int32_t token : seen_) {
        float& logit = out[static_cast<size_t>(token)];
        const int32_t count = count_[static_cast<size_t>(token)];
        logit = logit > 0 ? logit / options_.repetition_penalty
                          : logit * options_.repetition_penalty;
        if (count == 0) continue;
        logit -= options_.frequency_penalty * static_cast<float>(count);
        logit -= options_.presence_penalty;
    }
    for (const int32_t token : ids_.missing) out[static_cast<size_t>(token)] = kMinusInfinity;
    return out;
}

/// The probability of a token relative to that of the best one.
double Sampler::weight(float logit, float best) const {
    return std::exp((static_cast<double>(logit) - best) / options_.temperature);
}

int32_t Sampler::draw(std::span<const float> logits, float best, double uniform) const {
    double total = 0;
    for (const float logit : logits) total += weight(logit, best);
    double left = uniform * total;
    int32_t last_possible = 0;
    for (size_t token = 0; token < logits.size(); ++token) {
        const double share = weight(logits[token], best);
        if (share == 0) continue;
        last_possible = static_cast<int32_t>(token);
        left -= share;
        if (left < 0) break;
    }
    return last_possible;
}

int32_t Sampler::draw_kept(std::span<const float> logits, float best, double uniform,
                           SamplerScratch& scratch) const {
    std::vector<Candidate>& kept = scratch.candidates;
    kept.clear();
    const bool limits_count = options_.top_k > 0 && options_.top_k < ids_.n_tokens;
    const bool limits_mass = options_.top_p > 0 && options_.top_p < 1;
    for (size_t token = 0; token < logits.size(); ++token) {
        if (logits[token] == kMinusInfinity) continue;
        kept.push_back({logits[token], static_cast<int32_t>(token)});
    }
    if (limits_count && static_cast<size_t>(options_.top_k) < kept.size()) {
        std::nth_element(kept.begin(), kept.begin() + (options_.top_k - 1), kept.end(),
                         more_likely);
        kept.resize(static_cast<size_t>(options_.top_k));
    }
    double mass = 0;
    if (limits_mass) {
        // The sum does not depend on the order in which nth_element left the candidates.
        if (limits_count) std::sort(kept.begin(), kept.end(), more_likely);
        for (const Candidate& candidate : kept) mass += weight(candidate.logit, best);
    }
    if (options_.min_p > 0) {
        std::erase_if(kept, [&](const Candidate& candidate) {
            return weight(candidate.logit, best) < options_.min_p;
        });
    }
    if (limits_mass) {
        kept.resize(top_p_prefix(kept, best, options_.top_p * mass));
    } else {
        std::sort(kept.begin(), kept.end(), more_likely);
    }
    double total = 0;
    for (const Candidate& candidate : kept) total += weight(candidate.logit, best);
    double left = uniform * total;
    for (const Candidate& candidate : kept) {
        left -= weight(candidate.logit, best);
        if (left < 0) return candidate.token;
    }
    return kept.back().token;
}

/// Sorts as much of the candidates' beginning as has `wanted` of the mass, and returns how many
/// that are. A full sort of the vocabulary would cost more than the rest of the sampler.
size_t Sampler::top_p_prefix(std::vector<Candidate>& candidates, float best,
                             double wanted) const {
    double mass = 0;
    size_t sorted = 0;
    for (size_t portion = 64; sorted < candidates.size(); portion *= 4) {
        const size_t end = std::min(candidates.size(), sorted + portion);
        const auto from = candidates.begin() + static_cast<ptrdiff_t>(sorted);
        const auto to = candidates.begin() + static_cast<ptrdiff_t>(end);
        std::nth_element(from, to - 1, candidates.end(), more_likely);
        std::sort(from, to, more_likely);
        for (; sorted < end; ++sorted) {
            mass += weight(candidates[sorted].logit, best);
            if (mass >= wanted) return sorted + 1;
        }
    }
    return candidates.size();
}

void append_logprobs(std::span<const float> logits, const OutputIds& ids, TokenLogprob token,
                     SamplerScratch& scratch, std::vector<TokenLogprob>& out) {
    logits = logits.first(static_cast<size_t>(ids.vocab_rows));
    const float maximum = checked_maximum(logits, token.position);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - maximum);
    const double log_sum = maximum + std::log(sum);
    const auto logprob = [&](float logit) { return static_cast<float>(logit - log_sum); };

    std::vector<Candidate>& best = scratch.best;
    best.clear();
    const auto n_above = static_cast<size_t>(token.n_above);
    auto missing = ids.missing.begin();
    for (int32_t id = 0; n_above > 0 && id < ids.n_tokens; ++id) {
        if (missing != ids.missing.end() && *missing == id) {
            ++missing;
            continue;
        }
        const Candidate candidate{logits[static_cast<size_t>(id)], id};
        if (id == token.token || candidate.logit == kMinusInfinity) continue;
        // Ids ascend, so an equal logit belongs behind those that are there.
        if (best.size() == n_above && candidate.logit <= best.back().logit) continue;
        if (best.size() == n_above) best.pop_back();
        best.insert(std::upper_bound(best.begin(), best.end(), candidate, more_likely), candidate);
    }
    token.n_above = static_cast<int32_t>(best.size());
    token.logprob = logprob(logits[static_cast<size_t>(token.token)]);
    out.push_back(token);
    for (const Candidate& candidate : best) {
        out.push_back({candidate.token, token.position, logprob(candidate.logit), 0});
    }
}

}  // namespace fathom
