// If these fail, a request waits for ever, a batch breaks a limit, or pages leak.

#include <deque>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "backend/ops.h"
#include "engine/scheduler.h"

using namespace fathom;

namespace {

Sequence& submit(Scheduler& scheduler, std::deque<Sequence>& sequences, int64_t n_tokens) {
    Sequence& sequence = sequences.emplace_back();
    sequence.n_tokens = n_tokens;
    scheduler.submit(sequence);
    return sequence;
}

/// What the engine does after a step: a sequence that got the logits of its last row grows.
std::vector<ScheduledRows> step(Scheduler& scheduler) {
    const std::vector<ScheduledRows> rows = scheduler.next();
    scheduler.commit(rows);
    for (const ScheduledRows& row : rows) {
        if (row.sequence->n_pending() == 0) ++row.sequence->n_tokens;
    }
    return rows;
}

int32_t rows_of(const std::vector<ScheduledRows>& rows, const Sequence& sequence) {
    for (const ScheduledRows& row : rows) {
        if (row.sequence == &sequence) return row.n_rows;
    }
    return 0;
}

}  // namespace

TEST_CASE("scheduler: decode rows come first, prompts share the rest in turn", "[scheduler]") {
    Scheduler scheduler({.max_rows = 10, .max_logit_rows = 10, .max_sequences = 8, .n_pages = 99});
    std::deque<Sequence> all;
    Sequence& talker = submit(scheduler, all, 3);
    CHECK(rows_of(step(scheduler), talker) == 3);
    Sequence& reader = submit(scheduler, all, 25);
    Sequence& other = submit(scheduler, all, 12);
    auto rows = step(scheduler);
    CHECK(rows_of(rows, talker) == 1);
    CHECK(rows_of(rows, reader) == 9);
    CHECK(rows_of(rows, other) == 0);
    rows = step(scheduler);
    CHECK(rows_of(rows, talker) == 1);
    CHECK(rows_of(rows, other) == 9);  // the reader had its turn
    rows = step(scheduler);
    CHECK(rows_of(rows, reader) == 9);
    rows = step(scheduler);
    CHECK(rows_of(rows, other) == 3);
    CHECK(rows_of(rows, reader) == 6);
    CHECK(rows.back().n_logit_rows == 0);
}

TEST_CASE("scheduler: many decoders leave a prompt one row", "[scheduler]") {
    for (const int32_t max_rows : {1, 2, 3}) {
        Scheduler scheduler({.max_rows = max_rows, .max_logit_rows = max_rows,
                             .max_sequences = 4, .n_pages = 99});
        std::deque<Sequence> all;
        for (int i = 0; i < 3; ++i) submit(scheduler, all, 1);
        for (int i = 0; i < 6; ++i) step(scheduler);
        Sequence& prompt = submit(scheduler, all, 20);
        std::vector<int64_t> before;
        for (const Sequence& sequence : all) before.push_back(sequence.n_tokens);
        for (int i = 0; i < 4 * 21; ++i) step(scheduler);
        CAPTURE(max_rows);
        CHECK(prompt.n_tokens > 20);
        for (size_t i = 0; i < 3; ++i) CHECK(all[i].n_tokens >= before[i] + 20);
    }
}

TEST_CASE("scheduler: requests are admitted in order of arrival", "[scheduler]") {
    Scheduler scheduler({.max_rows = 512, .max_logit_rows = 64, .max_sequences = 2, .n_pages = 8});
    std::deque<Sequence> all;
    Sequence& first = submit(scheduler, all, 10);
    Sequence& second = submit(scheduler, all, 8 * kPageTokens);  // needs the whole pool
    Sequence& third = submit(scheduler, all, 10);
    auto rows = step(scheduler);
    CHECK(rows.size() == 1);
    CHECK(rows_of(rows, first) == 10);
    CHECK(scheduler.n_waiting() == 2);  // the small one does not overtake
    scheduler.finish(first);
    rows = step(scheduler);
    CHECK(rows_of(rows, second) == 512);
    CHECK(first.pages.empty());  // an idle session's pages go to who needs them
    CHECK(first.n_cached == 0);
    scheduler.finish(second);
    rows = step(scheduler);
    CHECK(rows_of(rows, third) == 10);
}

