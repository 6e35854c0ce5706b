#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/ops.h"
#include "format/checkpoint.h"
#include "model/config.h"
#include "model/plan.h"
#include "model/rope.h"
#include "model/weights.h"

namespace fathom {

/// A checkpoint's plan without its weights: everything that headers alone decide.
class ModelOutline {
public:
    /// Throws Error where a tensor is missing or contradicts the config.
    ModelOutline(const Checkpoint& checkpoint, const ModelConfig& config);
    ModelOutline(const ModelOutline&) = delete;
    ModelOutline& operator=(const ModelOutline&) = delete;

    /// The plan; its weights' pointers are null until they are loaded.
    Plan plan() const;
    const WeightLayout& layout() const { return layout_; }
    uint64_t weight_bytes() const { return layout_.bytes; }
    /// F32 where all matrices are F32, else BF16.
    DType natural_kv_dtype() const;
    /// Sentences for the log about tensors that were left out.
    const std::vector<std::string>& notes() const { return notes_; }

    /// Fills `memory` and the plan's pointers; see load_weights().
    void load(const Checkpoint& checkpoint, const DeviceMemory& memory,
              const LoadProgress& progress);

private:
    ModelConfig config_;
    Rope rope_;
    PlanParts parts_;
    std::vector<StoredWeight> stored_;
    WeightLayout layout_;
    std::vector<std::string> notes_;
};

/// A model in a backend's memory: immutable after load, so any number of executors may share it.
/// The device outlives the model.
class Model {
public:
    /// Checks all headers, allocates once, reads. Throws Error; a failure or cancellation leaves
    /// nothing behind. `progress` may be empty; it is called on this thread.
    static std::unique_ptr<Model> load(const BackendTable& table, void* device,
                                       const Checkpoint& checkpoint, const ModelConfig& config,
                                       const LoadProgress& progress);

    const Plan& plan() const { return plan_; }
    const ModelConfig& config() const { return config_; }
    uint64_t weight_bytes() const { return memory_->bytes(); }
    DType natural_kv_dtype() const { return outline_->natural_kv_dtype(); }
    const std::vector<std::string>& notes() const { return outline_->notes(); }

private:
    Model() = default;

    ModelConfig config_;
    std::unique_ptr<ModelOutline> outline_;
    std::unique_ptr<DeviceMemory> memory_;
    Plan plan_{};
};

}  // namespace fathom
