#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend/ops.h"

namespace fathom {

class Dialect;
class Tokenizer;

/// What the engine needs of a model. load() makes it from a folder; a test may bring its own.
struct ModelParts {
    Plan plan{};
    std::shared_ptr<const void> owner;  // keeps what the plan points to
    int32_t n_tokens = 0;              // ids that may be produced: 0 to n_tokens - 1,
    std::vector<int32_t> missing_ids;  // except these, ascending
    uint64_t kv_values_per_token = 0;  // in all layers
    DType natural_kv_dtype = DType::kF32;
    int64_t max_context = 0;
    uint64_t weight_bytes = 0;
    std::shared_ptr<const Tokenizer> tokenizer;  // null: ids in events, no text
    const Dialect* dialect = nullptr;  // static; null exactly where tokenizer is
    std::vector<int32_t> end_ids;      // end of turn, with or without a tokenizer
};

}  // namespace fathom
