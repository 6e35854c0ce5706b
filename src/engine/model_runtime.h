#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/backend_device.h"
#include "engine/model_parts.h"
#include "engine/request.h"
#include "engine/scheduler.h"

namespace fathom {

/// One model at work: executor, KV pool, scheduler and the requests of its sessions. Everything
/// here but the constructor runs under the engine's gate, one thread at a time.
class ModelRuntime {
public:
    ModelRuntime(std::shared_ptr<BackendDevice> device, ModelParts parts, const Limits& limits,
                 uint64_t (*clock)(), std::atomic<int64_t>& n_active);
    ~ModelRuntime();
    ModelRuntime(const ModelRuntime&) = delete;
    ModelRuntime& operator=(const ModelRuntime&) = delete;

    const OutputIds& output_ids() const { return ids_; }
    const std::vector<int32_t>& end_ids() const { return end_ids_; }

    /// Takes one request out of the list; allocates nothing.
    void submit(std::list<Request>& inbox, std::list<Request>::iterator request) noexcept;
    void close(SessionState& session) noexcept { scheduler_.close(session.sequence); }

    /// Ends what was cancelled or is late, pauses what has a slow reader. Returns the earliest
    /// deadline of what is left. With `cancel_all` everything ends.
    uint64_t settle(uint64_t now_ns, bool cancel_all) noexcept;
    bool has_work() const { return scheduler_.has_work(); }

    /// One step: rows from the scheduler, one call of the backend, and what follows from its
    /// logits. Throws Error when the backend failed; then nothing was committed.
    struct StepCounts {
        uint64_t prefill_tokens = 0;
        uint64_t decode_tokens = 0;
        uint64_t backend_ns = 0;
        bool ran = false;
    };
    StepCounts step();

    /// Every request ends with this error: the device is of no use any more.
    void fail_all(Status status, std::string_view text) noexcept;

    int32_t n_waiting() const { return scheduler_.n_waiting(); }
    int32_t n_running() const { return scheduler_.n_running(); }
    const KvPool& pool() const { return scheduler_.pool(); }

    /// Gives everything back: the engine is over. Facts that do not need the device stay.
    void tear_down() noexcept;

private:
    using Position = std::list<Request>::iterator;

    void fill_batch(const std::vector<ScheduledRows>& rows);
    void commit(const std::vector<ScheduledRows>& rows, StepCounts& counts);
    void commit_one(Request& request, const Request::Computed& computed,
                    StepCounts& counts) noexcept;
    void end(Position request, const Request::Ending& ending) noexcept;

    std::shared_ptr<BackendDevice> device_;  // null once torn down
    ModelParts parts_;
    Limits limits_;
    uint64_t (*clock_)();
    std::atomic<int64_t>& n_active_;  // the engine's count of requests
    OutputIds ids_;
    std::vector<int32_t> end_ids_;
    BackendExecutor executor_;  // before the pool, whose size it has to have found possible
    Scheduler scheduler_;
    std::list<Request> requests_;
    SamplerScratch scratch_;

    std::vector<int32_t> token_;           // [max_rows]
    std::vector<int32_t> position_;        // [max_rows]
    std::vector<int32_t> logit_row_;       // [max_logit_rows]
    std::vector<SequenceRows> sequences_;  // [max_sequences]
    Batch batch_{};
};

}  // namespace fathom
