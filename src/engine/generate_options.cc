#include "engine/generate_options.h"

#include <charconv>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fathom {
namespace {

/// The shortest digits that give this float, as the caller wrote it.
std::string digits(float value) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

struct Range {
    float low;
    float high;
};

/// `value` inside the range; NaN is outside of everything. Zero, the default, is always allowed.
void check_range(std::string_view field, float value, Range range) {
    if (value == 0 || (value >= range.low && value <= range.high)) return;
    fail(Status::kInvalidArgument, "generate options: ", field, ": found ", digits(value),
         ", wanted 0 or ", digits(range.low), " to ", digits(range.high));
}

void check_integer(std::string_view field, int32_t value, int32_t high) {
    if (value >= 0 && value <= high) return;
    fail(Status::kInvalidArgument, "generate options: ", field, ": found ", value,
         ", wanted 0 to ", high);
}

void check_count(std::string_view field, size_t count, size_t limit) {
    if (count <= limit) return;
    fail(Status::kInvalidArgument, "generate options: ", field, ": found ", count,
         ", wanted at most ", limit);
}

void check_id(std::string_view field, size_t index, int32_t id, int32_t n_tokens) {
    if (id >= 0 && id < n_tokens) return;
    fail(Status::kInvalidArgument, "generate options: ", field, "[", index, "]: found token ", id,
         ", wanted 0 to ", n_tokens - 1);
}

}  // namespace

void check_generate_options(const GenerateOptions& options, int32_t n_tokens) {
    constexpr uint32_t kKnownFlags = kGenerateAppend | kGeneratePromptOnly |
                                     kGeneratePromptLogprobs | kGenerateIgnoreEos;
    if ((options.flags & ~kKnownFlags) != 0) {
        fail(Status::kInvalidArgument, "generate options: flags: found ", options.flags,
             ", wanted only bits of ", kKnownFlags);
    }
    const SamplingOptions& sampling = options.sampling;
    check_range("temperature", sampling.temperature, {0.01F, 100});
    check_integer("top_k", sampling.top_k, INT32_MAX);
    check_range("top_p", sampling.top_p, {0, 1});
    check_range("min_p", sampling.min_p, {0, 1});
    check_range("repetition_penalty", sampling.repetition_penalty, {0.01F, 100});
    check_range("presence_penalty", sampling.presence_penalty, {-2, 2});
    check_range("frequency_penalty", sampling.frequency_penalty, {-2, 2});
    check_integer("logprobs", sampling.logprobs, kMaxLogprobs);

    check_count("n_logit_bias", sampling.logit_bias.size(), kMaxLogitBias);
    for (size_t index = 0; index < sampling.logit_bias.size(); ++index) {
        check_id("logit_bias", index, sampling.logit_bias[index].token, n_tokens);
        check_range("logit_bias", sampling.logit_bias[index].bias, {-1e4F, 1e4F});
    }
    check_count("n_stop_ids", options.stop_ids.size(), kMaxStops);
    for (size_t index = 0; index < options.stop_ids.size(); ++index) {
        check_id("stop_ids", index, options.stop_ids[index], n_tokens);
    }
    check_count("n_stop", options.stop.size(), kMaxStops);
    for (size_t index = 0; index < options.stop.size(); ++index) {
        const size_t bytes = options.stop[index].size();
        if (bytes >= 1 && bytes <= kMaxStopBytes) continue;
        fail(Status::kInvalidArgument, "generate options: stop[", index, "]: found ", bytes,
             " bytes, wanted 1 to ", kMaxStopBytes);
    }
}

}  // namespace fathom
