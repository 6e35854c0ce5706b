#include "engine/engine.h"

#include "base/thread.h"
#include "engine/engine_core.h"
#include "engine/stream.h"

namespace fathom {

std::shared_ptr<Engine> Engine::create(const EngineOptions& options) {
    return std::shared_ptr<Engine>(new Engine(std::make_shared<EngineCore>(options)));
}

Engine::~Engine() { core_->shutdown(0); }

Status Engine::shutdown(uint64_t timeout_ns) { return core_->shutdown(timeout_ns); }

bool Engine::step(uint64_t budget_ns) { return core_->step(budget_ns); }

EngineStats Engine::stats() const { return core_->stats(); }

std::optional<uint32_t> Engine::wait_any(const StreamList& streams, uint64_t timeout_ns) {
    const uint32_t n_streams = streams.n_streams;
    if (n_streams == 0) fail(Status::kInvalidArgument, "wait_any: found no streams, wanted 1");
    for (uint32_t index = 0; index < n_streams; ++index) {
        if (streams[index].core() != core_) {
            fail(Status::kInvalidArgument, "wait_any: streams[", index,
                 "] belongs to another engine");
        }
    }
    const uint64_t until_ns = deadline_after(timeout_ns);
    while (true) {
        const uint32_t seen = core_->events().value();
        bool any_left = false;
        const uint32_t first = last_ready_.load(std::memory_order_relaxed) + 1;
        for (uint32_t tried = 0; tried < n_streams; ++tried) {
            const uint32_t index = (first % n_streams + tried) % n_streams;
            const EventQueue& queue = streams[index].state().queue;
            if (queue.ready()) {
                last_ready_.store(index, std::memory_order_relaxed);
                return index;
            }
            any_left |= !queue.drained();
        }
        if (!any_left) {
            fail(Status::kInvalidArgument, "wait_any: all ", n_streams,
                 " streams have delivered their last event");
        }
        if (monotonic_ns() >= until_ns) return std::nullopt;
        core_->events().wait(seen, until_ns);
    }
}

}  // namespace fathom
