#pragma once

#include <cstdint>

#include "backend/ops.h"
#include "format/checkpoint.h"
#include "model/config.h"

namespace fathom {

/// Sums over the tensors that a config demands; multi-token-prediction layers are not among them.
struct ParameterCount {
    uint64_t total = 0;
    uint64_t active = 0;  // what one token uses: of the routed experts num_experts_per_tok
};
ParameterCount count_parameters(const ModelConfig& config);

/// KV cache of one token in all layers.
uint64_t kv_bytes_per_token(const ModelConfig& config, DType kv_dtype);
/// The same if keys and values were cached for each head.
uint64_t mha_bytes_per_token(const ModelConfig& config, DType kv_dtype);

/// What a model will take, from headers alone.
struct ModelEstimate {
    uint64_t weight_bytes = 0;
    uint64_t workspace_bytes = 0;
    uint64_t kv_bytes = 0;
    uint64_t kv_bytes_per_token = 0;
    uint64_t mha_bytes_per_token = 0;
    uint64_t parameters = 0;
    uint64_t active_parameters = 0;
    uint64_t file_bytes = 0;
};

/// The KV type that fits the weights: F32 where all matrices are F32, else BF16.
DType natural_kv_dtype(const Checkpoint& checkpoint, const ModelConfig& config);

/// Throws what loading would throw for the same headers.
ModelEstimate estimate_model(const BackendTable& table, const BackendOptions& options,
                             const Checkpoint& checkpoint, const ModelConfig& config,
                             const Limits& limits);

}  // namespace fathom
