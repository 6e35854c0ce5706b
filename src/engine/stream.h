#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "engine/event_queue.h"

namespace fathom {

class EngineCore;
class Session;

/// What a stream's handle and the engine's request share.
struct StreamState {
    explicit StreamState(WakeWord& engine_events) : queue(engine_events) {}

    EventQueue queue;
    std::atomic<bool> cancelled{false};
};

/// One answer on its way, as its reader holds it. Destroying it cancels what still runs.
class Stream {
public:
    Stream(std::shared_ptr<Session> session, std::shared_ptr<EngineCore> core,
           std::shared_ptr<StreamState> state);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    /// Waits for the next event; false when none came in time. Throws Error(kBusy) while another
    /// thread is inside, Error(kBadState) once DONE was delivered.
    bool next(uint64_t timeout_ns, Event& event);

    /// Async-signal-safe: an atomic store and a wake.
    void cancel() noexcept;

    Usage usage() const { return state_->queue.usage(); }
    int64_t notify_handle() { return state_->queue.notify_descriptor(); }

    const std::shared_ptr<EngineCore>& core() const { return core_; }
    const StreamState& state() const { return *state_; }

private:
    std::shared_ptr<Session> session_;  // kept alive; the engine keeps only what it needs
    std::shared_ptr<EngineCore> core_;
    std::shared_ptr<StreamState> state_;
    std::atomic<bool> reading_{false};
};

}  // namespace fathom
