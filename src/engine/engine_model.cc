#include "engine/engine_model.h"

#include <algorithm>

#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/engine_core.h"
#include "engine/model_runtime.h"

namespace fathom {

std::shared_ptr<EngineModel> EngineModel::create(std::shared_ptr<Engine> engine, ModelParts parts,
                                                 const ModelOptions& options) {
    std::shared_ptr<EngineModel> model(new EngineModel(std::move(engine)));
    const DType kv_dtype = kv_dtype_of(options.kv_type, parts.natural_kv_dtype);
    const uint64_t kv_page_bytes = parts.kv_values_per_token * kPageTokens *
                                   static_cast<uint64_t>(dtype_bytes(kv_dtype));
    const RuntimePlan runtime = plan_runtime(model->core()->options(), options, kv_page_bytes,
                                             parts.max_context, kv_dtype);
    model->reserve(parts.plan, runtime, kv_page_bytes, parts.weight_bytes);
    model->start(std::move(parts));
    return model;
}

EngineModel::EngineModel(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {
    core()->check_accepting();
}

EngineModel::~EngineModel() {
    if (runtime_ != nullptr) core()->remove_model(*runtime_);
}

const std::shared_ptr<EngineCore>& EngineModel::core() const { return engine_->core(); }

const OutputIds& EngineModel::output_ids() const { return runtime_->output_ids(); }

const std::vector<int32_t>& EngineModel::end_ids() const { return runtime_->end_ids(); }

/// Counts what the model will take against the budget, before any of it is taken.
void EngineModel::reserve(const Plan& plan, const RuntimePlan& runtime, uint64_t kv_page_bytes,
                          uint64_t weight_bytes) {
    const std::shared_ptr<BackendDevice> device = core()->device();
    limits_ = runtime.limits;
    context_ = runtime.context;
    weight_bytes_ = weight_bytes;
    kv_page_bytes_ = kv_page_bytes;
    device->table().memory_need(&plan, &limits_, &device->options(), &workspace_bytes_,
                                &kv_cache_bytes_);
    const std::string parts = concat("weights ", weight_bytes_, ", workspace ", workspace_bytes_,
                                     ", KV cache ", kv_cache_bytes_);
    const uint64_t activations =
        checked_add(workspace_bytes_, kv_cache_bytes_).value_or(UINT64_MAX);
    const uint64_t total = checked_add(weight_bytes_, activations).value_or(UINT64_MAX);
    reservation_ = MemoryReservation(core(), total, parts);
}

void EngineModel::start(ModelParts parts) {
    tokenizer_ = parts.tokenizer;
    dialect_ = parts.dialect;
    runtime_ = core()->start_model(std::move(parts), limits_);
}

const std::string* EngineModel::metadata(std::string_view key) const {
    const auto found = std::lower_bound(
        metadata_.begin(), metadata_.end(), key,
        [](const auto& entry, std::string_view wanted) { return entry.first < wanted; });
    return found == metadata_.end() || found->first != key ? nullptr : &found->second;
}

}  // namespace fathom
