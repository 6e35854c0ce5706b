#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fathom {

struct LogitBias {
    int32_t token = 0;
    float bias = 0;
};

/// How one token is chosen. Zero is the default everywhere, as in fathom.h.
struct SamplingOptions {
    float temperature = 0;  // 0: greedy
    int32_t top_k = 0;
    float top_p = 0;
    float min_p = 0;
    float repetition_penalty = 0;
    float presence_penalty = 0;
    float frequency_penalty = 0;
    int32_t logprobs = 0;  // 1 + number of alternatives; 0: none
    uint64_t seed = 0;
    std::vector<LogitBias> logit_bias;
};

/// The flags of fathom_generate_options; src/abi asserts that the numbers are equal.
enum GenerateFlags : uint32_t {
    kGenerateAppend = 1,
    kGeneratePromptOnly = 2,
    kGeneratePromptLogprobs = 4,
    kGenerateIgnoreEos = 8,
};

/// fathom_generate_options with owned memory.
struct GenerateOptions {
    uint32_t flags = 0;
    uint64_t max_tokens = 0;  // 0: what the context leaves
    SamplingOptions sampling;
    std::vector<std::string> stop;
    std::vector<int32_t> stop_ids;
    uint64_t deadline_ns = 0;

    bool has(GenerateFlags flag) const { return (flags & flag) != 0; }
};

inline constexpr size_t kMaxLogitBias = 1024;
inline constexpr size_t kMaxStops = 64;
inline constexpr size_t kMaxStopBytes = 4096;
inline constexpr int32_t kMaxLogprobs = 21;

/// Throws Error(kInvalidArgument) naming field, found and wanted for a value outside the range
/// that fathom.h documents. `n_tokens`: ids are 0 to n_tokens - 1.
void check_generate_options(const GenerateOptions& options, int32_t n_tokens);

}  // namespace fathom
