#include "engine/event_queue.h"

#include <utility>

namespace fathom {
namespace {

constexpr size_t kFirstTextBytes = 128;  // longer than the text of nearly every token
constexpr size_t kFirstIds = 8;

}  // namespace

EventQueue::EventQueue(WakeWord& engine_events) : engine_events_(engine_events), slots_(kSlots) {
    taken_.text.reserve(kFirstTextBytes);
    taken_.ids.reserve(kFirstIds);
    for (Slot& slot : slots_) {
        slot.text.reserve(kFirstTextBytes);
        slot.ids.reserve(kFirstIds);
    }
}

bool EventQueue::has_room() {
    const std::lock_guard lock(mutex_);
    producer_waits_ = kSlots - n_slots_used_ < kRoomForStep;
    return !producer_waits_;
}

/// The slot behind the last one, emptied; with the mutex held. A step that makes more events than
/// there can be room for is a mistake of ours, and ends as an error of this one request.
EventQueue::Slot& EventQueue::open_slot(EventType type) {
    if (n_slots_used_ == kSlots) fail(Status::kInternal, "event queue: no room for an event");
    Slot& slot = slots_[(first_ + n_slots_used_) % kSlots];
    slot.type = type;
    slot.text.clear();
    slot.ids.clear();
    slot.logprobs.clear();
    slot.tokens_done = 0;
    slot.tokens_total = 0;
    return slot;
}

/// Makes the slot that open_slot() gave visible; with the mutex held.
void EventQueue::announce() {
    slots_[(first_ + n_slots_used_) % kSlots].sequence = n_events_++;
    ++n_slots_used_;
    if (notify_ != nullptr) notify_->set();
    events.wake();
    engine_events_.wake();
}

void EventQueue::push_progress(uint64_t tokens_done, uint64_t tokens_total) {
    const std::lock_guard lock(mutex_);
    Slot& slot = open_slot(EventType::kProgress);
    slot.tokens_done = tokens_done;
    slot.tokens_total = tokens_total;
    announce();
}

void EventQueue::push_text(EventType type, std::string_view text, std::span<const int32_t> ids) {
    const std::lock_guard lock(mutex_);
    Slot& slot = open_slot(type);
    slot.text.assign(text);
    slot.ids.assign(ids.begin(), ids.end());
    announce();
}

void EventQueue::push_logprobs(std::span<const TokenLogprob> logprobs) {
    const std::lock_guard lock(mutex_);
    Slot& slot = open_slot(EventType::kLogprobs);
    slot.logprobs.assign(logprobs.begin(), logprobs.end());
    announce();
}

void EventQueue::push_done(const Event& done, const Usage& usage) noexcept {
    const std::lock_guard lock(mutex_);
    if (has_done_) return;
    done_.type = EventType::kDone;
    done_.finish_reason = done.finish_reason;
    done_.status = done.status;
    try {
        done_.ids.assign(done.ids.begin(), done.ids.end());
        done_.text.assign(done.text);
    } catch (...) {
        // Ids that are lost are an error; a message that is lost is only a pity.
        if (done_.ids.size() != done.ids.size()) {
            done_.finish_reason = FinishReason::kError;
            done_.status = Status::kNoMemory;
        }
    }
    done_.sequence = n_events_++;
    usage_ = usage;
    usage_.finished = true;
    has_done_ = true;
    if (notify_ != nullptr) notify_->set();
    events.wake();
    engine_events_.wake();
}

void EventQueue::set_usage(const Usage& usage) {
    const std::lock_guard lock(mutex_);
    usage_ = usage;
}

bool EventQueue::take(Event& event, bool& was_full) {
    const std::lock_guard lock(mutex_);
    was_full = false;
    if (n_slots_used_ > 0) {
        // Swapping gives the ring the buffers of the event that the reader is done with.
        std::swap(taken_, slots_[first_]);
        first_ = (first_ + 1) % kSlots;
        --n_slots_used_;
        was_full = producer_waits_ && kSlots - n_slots_used_ >= kRoomForStep;
        if (was_full) producer_waits_ = false;
    } else if (has_done_ && !done_taken_) {
        std::swap(taken_, done_);
        done_taken_ = true;
    } else {
        return false;
    }
    const bool nothing_left = n_slots_used_ == 0 && (!has_done_ || done_taken_);
    if (notify_ != nullptr && nothing_left) notify_->clear();
    view(taken_, event);
    return true;
}

void EventQueue::view(const Slot& slot, Event& event) {
    event.type = slot.type;
    event.sequence = slot.sequence;
    event.text = slot.text;
    event.ids = slot.ids;
    event.logprobs = slot.logprobs;
    event.tokens_done = slot.tokens_done;
    event.tokens_total = slot.tokens_total;
    event.finish_reason = slot.finish_reason;
    event.status = slot.status;
}

bool EventQueue::ready() const {
    const std::lock_guard lock(mutex_);
    return n_slots_used_ > 0 || (has_done_ && !done_taken_);
}

bool EventQueue::drained() const {
    const std::lock_guard lock(mutex_);
    return done_taken_;
}

bool EventQueue::finished() const {
    const std::lock_guard lock(mutex_);
    return has_done_;
}

Usage EventQueue::usage() const {
    const std::lock_guard lock(mutex_);
    return usage_;
}

int32_t EventQueue::notify_descriptor() {
    const std::lock_guard lock(mutex_);
    if (notify_ == nullptr) {
        notify_ = std::make_unique<NotifyDescriptor>();
        if (n_slots_used_ > 0 || (has_done_ && !done_taken_)) notify_->set();
    }
    return notify_->descriptor();
}

}  // namespace fathom
