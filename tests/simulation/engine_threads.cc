// If these fail, a host with several threads crashes, hangs, or gets another thread's tokens.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "engine/engine.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fake_backend.h"
#include "simulator.h"

using namespace fathom;
using namespace fathom::simulation;

namespace {

constexpr uint64_t kForever = UINT64_MAX;
constexpr uint64_t kSecond = 1'000'000'000;

std::shared_ptr<Engine> threaded_engine(int64_t n_pages = 40, int32_t max_sequences = 8) {
    reset_fake_control();
    EngineOptions options;
    options.backend = fake_backend();
    options.max_batch_rows = 64;
    options.max_sequences = max_sequences;
    options.kv_cache_bytes = static_cast<uint64_t>(n_pages) * kPageTokens * 8;
    return Engine::create(options);
}

std::shared_ptr<EngineModel> load(const std::shared_ptr<Engine>& engine) {
    return EngineModel::create(engine, fake_model(512), {});
}

std::vector<int32_t> prompt_of(uint64_t seed, int64_t n) {
    Random random(seed);
    std::vector<int32_t> prompt;
    for (int64_t i = 0; i < n; ++i) {
        prompt.push_back(static_cast<int32_t>(random.between(0, kTokens - 1)));
    }
    return prompt;
}

struct Outcome {
    std::vector<int32_t> ids;
    FinishReason reason = FinishReason::kNone;
    Status status = Status::kOk;
    std::string text;
};

Outcome read_all(Stream& stream) {
    Outcome outcome;
    Event event;
    while (stream.next(kForever, event)) {
        outcome.ids.insert(outcome.ids.end(), event.ids.begin(), event.ids.end());
        if (event.type != EventType::kDone) continue;
        outcome.reason = event.finish_reason;
        outcome.status = event.status;
        outcome.text = event.text;
        break;
    }
    return outcome;
}

GenerateOptions tokens(uint64_t n) {
    GenerateOptions options;
    options.max_tokens = n;
    return options;
}

void run_threads(int n, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < n; ++i) threads.emplace_back(body, i);
    for (std::thread& thread : threads) thread.join();
}

Status status_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.status();
    }
    return Status::kOk;
}

StreamList list_of(const std::vector<Stream*>& streams) {
    return {&streams, static_cast<uint32_t>(streams.size()),
            [](const void* list, uint32_t index) -> Stream& {
                return *(*static_cast<const std::vector<Stream*>*>(list))[index];
            }};
}

}  // namespace

TEST_CASE("threads: each gets its own answers from one engine", "[engine][threads]") {
    const auto engine = threaded_engine(12);
    const auto model = load(engine);
    std::atomic<int> n_wrong{0};
    run_threads(8, [&](int thread) {
        const auto session = Session::create(model, 0);
        for (uint64_t turn = 0; turn < 6; ++turn) {
            const auto seed = static_cast<uint64_t>(thread) * 100 + turn;
            const std::vector<int32_t> prompt = prompt_of(seed, 20 + 30 * (thread % 3));
            const auto stream = session->generate(prompt, tokens(40));
            const Outcome outcome = read_all(*stream);
            const auto n_most = static_cast<int64_t>(prompt.size()) + 40;
            const Answer wanted = expected_answer(prompt, tokens(40), n_most, {});
            if (outcome.ids != wanted.tokens || outcome.reason != wanted.reason) ++n_wrong;
        }
    });
    CHECK(n_wrong == 0);
    CHECK(fake_control().broken_rule.load() == nullptr);
    CHECK(fake_control().largest_batch > 1);
}

TEST_CASE("threads: hostile 43: a storm of cancels", "[engine][threads]") {
    const auto engine = threaded_engine();
    const auto model = load(engine);
    std::atomic<int> n_bad{0};
    std::atomic<int> n_cancelled{0};
    run_threads(6, [&](int thread) {
        Random random(static_cast<uint64_t>(thread) + 1);
        const auto session = Session::create(model, 0);
        for (int turn = 0; turn < 250; ++turn) {
            auto stream = session->generate(prompt_of(1, random.between(1, 90)), tokens(200));
            Event event;
            const int64_t n_events = random.between(0, 4);
            for (int64_t i = 0; i < n_events; ++i) stream->next(kForever, event);
            stream->cancel();
            if (random.chance(0.5)) stream->cancel();
            const Outcome outcome = read_all(*stream);
            const Usage usage = stream->usage();
            n_cancelled += outcome.reason == FinishReason::kCancelled ? 1 : 0;
            if (outcome.status != Status::kOk || !usage.finished) ++n_bad;
            if (usage.prompt_fresh + usage.prompt_cached > 90) ++n_bad;
        }
    });
    CHECK(n_bad == 0);
    CHECK(n_cancelled > 1000);
    // The engine works afterwards, and every page came back.
    const auto session = Session::create(model, 0);
    CHECK(read_all(*session->generate(prompt_of(3, 10), tokens(5))).ids.size() == 5);
}

