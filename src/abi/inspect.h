#pragma once

#include <string>

#include "engine/engine_options.h"
#include "fathom/fathom.h"
#include "format/checkpoint.h"
#include "model/config.h"
#include "model/estimate.h"

namespace fathom::abi {

/// What the headers of a checkpoint folder say. Throws what loading would throw for them.
class FolderFacts {
public:
    FolderFacts(std::string folder, const EngineOptions& engine, const ModelOptions& model);

    fathom_memory_plan memory_plan() const;
    /// Throws Error(kBudget) when an engine with these options would not take the model.
    void check_budget() const;
    std::string json() const;

private:
    Checkpoint checkpoint_;
    ModelConfig config_;
    uint64_t memory_budget_;
    DType kv_dtype_;
    RuntimePlan runtime_;
    ModelEstimate estimate_;
    std::string dialect_;
};

}  // namespace fathom::abi
