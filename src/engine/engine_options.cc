#include "engine/engine_options.h"

#include <algorithm>

#include "base/checked.h"
#include "base/status.h"

namespace fathom {
namespace {

template <typename Integer>
void check_range(const char* field, Integer value, Integer low, Integer high) {
    if (value >= low && value <= high) return;
    fail(Status::kInvalidArgument, "engine options: ", field, ": found ", value, ", wanted ", low,
         " to ", high);
}

/// Rows of a step that may want logits beside the last one of each sequence: log-probabilities of
/// prompts. The buffer is this many times the vocabulary, so it has to have a limit of its own.
constexpr int32_t kScoredRows = 64;

constexpr int64_t kDefaultContext = 4096;

}  // namespace

void check_engine_options(const EngineOptions& options) {
    check_range("mode", static_cast<int32_t>(options.mode), 0, 1);
    check_range("n_threads", options.n_threads, 0, 1024);
    check_range("cpu_level", static_cast<int32_t>(options.cpu_level), 0, 4);
    check_range("max_batch_rows", options.max_batch_rows, 0, 65536);
    check_range("max_sequences", options.max_sequences, 0, 4096);
}

DType kv_dtype_of(KvType type, DType natural) {
    switch (type) {
        case KvType::kAuto: return natural;
        case KvType::kBf16: return DType::kBF16;
        case KvType::kF32: return DType::kF32;
    }
    fail(Status::kInvalidArgument, "model options: kv_type: found ", static_cast<int32_t>(type),
         ", wanted 0 to 2");
}

RuntimePlan plan_runtime(const EngineOptions& engine, const ModelOptions& model,
                         uint64_t kv_page_bytes, int64_t max_context, DType kv_dtype) {
    check_engine_options(engine);
    if (model.context > static_cast<uint64_t>(max_context)) {
        fail(Status::kInvalidArgument, "model options: context: found ", model.context,
             ", the checkpoint allows at most ", max_context);
    }
    RuntimePlan plan{};
    plan.context = model.context == 0 ? std::min(kDefaultContext, max_context)
                                      : static_cast<int64_t>(model.context);
    Limits& limits = plan.limits;
    limits.max_rows = engine.max_batch_rows == 0 ? kDefaultBatchRows : engine.max_batch_rows;
    limits.max_sequences =
        std::min(engine.max_sequences == 0 ? kDefaultSequences : engine.max_sequences,
                 limits.max_rows);
    limits.max_logit_rows = std::min(limits.max_rows, limits.max_sequences + kScoredRows);
    limits.kv_dtype = kv_dtype;
    int64_t n_pages = ceil_div(plan.context, kPageTokens);
    if (engine.kv_cache_bytes != 0) {
        const uint64_t fit = engine.kv_cache_bytes / kv_page_bytes;
        if (fit == 0) {
            fail(Status::kBudget, "engine options: kv_cache_bytes: found ", engine.kv_cache_bytes,
                 ", one page of ", kPageTokens, " tokens of this model needs ", kv_page_bytes);
        }
        n_pages = static_cast<int64_t>(std::min<uint64_t>(fit, INT32_MAX));
    }
    limits.n_pages = static_cast<int32_t>(n_pages);
    return plan;
}

}  // namespace fathom
