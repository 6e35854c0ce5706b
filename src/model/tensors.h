#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/checkpoint.h"
#include "model/config.h"
#include "model/plan.h"

namespace fathom {

/// The tensors of the checkpoint behind one weight of the plan.
struct StoredWeight {
    const TensorInfo* data;
    const TensorInfo* scale;  // of an F8_E4M3 tensor, else null
    DType stored;             // type of `data`
    DType dtype;              // type in memory
};

/// Finds every tensor that the plan needs and checks its type and shape against what the config
/// demands, before a byte of it is read. One entry for each weight, in the plan's order; valid
/// while the checkpoint lives. Throws Error naming file, tensor, what was found and wanted.
std::vector<StoredWeight> match_tensors(const Checkpoint& checkpoint, const ModelConfig& config,
                                        const std::vector<WeightSpec>& weights);

/// Sentences about tensors that lie in a loaded layer and are not used, for the log: they may mean
/// that the checkpoint is of a variant that this library does not know.
std::vector<std::string> unused_tensor_notes(const Checkpoint& checkpoint,
                                             const ModelConfig& config,
                                             const std::vector<WeightSpec>& weights);

}  // namespace fathom
