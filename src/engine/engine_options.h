#pragma once

#include <cstdint>
#include <string>

#include "backend/ops.h"
#include "base/log.h"

namespace fathom {

enum class EngineMode : int32_t { kThreaded = 0, kManual = 1 };

/// fathom_engine_options, with what only tests set at the end.
struct EngineOptions {
    EngineMode mode = EngineMode::kThreaded;
    int32_t n_threads = 0;
    CpuIsa cpu_level = CpuIsa::kAuto;
    bool deterministic = false;
    int32_t max_batch_rows = 0;  // 0: 512
    int32_t max_sequences = 0;   // 0: 64
    uint64_t memory_budget = 0;  // 0: no limit
    uint64_t kv_cache_bytes = 0;  // 0: one session of the model's default context
    LogHook log;
    const BackendTable* backend = nullptr;  // nullptr: the CPU backend
    int32_t device_index = 0;
    std::string driver_folder;  // empty: the system's

    MlaForm mla_form = MlaForm::kAuto;
    uint64_t (*clock)() = nullptr;          // nullptr: monotonic_ns
};

/// The same numbers as FATHOM_KV_*.
enum class KvType : int32_t { kAuto = 0, kBf16 = 1, kF32 = 2 };

/// fathom_model_options with owned memory.
struct ModelOptions {
    KvType kv_type = KvType::kAuto;
    uint64_t context = 0;  // 0: the smaller of 4096 and the checkpoint's
    std::string dialect;   // empty: recognised
    int32_t (*progress)(void* user_data, uint64_t bytes_done, uint64_t bytes_total) = nullptr;
    void* progress_user_data = nullptr;
};

/// Throws Error(kInvalidArgument) for a value outside its documented range.
void check_engine_options(const EngineOptions& options);

inline constexpr int32_t kDefaultBatchRows = 512;
inline constexpr int32_t kDefaultSequences = 64;

/// FATHOM_LOG_*.
inline constexpr int32_t kLogWarning = 1;
inline constexpr int32_t kLogInfo = 2;

/// What an executor is prepared for, and the context of its sessions. Estimating and loading both
/// ask here, so that they agree.
struct RuntimePlan {
    Limits limits;
    int64_t context;
};

/// `kv_page_bytes` (with `kv_dtype`) and `max_context` are facts of the checkpoint. Throws
/// Error(kInvalidArgument) for a context that the checkpoint does not allow, Error(kBudget) for a
/// KV cache smaller than one page.
RuntimePlan plan_runtime(const EngineOptions& engine, const ModelOptions& model,
                         uint64_t kv_page_bytes, int64_t max_context, DType kv_dtype);

/// The KV type that was asked for, or `natural`, the one that fits the weights.
DType kv_dtype_of(KvType type, DType natural);

}  // namespace fathom
