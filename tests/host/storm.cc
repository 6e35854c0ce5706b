#include <catch2/catch_test_macros.hpp>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

constexpr int kPerThread = host::kSanitized ? 500 : 25'000;

/// Requests at one session, each cancelled or let go at a random moment. Counts what is wrong,
/// because assertions are for one thread.
int storm(fathom_model* model, unsigned seed) {
    int n_wrong = 0;
    std::mt19937 random(seed);
    fathom_session* session = nullptr;
    if (fathom_session_create(model, nullptr, &session, nullptr) != FATHOM_OK) return 1;
    fathom_prompt* prompt = nullptr;
    fathom_prompt_create(nullptr, nullptr, &prompt, nullptr);
    const std::vector<int32_t> ids = host::fixture_prompt(5);
    fathom_prompt_add_tokens(prompt, ids.data(), ids.size(), nullptr);
    const fathom_generate_options options = at_most(50);
    for (int i = 0; i < kPerThread; ++i) {
        fathom_stream* stream = nullptr;
        int32_t status = FATHOM_BUSY;
        // After a release the session is free within a step.
        while (status == FATHOM_BUSY) {
            status = fathom_session_generate(session, prompt, &options, &stream, nullptr);
            if (status == FATHOM_BUSY) std::this_thread::yield();
        }
        if (status != FATHOM_OK) {
            ++n_wrong;
            continue;
        }
        const unsigned n_read = random() % 4;
        fathom_event event = sized<fathom_event>();
        uint64_t n_ids = 0;
        for (unsigned k = 0; k < n_read && event.type != FATHOM_EVENT_DONE; ++k) {
            if (fathom_stream_next(stream, UINT64_MAX, &event, nullptr) != FATHOM_OK) ++n_wrong;
            n_ids += event.n_ids;
        }
        if (random() % 3 != 0) {
            fathom_stream_cancel(stream);
            while (event.type != FATHOM_EVENT_DONE) {
                if (fathom_stream_next(stream, UINT64_MAX, &event, nullptr) != FATHOM_OK) {
                    ++n_wrong;
                    break;
                }
                n_ids += event.n_ids;
            }
            fathom_usage usage = sized<fathom_usage>();
            fathom_stream_usage(stream, &usage, nullptr);
            const bool reason_right = event.finish_reason == FATHOM_FINISH_CANCELLED ||
                                      (event.finish_reason == FATHOM_FINISH_LENGTH && n_ids == 50);
            if (!reason_right || usage.finished != 1 || usage.output_tokens != n_ids) ++n_wrong;
        }
        fathom_stream_release(stream);
    }
    fathom_prompt_release(prompt);
    fathom_session_release(session);
    return n_wrong;
}

Engine roomy_engine() {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.kv_cache_bytes = uint64_t{32} << 20;
    options.n_threads = 1;
    return new_engine(options);
}

}  // namespace

// Breaks when a cancel at some moment crashes, hangs, loses or invents a token, or blocks a session
// for ever: 100,000 requests by four threads, two thirds of them cancelled, the rest released.
TEST_CASE("host cancel storm", "[host][threads][hostile]") {
    const Engine engine = roomy_engine();
    fathom_model_options options = sized<fathom_model_options>();
    options.context = 256;
    const Model model = load(engine.get(), fixture("v3-f32"), options);
    std::atomic<int> n_wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] { n_wrong.fetch_add(storm(model.get(), t)); });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(n_wrong.load() == 0);
    fathom_engine_stats stats = sized<fathom_engine_stats>();
    do {
        REQUIRE(fathom_engine_stats_read(engine.get(), &stats, nullptr) == FATHOM_OK);
    } while (stats.n_running + stats.n_waiting != 0);
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(5));
    const Stream stream = generate(session.get(), prompt.get(), at_most(50));
    REQUIRE(drain(stream.get()).ids.size() == 50);
}

// Breaks when the reader who never reads makes the library keep everything for him, or holds up
// the others.
TEST_CASE("host client that never reads", "[host][stream][hostile]") {
    const Engine engine = roomy_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Prompt prompt = raw_prompt(host::fixture_prompt(5));
    const Session lazy = new_session(model.get());
    const Stream unread = generate(lazy.get(), prompt.get(), at_most(1200));
    const Session busy = new_session(model.get());
    for (int i = 0; i < 5; ++i) {
        const Stream stream = generate(busy.get(), prompt.get(), at_most(60));
        REQUIRE(drain(stream.get()).ids.size() == 60);
    }
    fathom_usage usage = sized<fathom_usage>();
    REQUIRE(fathom_stream_usage(unread.get(), &usage, nullptr) == FATHOM_OK);
    REQUIRE(usage.output_tokens < 600);
    REQUIRE(usage.finished == 0);
    // What he missed is still there, all of it.
    REQUIRE(drain(unread.get()).ids.size() == 1200);
    const Stream never = generate(lazy.get(), prompt.get(), at_most(3000));
    REQUIRE(fathom_engine_shutdown(engine.get(), 50'000'000, nullptr) == FATHOM_TIMEOUT);
}

