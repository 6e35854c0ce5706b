#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "engine/engine_options.h"
#include "engine/sampler.h"
#include "model/config.h"

namespace fathom {

class Dialect;
class Engine;
class EngineCore;
class ModelRuntime;
class Tokenizer;

/// What the engine needs of a model. load() makes it from a folder; a test may bring its own.
struct ModelParts {
    Plan plan{};
    std::shared_ptr<const void> owner;  // keeps what the plan points to
    DType natural_kv_dtype = DType::kF32;
    int64_t max_context = 0;
    uint64_t weight_bytes = 0;
    std::shared_ptr<const Tokenizer> tokenizer;  // null: ids in events, no text
    std::shared_ptr<const Dialect> dialect;      // null exactly where tokenizer is
    std::vector<int32_t> end_ids;                // end of turn, with or without a tokenizer
};

/// A model inside an engine, as the host holds it: weights, tokenizer, dialect, and a runtime with
/// executor, KV pool and scheduler of its own.
class EngineModel {
public:
    /// Blocks while it reads. Throws Error; nothing remains of a failure or cancellation.
    static std::shared_ptr<EngineModel> load(std::shared_ptr<Engine> engine,
                                             const std::string& folder,
                                             const ModelOptions& options);
    /// `config` is what facts are read from; a test may leave it empty.
    static std::shared_ptr<EngineModel> create(std::shared_ptr<Engine> engine, ModelParts parts,
                                               const ModelOptions& options, ModelConfig config);
    ~EngineModel();
    EngineModel(const EngineModel&) = delete;
    EngineModel& operator=(const EngineModel&) = delete;

    const std::shared_ptr<Engine>& engine() const { return engine_; }
    const std::shared_ptr<ModelRuntime>& runtime() const { return runtime_; }
    const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
    const std::shared_ptr<const Dialect>& dialect() const { return dialect_; }
    const ModelConfig& config() const { return config_; }
    const Vocabulary& vocabulary() const;
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

    std::shared_ptr<Engine> engine_;
    std::shared_ptr<ModelRuntime> runtime_;
    std::shared_ptr<const Tokenizer> tokenizer_;
    std::shared_ptr<const Dialect> dialect_;
    ModelConfig config_;
    Limits limits_{};
    int64_t context_ = 0;
    uint64_t weight_bytes_ = 0;
    uint64_t workspace_bytes_ = 0;
    uint64_t kv_cache_bytes_ = 0;
    uint64_t kv_page_bytes_ = 0;
    uint64_t fingerprint_ = 0;
    std::vector<std::pair<std::string, std::string>> metadata_;  // sorted by name
};

}  // namespace fathom
