#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/kv_pool.h"

namespace fathom {

/// A session's place in the KV cache, as the scheduler sees it. Transcript tokens are counted
/// here, not held: [0, n_cached) have their latent rows in `pages`, the rest is to be computed.
struct Sequence {
    enum class State { kAbsent, kIdle, kWaiting, kRunning };

    // Written by the owner before submit() and between steps.
    int64_t n_tokens = 0;
    int64_t n_cached = 0;
    int64_t logits_from = 0;  // rows at positions [logits_from, logits_to) want logits, -1 as
    int64_t logits_to = 0;    // logits_from meaning the first row that is given,
    bool wants_last = true;   // and the transcript's last row, where this is set
    bool paused = false;      // its reader is slow: it gets no rows until this is false
    void* owner = nullptr;    // whatever the owner wants to find again

    // Written by the scheduler.
    std::vector<int32_t> pages;  // capacity for the whole context from the beginning
    std::atomic<int32_t> n_pages{0};  // pages.size() for those who may not look
    State state = State::kAbsent;
    uint64_t arrival = 0;
    uint64_t served = 0;  // last step with a row of this sequence; idle: when it became idle
    Sequence* previous = nullptr;  // neighbours in the list of its state
    Sequence* next = nullptr;

    int64_t n_pending() const { return n_tokens - n_cached; }
};

/// Doubly linked through the sequences themselves, so that nothing is allocated.
struct SequenceList {
    Sequence* first = nullptr;
    Sequence* last = nullptr;
    int32_t size = 0;

    void insert_before(Sequence* at, Sequence& sequence);  // at nullptr: at the end
    void remove(Sequence& sequence);
};

struct SchedulerLimits {
    int32_t max_rows = 512;
    int32_t max_logit_rows = 128;
    int32_t max_sequences = 64;
    int32_t n_pages = 64;
};

/// The rows of one sequence in the next step.
struct ScheduledRows {
    Sequence* sequence;
    int32_t n_rows;
    int32_t n_logit_rows;  // how many of them want logits: always the last ones
};

/// Decides which rows the next step computes and where their latents go, and does nothing else:
/// no thread, clock, file or device. The same calls in the same order give the same decisions.
///
/// - Requests are admitted in order of arrival, at most max_sequences at once, when the pages for
///   all their present tokens, and one more for each that runs, are within reach. Nobody overtakes
///   the head of the queue except while the head's own reader holds it up.
/// - A running sequence that needs a page takes in turn: a free one, the last one of the idle
///   session that was used longest ago, the last one of the waiting request that arrived last, and
///   the last one of the running request that arrived last, which then waits. What a loser had
///   computed there is computed again later; its reader does not see that.
/// - Rows: one for every sequence that decodes, then chunks of the prompts, each group beginning
///   with the one that was served longest ago. While a prompt waits, decoding leaves it a row.
///
/// Why nobody starves: of the running requests the one that arrived first can always get a page,
/// for a request that cannot fit the pool alone is refused before it comes here. It loses its
/// place to nobody, is served at least every max_sequences steps, and ends, as its length has a
/// limit; then the next one is the first. A waiting request has finitely many before it.
class Scheduler {
public:
    explicit Scheduler(const SchedulerLimits& limits);

    /// A request begins: the owner has set the public fields; the last token is always pending.
    /// Pages behind n_cached are released.
    void submit(Sequence& sequence);

    /// Its request ends. The pages stay for the session's next request until others need them.
    void finish(Sequence& sequence);

    /// The session is gone: all its pages are released.
    void close(Sequence& sequence);

    /// The rows of the next step, valid until the next call; empty when there is nothing to do.
    const std::vector<ScheduledRows>& next();

    /// The step computed these rows.
    void commit(const std::vector<ScheduledRows>& rows);

    /// Whether next() could return rows now.
    bool has_work() const;

    const KvPool& pool() const { return pool_; }
    int32_t n_waiting() const { return waiting_.size; }
    int32_t n_running() const { return running_.size; }

private:
    void park_paused();
    void grow();
    void admit();
    bool fill_pages(Sequence& sequence);
    int32_t take_page(const Sequence& taker);
    void give_last_page(Sequence& sequence);
    int64_t pages_within_reach(const Sequence& taker) const;
    void release_pages(Sequence& sequence, size_t n_keep);
    void move(Sequence& sequence, Sequence::State state);
    SequenceList* list_of(Sequence::State state);
    void serve_rows();
    void serve(Sequence& sequence, int64_t n_rows);

    SchedulerLimits limits_;
    KvPool pool_;
    SequenceList idle_;     // used longest ago first
    SequenceList waiting_;  // by arrival
    SequenceList running_;  // by arrival
    std::vector<Sequence*> order_;
    std::vector<ScheduledRows> rows_;
    int32_t rows_left_ = 0;
    int32_t logit_rows_left_ = 0;
    uint64_t n_arrived_ = 0;
    uint64_t step_ = 0;
};

/// Pages for so many tokens.
int64_t pages_of_tokens(int64_t n_tokens);

}  // namespace fathom
