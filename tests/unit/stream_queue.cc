// If these fail, a reader sees an event twice, late or never, or a slow one costs memory.

#include <string>
#include <vector>

#include <poll.h>

#include <catch2/catch_test_macros.hpp>

#include "engine/event_queue.h"

using namespace fathom;

namespace {

bool readable(int32_t descriptor) {
    pollfd one{.fd = descriptor, .events = POLLIN, .revents = 0};
    return poll(&one, 1, 0) == 1 && (one.revents & POLLIN) != 0;
}

bool take(EventQueue& queue, Event& event) {
    bool was_full = false;
    return queue.take(event, was_full);
}

}  // namespace

TEST_CASE("event queue: events come out as they went in", "[stream]") {
    WakeWord engine;
    EventQueue queue(engine);
    Event event;
    CHECK_FALSE(take(queue, event));
    CHECK_FALSE(queue.ready());
    const std::vector<int32_t> ids = {4, 5};
    const std::vector<TokenLogprob> logprobs = {{4, 9, -0.5F, 0}};
    const uint32_t before = queue.events.value();
    queue.push_progress(3, 10);
    queue.push_text(EventType::kReasoning, "hm", {});
    queue.push_text(EventType::kText, "so", ids);
    queue.push_logprobs(logprobs);
    CHECK(queue.events.value() != before);
    CHECK(engine.value() != 0);
    queue.push_done({.text = "why", .finish_reason = FinishReason::kError,
                     .status = Status::kDevice},
                    {.output_tokens = 2});
    queue.push_done({.finish_reason = FinishReason::kLength}, {});  // the first one counts

    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kProgress);
    CHECK(event.tokens_done == 3);
    CHECK(event.tokens_total == 10);
    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kReasoning);
    CHECK(event.text == "hm");
    CHECK(event.ids.empty());
    CHECK(event.tokens_total == 0);
    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kText);
    CHECK(event.sequence == 2);
    CHECK(std::vector<int32_t>(event.ids.begin(), event.ids.end()) == ids);
    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kLogprobs);
    CHECK(event.ids.empty());
    REQUIRE(event.logprobs.size() == 1);
    CHECK(event.logprobs[0].position == 9);
    CHECK_FALSE(queue.drained());
    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kDone);
    CHECK(event.text == "why");
    CHECK(event.status == Status::kDevice);
    CHECK(event.finish_reason == FinishReason::kError);
    CHECK(event.sequence == 4);
    CHECK(queue.drained());
    CHECK_FALSE(take(queue, event));
    CHECK(queue.usage().finished);
    CHECK(queue.usage().output_tokens == 2);
}

TEST_CASE("event queue: a full queue stops its producer and no other", "[stream]") {
    WakeWord engine;
    EventQueue queue(engine);
    Event event;
    size_t n_pushed = 0;
    while (queue.has_room()) {
        queue.push_text(EventType::kText, "x", {});
        ++n_pushed;
    }
    CHECK(n_pushed == EventQueue::kSlots - EventQueue::kRoomForStep + 1);
    for (size_t i = n_pushed; i < EventQueue::kSlots; ++i) queue.push_progress(1, 1);
    CHECK_THROWS_AS(queue.push_progress(1, 1), Error);
    queue.push_done({}, {});  // the end has a place of its own
    bool was_full = false;
    for (size_t i = 1; i <= EventQueue::kSlots; ++i) {
        REQUIRE(queue.take(event, was_full));
        // Told once, when there is room for a step again.
        REQUIRE(was_full == (i == EventQueue::kRoomForStep));
    }
    REQUIRE(take(queue, event));
    CHECK(event.type == EventType::kDone);
}

TEST_CASE("event queue: the descriptor is readable while there are events", "[stream]") {
    WakeWord engine;
    EventQueue queue(engine);
    Event event;
    queue.push_progress(1, 2);
    const int32_t descriptor = queue.notify_descriptor();
    CHECK(queue.notify_descriptor() == descriptor);
    CHECK(readable(descriptor));  // also for what came before the descriptor
    queue.push_progress(2, 2);
    REQUIRE(take(queue, event));
    CHECK(readable(descriptor));
    REQUIRE(take(queue, event));
    CHECK_FALSE(readable(descriptor));
    queue.push_done({}, {});
    CHECK(readable(descriptor));
    REQUIRE(take(queue, event));
    CHECK_FALSE(readable(descriptor));
}
