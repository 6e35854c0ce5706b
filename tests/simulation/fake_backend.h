#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine_model.h"

// A backend whose "latent row" of a token is a hash of the rows of all tokens before it, read from
// the pages that it is given, and whose logits are a function of that hash. Any mix-up of pages,
// sequences, positions, truncation, reuse or eviction therefore shows as a wrong token.
namespace fathom::simulation {

inline constexpr int32_t kVocabRows = 40;
inline constexpr int32_t kTokens = 37;  // the rows above are padding

/// The logits after `tokens`, computed without pages: what the engine has to arrive at.
std::vector<float> expected_logits(std::span<const int32_t> tokens);

/// The same for a transcript that grows.
class Oracle {
public:
    void assign(std::span<const int32_t> tokens);
    void push(int32_t token);
    std::vector<float> logits() const;

private:
    uint64_t sum_ = 0;
    uint64_t row_ = 0;
    int32_t n_rows_ = 0;
};

/// What a test may order and see. Atomic because several engines may run at once.
struct FakeControl {
    std::atomic<int32_t> fail_run_after{-1};  // runs that succeed before one fails; -1: none fails
    std::atomic<int32_t> nan_at_token{-1};    // rows of this token give NaN logits
    std::atomic<uint64_t> n_runs{0};
    std::atomic<int32_t> largest_batch{0};
    std::atomic<int32_t> n_executors{0};
    std::atomic<int32_t> n_devices{0};
    std::atomic<const char*> broken_rule{nullptr};  // of batches, as backend/ops.h states them
};
FakeControl& fake_control();
void reset_fake_control();

const BackendTable* fake_backend();

/// A model for that backend: `max_context` tokens, no tokenizer; `end_ids` end the answer.
ModelParts fake_model(int64_t max_context, std::vector<int32_t> end_ids = {});

}  // namespace fathom::simulation
