#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/engine_options.h"
#include "engine/memory_reservation.h"
#include "engine/model_parts.h"
#include "engine/sampler.h"
#include "model/config.h"

namespace fathom {

class Checkpoint;
class Engine;
class EngineCore;
class ModelRuntime;

/// A model inside an engine, as the host holds it: weights, tokenizer, dialect, and a runtime with
/// executor, KV pool and scheduler of its own.
class EngineModel {
public:
    /// Blocks while it reads. Throws Error; nothing remains of a failure or cancellation.
    static std::shared_ptr<EngineModel> load(std::shared_ptr<Engine> engine,
                                             const std::string& folder,
                                             const ModelOptions& options);
    /// The same from parts that are there already.
    static std::shared_ptr<EngineModel> create(std::shared_ptr<Engine> engine, ModelParts parts,
                                               const ModelOptions& options);
    ~EngineModel();
    EngineModel(const EngineModel&) = delete;
    EngineModel& operator=(const EngineModel&) = delete;

    const std::shared_ptr<Engine>& engine() const { return engine_; }
    const std::shared_ptr<ModelRuntime>& runtime() const { return runtime_; }
    const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
    const Dialect* dialect() const { return dialect_; }
    const ModelConfig& config() const { return config_; }
    const std::shared_ptr<EngineCore>& core() const;
    const OutputIds& output_ids() const;
    const std::vector<int32_t>& end_ids() const;
    const Limits& limits() const { return limits_; }

    int64_t context() const { return context_; }  // most tokens in a session
    uint64_t weight_bytes() const { return weight_bytes_; }
    uint64_t workspace_bytes() const { return workspace_bytes_; }
    uint64_t kv_cache_bytes() const { return kv_cache_bytes_; }
    uint64_t kv_page_bytes() const { return kv_page_bytes_; }
    uint64_t fingerprint() const { return fingerprint_; }

    /// Text facts by name, as fathom_model_metadata_get() lists them; null when there is none.
    const std::string* metadata(std::string_view key) const;

private:
    explicit EngineModel(std::shared_ptr<Engine> engine);
    void reserve(const Plan& plan, const RuntimePlan& runtime, uint64_t kv_page_bytes,
                 uint64_t weight_bytes);
    void start(ModelParts parts);
    void read_facts(const Checkpoint& checkpoint, const ModelParts& parts);

    std::shared_ptr<Engine> engine_;
    std::shared_ptr<ModelRuntime> runtime_;
    std::shared_ptr<const Tokenizer> tokenizer_;
    const Dialect* dialect_ = nullptr;
    ModelConfig config_;
    Limits limits_{};
    int64_t context_ = 0;
    uint64_t weight_bytes_ = 0;
    uint64_t workspace_bytes_ = 0;
    uint64_t kv_cache_bytes_ = 0;
    uint64_t kv_page_bytes_ = 0;
    uint64_t fingerprint_ = 0;
    MemoryReservation reservation_;
    std::vector<std::pair<std::string, std::string>> metadata_;  // sorted by name
};

}  // namespace fathom
