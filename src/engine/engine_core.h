#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread.h"
#include "engine/backend_device.h"
#include "engine/engine.h"
#include "engine/model_runtime.h"
#include "engine/request.h"
#include "engine/step_gate.h"

namespace fathom {

/// The engine itself. It holds no handle of the host's: requests hold the shared parts of sessions
/// and streams, so that whichever handle is released last, and on which thread, the executor
/// thread never destroys what would join it.
class EngineCore {
public:
    explicit EngineCore(const EngineOptions& options);
    EngineCore(const EngineCore&) = delete;
    EngineCore& operator=(const EngineCore&) = delete;

    const EngineOptions& options() const { return options_; }
    uint64_t now_ns() const { return options_.clock(); }

    // ---- Any thread.

    /// Posts the list's only request. Throws Error(kShutdown) or Error(kDeviceLost), which leaves
    /// the list as it was.
    void post(std::list<Request>& request);
    /// The session's handle is gone; frees its pages now if no step runs, else after it.
    void close(std::shared_ptr<SessionState> session) noexcept;
    /// Ends cancelled requests now if no step runs; else the step does.
    void settle_if_idle() noexcept;
    /// Tells the host's hook. Not to be called with a lock held.
    void log(int32_t level, std::string_view text) noexcept;
    /// Async-signal-safe.
    void wake() noexcept { work_.wake(); }
    /// Woken with each event of each stream.
    WakeWord& events() { return events_; }

    /// Throws Error(kShutdown) or Error(kDeviceLost) when no new work is taken.
    void check_accepting();
    /// The device, while the engine is not shut down; else throws Error(kShutdown).
    std::shared_ptr<BackendDevice> device();
    /// Makes the runtime and takes it into the steps.
    std::shared_ptr<ModelRuntime> start_model(ModelParts parts, const Limits& limits);
    /// Its requests end as cancelled. Waits for the present step.
    void remove_model(ModelRuntime& runtime) noexcept;

    /// Counts `bytes` against the budget or throws Error(kBudget); `parts` says what they are for.
    void reserve_memory(uint64_t bytes, std::string_view parts);
    void release_memory(uint64_t bytes) noexcept { memory_bytes_.fetch_sub(bytes); }
    void count_sessions(int64_t change) noexcept { n_sessions_.fetch_add(change); }

    Status shutdown(uint64_t timeout_ns);
    bool step(uint64_t budget_ns);
    EngineStats stats() const;

private:
    void refuse_unless_accepting() const;
    void run_executor() noexcept;
    bool step_once() noexcept;
    struct GuestStep {
        bool more;
        uint64_t earliest_deadline_ns;
    };
    GuestStep step_as_guest() noexcept;
    void settle() noexcept;
    ModelRuntime* next_runtime() noexcept;
    void fail_step(ModelRuntime& runtime, Status status, std::string_view text) noexcept;
    void fail_device(Status status, std::string_view text) noexcept;
    void publish() noexcept;
    void wait_until_finished();
    void tear_down() noexcept;

    EngineOptions options_;
    StepGate gate_;
    std::shared_ptr<BackendDevice> device_;             // under the gate
    std::vector<std::shared_ptr<ModelRuntime>> models_;  // under the gate
    size_t next_model_ = 0;                             // under the gate
    uint64_t earliest_deadline_ns_ = UINT64_MAX;        // under the gate
    std::string failure_;                               // under the gate
    bool failure_is_news_ = false;                      // under the gate: not logged yet

    mutable std::mutex inbox_mutex_;
    std::list<Request> inbox_;              // at most one request for each session
    std::shared_ptr<SessionState> closed_;  // linked through next_closed
    bool accepting_ = true;

    std::atomic<uint64_t> shutdown_until_ns_{UINT64_MAX};
    std::mutex shutdown_mutex_;
    bool is_shut_down_ = false;
    Status shutdown_status_ = Status::kOk;
    Thread executor_;

    WakeWord work_;      // something to do for the executor
    WakeWord events_;
    WakeWord finished_;  // a request ended
    std::atomic<bool> cancel_all_{false};
    std::atomic<bool> stop_{false};
    std::atomic<bool> stepping_{false};

    std::atomic<int32_t> device_status_{0};
    std::atomic<int64_t> n_active_{0};  // posted and not finished
    std::atomic<int64_t> n_posted_{0};  // in the inbox
    std::atomic<int64_t> n_models_{0};
    std::atomic<int64_t> n_sessions_{0};
    std::atomic<int64_t> n_waiting_{0};
    std::atomic<int64_t> n_running_{0};
    std::atomic<int64_t> kv_pages_{0};
    std::atomic<int64_t> kv_pages_used_{0};
    std::atomic<uint64_t> n_steps_{0};
    std::atomic<uint64_t> prefill_tokens_{0};
    std::atomic<uint64_t> decode_tokens_{0};
    std::atomic<uint64_t> memory_bytes_{0};
    std::atomic<uint64_t> step_ns_total_{0};
    std::atomic<uint64_t> backend_ns_total_{0};
};

}  // namespace fathom