TEST_CASE("threads: hostile 43: a client that never reads", "[engine][threads]") {
    const auto engine = threaded_engine(8);  // a pool that one context fills
    const auto model = load(engine);
    const auto lazy_session = Session::create(model, 0);
    const auto lazy = lazy_session->generate(prompt_of(5, 100), tokens(400));
    // Somebody else needs the whole pool several times over and gets it.
    for (uint64_t turn = 0; turn < 3; ++turn) {
        const auto session = Session::create(model, 0);
        const std::vector<int32_t> prompt = prompt_of(10 + turn, 400);
        const Outcome outcome = read_all(*session->generate(prompt, tokens(100)));
        CHECK(outcome.ids == expected_answer(prompt, tokens(100), 500, {}).tokens);
    }
    // What was generated for the lazy one is bounded, and when it reads at last, it is right.
    CHECK(lazy->usage().output_tokens <= EventQueue::kSlots);
    const Outcome late = read_all(*lazy);
    CHECK(late.ids == expected_answer(prompt_of(5, 100), tokens(400), 500, {}).tokens);
}

TEST_CASE("threads: hostile 42: releases in every order while it runs", "[engine][threads]") {
    for (int order = 0; order < 24; ++order) {
        auto engine = threaded_engine();
        auto model = load(engine);
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) {
            auto session = Session::create(model, 0);
            auto stream = session->generate(prompt_of(7, 50), tokens(300));
            threads.emplace_back([session = std::move(session), stream = std::move(stream),
                                  order]() mutable {
                Event event;
                stream->next(kForever, event);
                if (order % 2 == 0) session.reset();
                if (order % 3 == 0 && event.type != EventType::kDone) {
                    stream->next(kForever, event);
                }
                stream.reset();
            });
        }
        if (order % 4 < 2) {
            engine.reset();
            model.reset();
        } else {
            model.reset();
            if (order % 4 == 2) engine->shutdown(0);
            engine.reset();
        }
        for (std::thread& thread : threads) thread.join();
        REQUIRE(fake_control().n_executors == 0);
        REQUIRE(fake_control().n_devices == 0);
    }
}

TEST_CASE("threads: shutdown lets streams finish, then cancels", "[engine][threads]") {
    const auto engine = threaded_engine();
    const auto model = load(engine);
    const auto session = Session::create(model, 0);
    SECTION("with time") {
        const auto stream = session->generate(prompt_of(1, 10), tokens(20));
        CHECK(engine->shutdown(60 * kSecond) == Status::kOk);
        CHECK(read_all(*stream).reason == FinishReason::kLength);
    }
    SECTION("without, while nobody reads") {
        const auto stream = session->generate(prompt_of(1, 10), tokens(400));
        CHECK(engine->shutdown(kSecond / 100) == Status::kTimeout);
        CHECK(read_all(*stream).reason == FinishReason::kCancelled);
        CHECK(engine->shutdown(kForever) == Status::kTimeout);  // idempotent
    }
    SECTION("without, while another thread waits for ever") {
        const auto stream = session->generate(prompt_of(1, 10), tokens(400));
        std::thread patient([&] { CHECK(engine->shutdown(kForever) == Status::kTimeout); });
        // It is inside once new work is refused.
        while (status_of([&] { Session::create(model, 0); }) == Status::kOk) {
            std::this_thread::yield();
        }
        CHECK(engine->shutdown(0) == Status::kTimeout);
        patient.join();
        CHECK(read_all(*stream).reason == FinishReason::kCancelled);
    }
    CHECK(fake_control().n_devices == 0);
    CHECK(status_of([&] { session->generate(prompt_of(1, 1), {}); }) == Status::kShutdown);
    CHECK(status_of([&] { Session::create(model, 0); }) == Status::kShutdown);
    CHECK(status_of([&] { load(engine); }) == Status::kShutdown);
    CHECK(engine->stats().n_running == 0);
}

