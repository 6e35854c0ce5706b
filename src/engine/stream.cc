#include "engine/stream.h"

#include <utility>

#include "engine/engine_core.h"
#include "engine/session.h"

namespace fathom {

Stream::Stream(std::shared_ptr<Session> session, std::shared_ptr<EngineCore> core,
               std::shared_ptr<StreamState> state)
    : session_(std::move(session)), core_(std::move(core)), state_(std::move(state)) {}

Stream::~Stream() {
    if (state_->queue.finished()) return;
    state_->cancelled.store(true);
    core_->settle_if_idle();
}

void Stream::cancel() noexcept {
    state_->cancelled.store(true);
    core_->wake();
}

bool Stream::next(uint64_t timeout_ns, Event& event) {
    if (reading_.exchange(true)) {
        fail(Status::kBusy, "stream: another thread is waiting for its next event");
    }
    struct Reading {
        std::atomic<bool>& flag;
        ~Reading() { flag.store(false); }
    };
    const Reading reading{reading_};
    EventQueue& queue = state_->queue;
    const uint64_t until_ns = deadline_after(timeout_ns);
    while (true) {
        const uint32_t seen = queue.events.value();
        bool was_full = false;
        if (queue.take(event, was_full)) {
            if (was_full) core_->wake();
            return true;
        }
        if (queue.drained()) fail(Status::kBadState, "stream: its last event was delivered");
        if (monotonic_ns() >= until_ns) return false;
        queue.events.wait(seen, until_ns);
    }
}

}  // namespace fathom