// Breaks when releases and cancels on some threads pull objects from under others that tokenize
// and generate with their own references.
TEST_CASE("host release while others work", "[host][threads][hostile]") {
    constexpr int kThreads = 64;
    for (int round = 0; round < (host::kSanitized ? 1 : 3); ++round) {
        Engine engine = roomy_engine();
        fathom_model_options options = sized<fathom_model_options>();
        options.context = 128;
        Model model = load(engine.get(), demo_model(), options);
        std::atomic<int> n_ready{0};
        std::atomic<int> n_wrong{0};
        std::vector<std::thread> threads;
        std::vector<Tokenizer> tokenizers;
        std::vector<Session> sessions;
        for (int t = 0; t < kThreads; ++t) {
            tokenizers.push_back(tokenizer_of(model.get()));
            sessions.push_back(new_session(model.get()));
        }
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                // Each thread owns its references, and lets go of them in its own order.
                Tokenizer tokenizer = std::move(tokenizers[static_cast<size_t>(t)]);
                Session session = std::move(sessions[static_cast<size_t>(t)]);
                fathom_prompt* prompt = nullptr;
                fathom_prompt_create(nullptr, nullptr, &prompt, nullptr);
                const std::vector<int32_t> ids = host::fixture_prompt(8);
                fathom_prompt_add_tokens(prompt, ids.data(), ids.size(), nullptr);
                const fathom_generate_options some = at_most(60);
                fathom_stream* stream = nullptr;
                if (fathom_session_generate(session.get(), prompt, &some, &stream, nullptr) !=
                    FATHOM_OK) {
                    ++n_wrong;
                }
                n_ready.fetch_add(1);
                if (t % 4 == 1) session.reset();
                const std::string text(20'000, static_cast<char>('a' + t % 26));
                for (int k = 0; k < 5; ++k) {
                    uint64_t count = 0;
                    if (fathom_tokenizer_encode(tokenizer.get(), text.data(), text.size(), 0,
                                                nullptr, 0, &count, nullptr) != FATHOM_OK) {
                        ++n_wrong;
                    }
                }
                if (t % 4 == 2) fathom_stream_cancel(stream);
                fathom_event event = sized<fathom_event>();
                while (t % 4 != 3 && event.type != FATHOM_EVENT_DONE) {
                    if (fathom_stream_next(stream, UINT64_MAX, &event, nullptr) != FATHOM_OK) {
                        ++n_wrong;
                        break;
                    }
                }
                if (t % 2 == 0) session.reset();
                fathom_prompt_release(prompt);
                fathom_stream_release(stream);
            });
        }
        while (n_ready.load() < kThreads / 2) std::this_thread::yield();
        model.reset();
        engine.reset();
        for (std::thread& thread : threads) thread.join();
        REQUIRE(n_wrong.load() == 0);
    }
}

namespace {

fathom_stream* to_cancel = nullptr;

void cancel_in_handler(int) { fathom_stream_cancel(to_cancel); }

}  // namespace

// Breaks when fathom_stream_cancel() is not safe in a signal handler, as its manual promises: it
// interrupts this thread inside calls of the library here.
TEST_CASE("host cancel in a signal handler", "[host][hostile]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(5));
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = cancel_in_handler;
    REQUIRE(sigaction(SIGUSR1, &action, &before) == 0);
    for (int i = 0; i < 100; ++i) {
        const Stream stream = generate(session.get(), prompt.get(), at_most(3000));
        to_cancel = stream.get();
        const pthread_t reader = pthread_self();
        std::thread sender([&] {
            std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 20)));
            pthread_kill(reader, SIGUSR1);
        });
        const Answer answer = drain(stream.get());
        sender.join();
        CAPTURE(i);
        REQUIRE(answer.finish_reason == FATHOM_FINISH_CANCELLED);
    }
    sigaction(SIGUSR1, &before, nullptr);
}
