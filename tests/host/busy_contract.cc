#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

/// Makes the call until it gives `wanted` or ten seconds have passed; the last status.
int32_t status_within_10_s(int32_t wanted, const std::function<int32_t()>& call) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    int32_t status = FATHOM_OK;
    do {
        status = call();
    } while (status != wanted && std::chrono::steady_clock::now() < end);
    return status;
}

/// Repeats a long call on a thread of its own until the end of the scope.
class Occupied {
public:
    explicit Occupied(std::function<int32_t()> call)
        : call_(std::move(call)), thread_([this] {
              while (!stop_.load()) call_();
          }) {}
    ~Occupied() {
        stop_.store(true);
        thread_.join();
    }

private:
    std::function<int32_t()> call_;
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace

// Breaks when two threads in one prompt are undefined instead of BUSY.
TEST_CASE("host prompt BUSY", "[host][prompt][threads]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Session session = new_session(model.get());
    std::string text;
    while (text.size() < size_t{2} << 20) text += "The invoice 4711 over 12,50 EUR. ";
    const Prompt prompt = question(tokenizer.get(), text);
    const Occupied rendering([&] {
        uint64_t count = 0;
        return fathom_prompt_render(prompt.get(), nullptr, 0, &count, nullptr);
    });
    const int32_t id = 3;
    const std::string json = R"([{"role":"user","content":"x"}])";
    fathom_stream* stream = nullptr;
    uint64_t count = 0;
    const fathom_message no_role = sized<fathom_message>();
    REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                fathom_message message = no_role;
                message.role = FATHOM_ROLE_USER;
                return fathom_prompt_add_message(prompt.get(), &message, nullptr);
            }) == FATHOM_BUSY);
    REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                return fathom_prompt_add_tokens(prompt.get(), &id, 1, nullptr);
            }) == FATHOM_BUSY);
    REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                return fathom_prompt_add_openai_json(prompt.get(), json.data(), json.size(),
                                                     nullptr);
            }) == FATHOM_BUSY);
    REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                return fathom_prompt_render(prompt.get(), nullptr, 0, &count, nullptr);
            }) == FATHOM_BUSY);
    REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                return fathom_session_generate(session.get(), prompt.get(), nullptr, &stream,
                                               nullptr);
            }) == FATHOM_BUSY);
    REQUIRE(stream == nullptr);
}

// Breaks when two threads in one session are undefined instead of BUSY.
TEST_CASE("host session BUSY between two threads", "[host][session][threads]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    // Looking through so many ids takes a while; the last one is none of the model's.
    std::vector<int32_t> ids(size_t{2} << 20, 3);
    ids.back() = 5000;
    const Prompt prompt = raw_prompt(ids);
    const Prompt good = raw_prompt(host::fixture_prompt(5));
    const auto ask = [&](const Prompt& what) {
        fathom_stream* stream = nullptr;
        const int32_t status =
            fathom_session_generate(session.get(), what.get(), nullptr, &stream, nullptr);
        fathom_stream_release(stream);
        return status;
    };
    REQUIRE(ask(prompt) == FATHOM_INVALID_ARGUMENT);
    {
        const Occupied asking([&] { return ask(prompt); });
        REQUIRE(status_within_10_s(FATHOM_BUSY, [&] {
                    return fathom_session_truncate(session.get(), 0, nullptr);
                }) == FATHOM_BUSY);
        REQUIRE(status_within_10_s(FATHOM_BUSY, [&] { return ask(good); }) == FATHOM_BUSY);
        fathom_session_description facts = sized<fathom_session_description>();
        REQUIRE(fathom_session_describe(session.get(), &facts, nullptr) == FATHOM_OK);
    }
    REQUIRE(status_within_10_s(FATHOM_OK, [&] { return ask(good); }) == FATHOM_OK);
}

// Breaks when two threads in fathom_engine_step() step at once instead of one being refused.
TEST_CASE("host engine_step BUSY", "[host][threads]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    options.max_batch_rows = 128;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(4000));
    fathom_generate_options scoring = sized<fathom_generate_options>();
    scoring.flags = FATHOM_GENERATE_PROMPT_ONLY;
    const auto n_steps = [&] {
        fathom_engine_stats stats = sized<fathom_engine_stats>();
        fathom_engine_stats_read(engine.get(), &stats, nullptr);
        return stats.n_steps;
    };
    // Once the first of 32 steps is done, the other thread is inside, unless this one is kept from
    // running for as long as the rest take: then once more.
    int32_t status = FATHOM_OK;
    for (int tries = 0; tries < 20 && status != FATHOM_BUSY; ++tries) {
        REQUIRE(fathom_session_truncate(session.get(), 0, nullptr) == FATHOM_OK);
        const Stream stream = generate(session.get(), prompt.get(), scoring);
        const uint64_t before = n_steps();
        int32_t more = 1;
        int32_t stepped = FATHOM_INTERNAL;
        std::thread stepper(
            [&] { stepped = fathom_engine_step(engine.get(), UINT64_MAX, &more, nullptr); });
        const int32_t begun =
            status_within_10_s(1, [&] { return n_steps() > before ? 1 : 0; });
        status = fathom_engine_step(engine.get(), 0, nullptr, nullptr);
        stepper.join();
        REQUIRE(begun == 1);
        REQUIRE((status == FATHOM_OK || status == FATHOM_BUSY));
        REQUIRE(stepped == FATHOM_OK);
        REQUIRE(more == 0);
        REQUIRE(drain(stream.get()).finish_reason == FATHOM_FINISH_LENGTH);
    }
    REQUIRE(status == FATHOM_BUSY);
}
