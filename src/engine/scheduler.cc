#include "engine/scheduler.h"

#include <algorithm>

#include "backend/ops.h"
#include "base/checked.h"

namespace fathom {

int64_t pages_of_tokens(int64_t n_tokens) { return ceil_div(n_tokens, kPageTokens); }

void SequenceList::insert_before(Sequence* at, Sequence& sequence) {
    Sequence* const before = at == nullptr ? last : at->previous;
    sequence.previous = before;
    sequence.next = at;
    (before == nullptr ? first : before->next) = &sequence;
    (at == nullptr ? last : at->previous) = &sequence;
    ++size;
}

void SequenceList::remove(Sequence& sequence) {
    (sequence.previous == nullptr ? first : sequence.previous->next) = sequence.next;
    (sequence.next == nullptr ? last : sequence.next->previous) = sequence.previous;
    sequence.previous = nullptr;
    sequence.next = nullptr;
    --size;
}

Scheduler::Scheduler(const SchedulerLimits& limits) : limits_(limits), pool_(limits.n_pages) {
    order_.reserve(static_cast<size_t>(limits.max_sequences));
    rows_.reserve(static_cast<size_t>(limits.max_sequences));
}

void Scheduler::submit(Sequence& sequence) {
    sequence.n_cached = std::min(sequence.n_cached, sequence.n_tokens - 1);
    release_pages(sequence, static_cast<size_t>(pages_of_tokens(sequence.n_cached)));
    sequence.arrival = ++n_arrived_;
    sequence.served = step_;
    move(sequence, Sequence::State::kWaiting);
}

void Scheduler::finish(Sequence& sequence) {
    sequence.served = step_;
    release_pages(sequence, static_cast<size_t>(pages_of_tokens(sequence.n_cached)));
    move(sequence, sequence.pages.empty() ? Sequence::State::kAbsent : Sequence::State::kIdle);
}

void Scheduler::close(Sequence& sequence) {
    release_pages(sequence, 0);
    move(sequence, Sequence::State::kAbsent);
}

bool Scheduler::has_work() const {
    for (const SequenceList* list : {&running_, &waiting_}) {
        for (const Sequence* at = list->first; at != nullptr; at = at->next) {
            if (!at->paused) return true;
        }
    }
    return false;
}

const std::vector<ScheduledRows>& Scheduler::next() {
    ++step_;
    park_paused();
    grow();
    admit();
    serve_rows();
    return rows_;
}

void Scheduler::commit(const std::vector<ScheduledRows>& rows) {
    for (const ScheduledRows& row : rows) row.sequence->n_cached += row.n_rows;
}

/// A request whose reader is slow gives up its place in the batch, and keeps its pages until
/// somebody needs them.
void Scheduler::park_paused() {
    for (Sequence* at = running_.first; at != nullptr;) {
        Sequence& sequence = *at;
        at = at->next;
        if (sequence.paused) move(sequence, Sequence::State::kWaiting);
    }
}

/// Pages for the tokens generated since the last step, in order of arrival, before any row is
/// given: so a sequence that has rows in this step cannot lose a page in it.
void Scheduler::grow() {
    for (Sequence* at = running_.first; at != nullptr;) {
        Sequence& sequence = *at;
        // Read after filling: who loses a page leaves the list, and is always behind this one.
        const bool filled = fill_pages(sequence);
        at = at->next;
        if (!filled) move(sequence, Sequence::State::kWaiting);
    }
}

void Scheduler::admit() {
    for (Sequence* at = waiting_.first; at != nullptr;) {
        if (running_.size == limits_.max_sequences) return;
        Sequence& sequence = *at;
        at = at->next;
        if (sequence.paused) continue;
        const int64_t missing = pages_of_tokens(sequence.n_tokens) -
                                static_cast<int64_t>(sequence.pages.size());
        // Without the spare pages two sequences could take the same page from each other for ever.
        const int64_t spare = running_.size == 0 ? 0 : running_.size + 1;
        if (missing + spare > pages_within_reach(sequence)) return;
        move(sequence, Sequence::State::kRunning);
        fill_pages(sequence);
    }
}

bool Scheduler::fill_pages(Sequence& sequence) {
    const auto n_wanted = static_cast<size_t>(pages_of_tokens(sequence.n_tokens));
    while (sequence.pages.size() < n_wanted) {
        const int32_t page = take_page(sequence);
        if (page < 0) return false;
        sequence.pages.push_back(page);
        sequence.n_pages.store(static_cast<int32_t>(sequence.pages.size()),
                               std::memory_order_relaxed);
    }
    return true;
}

int32_t Scheduler::take_page(const Sequence& taker) {
    if (pool_.n_free() > 0) return pool_.reserve();
    if (idle_.first != nullptr) {
        Sequence& loser = *idle_.first;
        give_last_page(loser);
        if (loser.pages.empty()) move(loser, Sequence::State::kAbsent);
        return pool_.reserve();
    }
    for (Sequence* at = waiting_.last; at != nullptr; at = at->previous) {
        if (at->pages.empty()) continue;
        give_last_page(*at);
        return pool_.reserve();
    }
    Sequence* const loser = running_.last;
    if (loser == nullptr || loser == &taker) return -1;
    give_last_page(*loser);
    move(*loser, Sequence::State::kWaiting);
    return pool_.reserve();
}

void Scheduler::give_last_page(Sequence& sequence) {
    pool_.release(sequence.pages.back());
    sequence.pages.pop_back();
    const size_t held = sequence.pages.size();
    sequence.n_pages.store(static_cast<int32_t>(held), std::memory_order_relaxed);
    sequence.n_cached =
        std::min(sequence.n_cached, static_cast<int64_t>(held) * int64_t{kPageTokens});
}

int64_t Scheduler::pages_within_reach(const Sequence& taker) const {
    int64_t kept = static_cast<int64_t>(taker.pages.size());
    for (const Sequence* at = running_.first; at != nullptr; at = at->next) {
        kept += static_cast<int64_t>(at->pages.size());
    }
    return pool_.n_pages() - kept;
}

void Scheduler::release_pages(Sequence& sequence, size_t n_keep) {
    while (sequence.pages.size() > n_keep) give_last_page(sequence);
}

SequenceList* Scheduler::list_of(Sequence::State state) {
    switch (state) {
        case Sequence::State::kAbsent: return nullptr;
        case Sequence::State::kIdle: return &idle_;
        case Sequence::State::kWaiting: return &waiting_;
        case Sequence::State::kRunning: return &running_;
    }
    return nullptr;
}

void Scheduler::move(Sequence& sequence, Sequence::State state) {
    if (SequenceList* from = list_of(sequence.state)) from->remove(sequence);
    sequence.state = state;
    SequenceList* const to = list_of(state);
    if (to == nullptr) return;
    // Idle sessions are in the order in which they became idle, the others in order of arrival.
    Sequence* behind = nullptr;
    if (to != &idle_) {
        Sequence* before = to->last;
        while (before != nullptr && before->arrival > sequence.arrival) {
            behind = before;
            before = before->previous;
        }
    }
    to->insert_before(behind, sequence);
}

void Scheduler::serve_rows() {
    rows_.clear();
    order_.clear();
    rows_left_ = limits_.max_rows;
    logit_rows_left_ = limits_.max_logit_rows;
    for (Sequence* at = running_.first; at != nullptr; at = at->next) order_.push_back(at);
    std::sort(order_.begin(), order_.end(), [](const Sequence* a, const Sequence* b) {
        return a->served != b->served ? a->served < b->served : a->arrival < b->arrival;
    });
    const auto decodes = [](const Sequence* sequence) { return sequence->n_pending() == 1; };
    const auto prompt = std::find_if_not(order_.begin(), order_.end(), decodes);
    // A prompt's row is set aside, unless there is only one row and another's turn has come.
    int32_t set_aside = prompt == order_.end() ? 0 : 1;
    if (set_aside == std::min(rows_left_, logit_rows_left_) && prompt != order_.begin()) {
        set_aside = 0;
    }
    for (Sequence* sequence : order_) {
        if (!decodes(sequence)) continue;
        if (std::min(rows_left_, logit_rows_left_) <= set_aside) break;
        serve(*sequence, 1);
    }
    for (Sequence* sequence : order_) {
        if (decodes(sequence)) continue;
        serve(*sequence, sequence->n_pending());
    }
}

void Scheduler::serve(Sequence& sequence, int64_t n_rows) {
    n_rows = std::min<int64_t>(n_rows, rows_left_);
    const int64_t start = sequence.n_cached;
    const auto n_logits = [&](int64_t rows) {
        const int64_t end = start + rows;
        const int64_t from = std::max(start, sequence.logits_from);  // -1 is below any start
        const int64_t ranged = std::max<int64_t>(0, std::min(end, sequence.logits_to) - from);
        return ranged + (end == sequence.n_tokens && sequence.wants_last ? 1 : 0);
    };
    if (n_logits(n_rows) > logit_rows_left_) {
        // Fewer rows, and not the last one: it wants logits, and has none of its own range.
        n_rows = std::min(n_rows, sequence.n_pending() - 1);
        const int64_t excess = n_logits(n_rows) - logit_rows_left_;
        n_rows -= std::max<int64_t>(0, excess);
    }
    if (n_rows <= 0) return;
    const auto rows = static_cast<int32_t>(n_rows);
    const auto logits = static_cast<int32_t>(n_logits(n_rows));
    if (sequence.logits_from < 0) sequence.logits_from = start;
    rows_.push_back({&sequence, rows, logits});
    rows_left_ -= rows;
    logit_rows_left_ -= logits;
    sequence.served = step_;
}

}  // namespace fathom
