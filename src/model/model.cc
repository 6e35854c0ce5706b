#include "model/model.h"

#include "model/deepseek.h"
#include "model/tensors.h"

namespace fathom {

ModelOutline::ModelOutline(const Checkpoint& checkpoint, const ModelConfig& config)
    : config_(config),
      rope_(make_rope(config)),
      parts_(build_deepseek(config)),
      stored_(match_tensors(checkpoint, config, parts_.weights)),
      layout_(lay_out(checkpoint, parts_.weights, stored_)),
      notes_(unused_tensor_notes(checkpoint, config, parts_.weights)) {}

Plan ModelOutline::plan() const {
    Plan plan{};
    plan.shape = deepseek_shape(config_, rope_);
    plan.calls = parts_.calls.data();
    plan.n_calls = static_cast<int32_t>(parts_.calls.size());
    plan.slots = parts_.slots.data();
    plan.n_slots = static_cast<int32_t>(parts_.slots.size());
    plan.weights = layout_.weights.data();
    plan.n_weights = static_cast<int32_t>(layout_.weights.size());
    plan.logits_slot = parts_.logits_slot;
    return plan;
}

DType ModelOutline::natural_kv_dtype() const {
    for (const Weight& weight : layout_.weights) {
        if (weight.dtype != DType::kF32) return DType::kBF16;
    }
    return DType::kF32;
}

void ModelOutline::load(const Checkpoint& checkpoint, const DeviceMemory& memory,
                        const LoadProgress& progress) {
    load_weights({checkpoint, config_, parts_.weights, stored_}, layout_, memory, progress);
    // What pointed into the checkpoint and what only loading needs goes with it.
    std::vector<StoredWeight>().swap(stored_);
    std::vector<WeightSpec>().swap(parts_.weights);
}

std::unique_ptr<Model> Model::load(const BackendTable& table, void* device,
                                   const Checkpoint& checkpoint, const ModelConfig& config,
                                   const LoadProgress& progress) {
    std::unique_ptr<Model> model(new Model);
    model->config_ = config;
    model->outline_ = std::make_unique<ModelOutline>(checkpoint, config);
    model->memory_ =
        std::make_unique<DeviceMemory>(table, device, model->outline_->weight_bytes());
    model->outline_->load(checkpoint, *model->memory_, progress);
    model->plan_ = model->outline_->plan();
    return model;
}

}  // namespace fathom