TEST_CASE("scheduler: a slow reader holds up nobody", "[scheduler]") {
    Scheduler scheduler({.max_rows = 64, .max_logit_rows = 64, .max_sequences = 1, .n_pages = 2});
    std::deque<Sequence> all;
    Sequence& slow = submit(scheduler, all, 100);
    for (int i = 0; i < 3; ++i) step(scheduler);
    slow.paused = true;
    Sequence& quick = submit(scheduler, all, 100);
    CHECK(rows_of(step(scheduler), quick) == 64);
    CHECK(slow.pages.empty());
    CHECK(scheduler.n_running() == 1);
    slow.paused = false;  // its turn comes when the place is free, and it is computed anew
    CHECK(rows_of(step(scheduler), slow) == 0);
    const int64_t n_tokens = slow.n_tokens;
    scheduler.finish(quick);
    CHECK(rows_of(step(scheduler), slow) == 64);
    CHECK(rows_of(step(scheduler), slow) == n_tokens - 64);
    slow.paused = true;
    CHECK_FALSE(scheduler.has_work());
    CHECK(scheduler.next().empty());
}

TEST_CASE("scheduler: the latest arrival loses its last page first", "[scheduler]") {
    Scheduler scheduler({.max_rows = 512, .max_logit_rows = 64, .max_sequences = 4, .n_pages = 6});
    std::deque<Sequence> all;
    Sequence& old = submit(scheduler, all, kPageTokens);
    Sequence& young = submit(scheduler, all, kPageTokens);
    step(scheduler);
    CHECK(scheduler.n_running() == 2);
    // Both grow until the pool is full; then the younger one gives way and the older one goes on.
    int64_t steps = 0;
    while (scheduler.n_running() == 2 && ++steps < 1000) step(scheduler);
    CHECK(old.state == Sequence::State::kRunning);
    CHECK(young.state == Sequence::State::kWaiting);
    CHECK(old.pages.size() + young.pages.size() == 6);
    CHECK(young.n_cached == static_cast<int64_t>(young.pages.size()) * kPageTokens);
    const int64_t young_tokens = young.n_tokens;
    for (int i = 0; i < 2 * kPageTokens; ++i) {
        REQUIRE(rows_of(step(scheduler), old) == 1);
        REQUIRE(young.n_tokens == young_tokens);
    }
    scheduler.finish(old);
    const auto rows = step(scheduler);
    CHECK(rows_of(rows, young) > 0);
    CHECK(young.n_tokens == young_tokens + 1);
    scheduler.close(old);
    scheduler.finish(young);
    scheduler.close(young);
    CHECK(scheduler.pool().n_used() == 0);
}

TEST_CASE("scheduler: a session keeps the pages of what it has in common", "[scheduler]") {
    Scheduler scheduler({.max_rows = 512, .max_logit_rows = 64, .max_sequences = 4, .n_pages = 9});
    std::deque<Sequence> all;
    Sequence& session = submit(scheduler, all, 200);
    step(scheduler);
    scheduler.finish(session);
    CHECK(session.pages.size() == 4);
    session.n_tokens = 150;
    session.n_cached = 140;  // the owner found 140 tokens in common
    scheduler.submit(session);
    CHECK(session.pages.size() == 3);
    CHECK(rows_of(step(scheduler), session) == 10);
    scheduler.finish(session);
    session.n_tokens = 150;  // nothing new: the last token is computed again, for its logits
    scheduler.submit(session);
    CHECK(rows_of(step(scheduler), session) == 1);
    scheduler.close(session);
    CHECK(scheduler.pool().n_used() == 0);
}

TEST_CASE("scheduler: logits of a scored prompt stay inside their limit", "[scheduler]") {
    Scheduler scheduler({.max_rows = 64, .max_logit_rows = 8, .max_sequences = 4, .n_pages = 9});
    std::deque<Sequence> all;
    submit(scheduler, all, 1);
    step(scheduler);
    Sequence& scored = all.emplace_back();
    scored.n_tokens = 100;
    scored.logits_from = -1;
    scored.logits_to = 99;
    scheduler.submit(scored);
    int64_t n_logits = 0;
    int n_steps = 0;
    while (scored.n_tokens == 100) {
        REQUIRE(++n_steps < 100);
        int32_t sum = 0;
        for (const ScheduledRows& row : step(scheduler)) {
            sum += row.n_logit_rows;
            if (row.sequence == &scored) n_logits += row.n_logit_rows;
        }
        REQUIRE(sum <= 8);
        scored.logits_from = std::min(scored.n_cached, scored.logits_to);
    }
    CHECK(n_logits == 100);
}
