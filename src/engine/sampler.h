#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/generate_options.h"

namespace fathom {

/// A token with its log-probability; the layout is that of fathom_logprob.
struct TokenLogprob {
    int32_t token;
    int32_t position;
    float logprob;
    int32_t n_above;
};

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four
/// random words as a pure function of counter and key.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Uniform in [0, 1) from seed and position alone, never from a batch slot or a call count, so
/// that a request draws the same numbers alone, in a batch and after being preempted.
double uniform_at(uint64_t seed, uint64_t position);

/// Which ids a model may produce. The head has vocab_rows rows; rows without a token exist only to
/// round the matrix up.
struct OutputIds {
    int32_t vocab_rows = 0;
    int32_t n_tokens = 0;                // ids from here on are padding
    std::vector<int32_t> missing;        // ids below n_tokens without a token, ascending
};

/// Buffers that all requests of one executor share; they reach their size in the first call.
struct SamplerScratch {
    struct Candidate {
        float logit;
        int32_t token;
    };
    std::vector<float> logits;          // [n_tokens], after bias and penalties
    std::vector<Candidate> candidates;  // at most [n_tokens]
    std::vector<Candidate> best;        // at most [kMaxLogprobs]: alternatives of a logprob

    void reserve(const OutputIds& ids);
};

/// Chooses tokens for one request. The order of operations is that of Hugging Face transformers
/// (LogitsProcessorList of generate()): logit bias, repetition penalty, frequency and presence
/// penalty, temperature, top-k, top-p, min-p. Each of the last three keeps a prefix of the tokens
/// sorted by descending logit, so that what is kept is the shortest of the three prefixes; top-p
/// counts the mass within the top-k, as there. Of equal logits the lower id counts as the more
/// likely, everywhere. Frequency and presence count generated tokens, repetition also the prompt.
class Sampler {
public:
    /// `ids` outlives the sampler.
    Sampler(const SamplingOptions& options, const OutputIds& ids);

    /// Tells of tokens of the prompt and of each generated token, for the penalties.
    void observe_prompt(std::span<const int32_t> tokens);
    void observe_generated(int32_t token);

    /// The token for `position` of the transcript. `logits` [vocab_rows]. Throws Error(kDevice)
    /// when no choice is possible: NaN, +infinity, or nothing above -infinity. Allocates nothing.
    int32_t sample(std::span<const float> logits, int64_t position, SamplerScratch& scratch) const;

private:
    std::span<const float> adjust(std::span<const float> logits, SamplerScratch& scratch) const;
    int32_t draw(std::span<const float> logits, float best, double uniform) const;
    int32_t draw_kept(std::span<const float> logits, float best, double uniform,
                      SamplerScratch& scratch) const;
    size_t top_p_prefix(std::vector<SamplerScratch::Candidate>& candidates, float best,
                        double wanted) const;
    double weight(float logit, float best) const;

    SamplingOptions options_;
    const OutputIds& ids_;
    bool adjusts_ = false;
    bool counts_ = false;
    std::vector<int32_t> count_;  // [n_tokens]: -1 unseen, else times generated
    std::vector<int32_t> seen_;   // tokens with count_ >= 0
};

/// Appends the log-probability of `token` and the `n_above` best other tokens to `out`. It is the
/// log-softmax, in double, over all rows of the head as the model computed them: before bias,
/// penalties and temperature, padding included, as reference implementations report it. Padding is
/// never an alternative. Throws Error(kDevice) like Sampler::sample.
void append_logprobs(std::span<const float> logits, const OutputIds& ids,
                     TokenLogprob token, SamplerScratch& scratch, std::vector<TokenLogprob>& out);

}  // namespace fathom
