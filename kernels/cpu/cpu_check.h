#pragma once

#include <cstdint>

#include "backend/ops.h"

namespace fathom {

/// Throws Error(kInvalidArgument) where a plan or a batch is not what ops.h says. Everything that
/// the operators of any backend index with is checked here, once.
void check_plan(const Plan& plan, const Limits& limits);
void check_batch(const Limits& limits, int32_t vocab_rows, const Batch& batch);

}  // namespace fathom
