#pragma once

#include "model/config.h"
#include "model/plan.h"
#include "model/rope.h"

namespace fathom {

/// The forward pass of DeepSeek-V2, DeepSeek-V3 and their relatives as a plan, with every weight
/// that it needs. Layers from num_hidden_layers on (multi-token prediction) are no part of it.
PlanParts build_deepseek(const ModelConfig& config);

/// What the operators need to know. Points into `rope`.
ModelShape deepseek_shape(const ModelConfig& config, const Rope& rope);

}  // namespace fathom