TEST_CASE("threads: the threading table is enforced", "[engine][threads]") {
    const auto engine = threaded_engine();
    const auto model = load(engine);
    const auto session = Session::create(model, 0);
    const auto stream = session->generate(prompt_of(2, 10), tokens(400));
    CHECK(status_of([&] { session->generate(prompt_of(2, 1), {}); }) == Status::kBusy);
    CHECK(status_of([&] { session->truncate(0); }) == Status::kBusy);
    CHECK(session->describe().running);
    CHECK(status_of([&] { engine->step(0); }) == Status::kBadState);

    // A second reader is told so while the first one waits for an event that cannot come.
    const auto idle_engine = [] {
        EngineOptions options;
        options.mode = EngineMode::kManual;
        options.backend = fake_backend();
        return Engine::create(options);
    }();
    const auto idle_session = Session::create(load(idle_engine), 0);
    const auto silent = idle_session->generate(prompt_of(2, 10), tokens(1));
    std::atomic<bool> got{false};
    std::thread reader([&] {
        Event event;
        got = silent->next(kForever, event);
    });
    Event event;
    bool was_busy = false;
    for (int tries = 0; tries < 10'000'000 && !was_busy; ++tries) {
        try {
            silent->next(0, event);
        } catch (const Error& error) {
            was_busy = error.status() == Status::kBusy;
        }
        std::this_thread::yield();
    }
    CHECK(was_busy);
    idle_engine->step(kForever);
    reader.join();
    CHECK(got);
    const Outcome outcome = read_all(*silent);
    CHECK(outcome.reason == FinishReason::kLength);
    CHECK(status_of([&] { silent->next(0, event); }) == Status::kBadState);
}

TEST_CASE("threads: one wait for many streams is fair", "[engine][threads]") {
    const auto engine = threaded_engine();
    const auto model = load(engine);
    std::vector<std::shared_ptr<Session>> sessions;
    std::vector<std::shared_ptr<Stream>> streams;
    std::vector<Stream*> all;
    for (uint64_t i = 0; i < 5; ++i) {
        sessions.push_back(Session::create(model, 0));
        streams.push_back(sessions.back()->generate(prompt_of(i, 10), tokens(50)));
        all.push_back(streams.back().get());
    }
    std::vector<size_t> n_ids(5, 0);
    size_t n_done = 0;
    while (n_done < 5) {
        const std::optional<uint32_t> ready = engine->wait_any(list_of(all), kForever);
        REQUIRE(ready.has_value());
        Event event;
        REQUIRE(all[*ready]->next(0, event));
        n_ids[*ready] += event.ids.size();
        n_done += event.type == EventType::kDone ? 1 : 0;
    }
    CHECK(n_ids == std::vector<size_t>(5, 50));
    CHECK(status_of([&] { engine->wait_any(list_of(all), kForever); }) == Status::kInvalidArgument);
    const auto stream = sessions[0]->generate(prompt_of(9, 10), tokens(400));
    const std::vector<Stream*> one = {stream.get()};
    const auto stranger = threaded_engine();
    CHECK(status_of([&] { stranger->wait_any(list_of(one), 0); }) == Status::kInvalidArgument);
}

TEST_CASE("threads: an idle engine sleeps until a deadline", "[engine][threads]") {
    // A slow reader leaves the engine nothing to do; the deadline still ends the stream.
    const auto engine = threaded_engine();
    const auto model = load(engine);
    const auto session = Session::create(model, 0);
    GenerateOptions options = tokens(400);
    options.deadline_ns = kSecond / 20;
    const auto stream = session->generate(prompt_of(1, 10), options);
    pollfd handle{.fd = static_cast<int>(stream->notify_handle()), .events = POLLIN, .revents = 0};
    CHECK(poll(&handle, 1, 10'000) == 1);
    while (!stream->usage().finished) std::this_thread::yield();
    CHECK(read_all(*stream).reason == FinishReason::kDeadline);
    CHECK(poll(&handle, 1, 0) == 0);
    const uint64_t n_steps = engine->stats().n_steps;
    CHECK(n_steps < 2 * EventQueue::kSlots);
}
