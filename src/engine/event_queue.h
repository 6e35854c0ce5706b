#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread.h"
#include "engine/sampler.h"

namespace fathom {

/// The numbers of FATHOM_EVENT_* and FATHOM_FINISH_*; src/abi asserts it.
enum class EventType : int32_t {
    kProgress = 1,
    kReasoning = 2,
    kText = 3,
    kLogprobs = 4,
    kDone = 5,
};

enum class FinishReason : int32_t {
    kNone = 0,
    kEndOfTurn = 1,
    kLength = 2,
    kStop = 3,
    kCancelled = 4,
    kDeadline = 5,
    kError = 6,
};

/// One event as the reader sees it. The views stay valid until the next call of next().
struct Event {
    EventType type = EventType::kDone;
    uint64_t sequence = 0;
    std::string_view text;
    std::span<const int32_t> ids;
    std::span<const TokenLogprob> logprobs;
    uint64_t tokens_done = 0;
    uint64_t tokens_total = 0;
    FinishReason finish_reason = FinishReason::kNone;
    Status status = Status::kOk;
};

/// fathom_usage.
struct Usage {
    bool finished = false;
    uint64_t prompt_fresh = 0;
    uint64_t prompt_cached = 0;
    uint64_t reasoning_tokens = 0;
    uint64_t output_tokens = 0;
    uint64_t queue_ns = 0;
    uint64_t prefill_ns = 0;
    uint64_t decode_ns = 0;
};

/// Events on their way from the engine's step to one reader: a ring of slots whose buffers are
/// kept and swapped, so that a token allocates nothing once they have their size. When the ring is
/// nearly full the scheduler stops giving rows to the sequence; DONE has a slot of its own, so that
/// the end is never held up.
class EventQueue {
public:
    /// Events that one step of one sequence may produce. A token is usually one event, and one
    /// more with log-probabilities; the parser may let go of more when a marker turns out to be
    /// text after all.
    static constexpr size_t kRoomForStep = 8;
    static constexpr size_t kSlots = 64;

    /// `engine_events` is woken with each event, for those who wait on many streams; it outlives
    /// the queue's producer.
    explicit EventQueue(WakeWord& engine_events);

    // ---- The producer: whoever runs the engine's step.

    /// Whether the events of one more step fit. If not, the next take() returns `was_full`.
    bool has_room();
    void push_progress(uint64_t tokens_done, uint64_t tokens_total);
    void push_text(EventType type, std::string_view text, std::span<const int32_t> ids);
    void push_logprobs(std::span<const TokenLogprob> logprobs);
    /// The last event, with the usage that is final now. Never throws: a message that memory
    /// cannot be found for is left out. The first call counts.
    void push_done(const Event& done, const Usage& usage) noexcept;
    void set_usage(const Usage& usage);

    // ---- The reader and those who watch.

    /// Takes the next event if there is one. `was_full` tells that the producer waits for room.
    bool take(Event& event, bool& was_full);
    /// Whether take() would return an event. Any thread.
    bool ready() const;
    /// Whether the last event was taken. Any thread.
    bool drained() const;
    /// Whether DONE was made. Any thread.
    bool finished() const;
    Usage usage() const;
    /// Any thread; made on first use.
    int32_t notify_descriptor();

    /// Woken with each event.
    WakeWord events;

private:
    struct Slot {
        EventType type = EventType::kDone;
        uint64_t sequence = 0;
        std::string text;
        std::vector<int32_t> ids;
        std::vector<TokenLogprob> logprobs;
        uint64_t tokens_done = 0;
        uint64_t tokens_total = 0;
        FinishReason finish_reason = FinishReason::kNone;
        Status status = Status::kOk;
    };

    Slot& open_slot(EventType type);
    void announce();
    static void view(const Slot& slot, Event& event);

    mutable std::mutex mutex_;
    WakeWord& engine_events_;
    std::vector<Slot> slots_;  // [kSlots]
    size_t first_ = 0;
    size_t n_slots_used_ = 0;
    Slot done_;
    Slot taken_;  // what the reader looks at
    bool has_done_ = false;
    bool done_taken_ = false;
    bool producer_waits_ = false;
    uint64_t n_events_ = 0;
    Usage usage_;
    std::unique_ptr<NotifyDescriptor> notify_;
};

}  // namespace fathom
