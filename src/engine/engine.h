#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "engine/engine_options.h"

namespace fathom {

class EngineCore;
class Stream;

/// fathom_engine_stats.
struct EngineStats {
    Status device_status = Status::kOk;
    uint64_t n_models = 0;
    uint64_t n_sessions = 0;
    uint64_t n_waiting = 0;
    uint64_t n_running = 0;
    uint64_t kv_pages = 0;
    uint64_t kv_pages_used = 0;
    uint64_t n_steps = 0;
    uint64_t prefill_tokens = 0;
    uint64_t decode_tokens = 0;
    uint64_t memory_bytes = 0;
    uint64_t step_ns_total = 0;
    uint64_t backend_ns_total = 0;
};

/// Streams by index, as their owner keeps them: a wait makes no list of its own, which would have
/// to be allocated.
struct StreamList {
    const void* list;
    uint32_t n_streams;
    Stream& (*at)(const void* list, uint32_t index);

    Stream& operator[](uint32_t index) const { return at(list, index); }
};

/// What the host holds of an engine. Models, sessions and streams hold it too; the executor thread
/// and its requests hold only the EngineCore, so that the thread never joins itself.
class Engine {
public:
    static std::shared_ptr<Engine> create(const EngineOptions& options);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    /// kOk, or kTimeout when some streams had to be cancelled.
    Status shutdown(uint64_t timeout_ns);

    /// Steps on the caller's thread; returns whether work is left that a step could do now.
    bool step(uint64_t budget_ns);

    /// Index of a stream with an event, searched from behind the last one returned; empty when
    /// none came in time.
    std::optional<uint32_t> wait_any(const StreamList& streams, uint64_t timeout_ns);

    EngineStats stats() const;

    const std::shared_ptr<EngineCore>& core() const { return core_; }

private:
    explicit Engine(std::shared_ptr<EngineCore> core) : core_(std::move(core)) {}

    std::shared_ptr<EngineCore> core_;
    std::atomic<uint32_t> last_ready_{UINT32_MAX};  // of wait_any
};

}  // namespace fathom
