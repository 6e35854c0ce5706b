// If these fail, one bad request or device takes others with it, or a budget is not kept.

#include <cmath>
#include <functional>
#include <limits>

#include <catch2/catch_test_macros.hpp>

#include "engine/engine.h"
#include "engine/engine_core.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fake_backend.h"
#include "simulator.h"

using namespace fathom;
using namespace fathom::simulation;

namespace {

EngineOptions manual() {
    reset_fake_control();
    EngineOptions options;
    options.mode = EngineMode::kManual;
    options.backend = fake_backend();
    options.clock = fake_clock;
    return options;
}

struct Failure {
    Status status = Status::kOk;
    std::string message;
};

Failure failure_of(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        return {error.status(), error.message()};
    }
    return {};
}

Event last_event(Stream& stream) {
    Event event;
    while (stream.next(0, event)) {
        if (event.type == EventType::kDone) break;
    }
    return event;
}

/// The same for an answer of more events than the queue takes.
Event run_to_end(Engine& engine, Stream& stream) {
    for (int tries = 0; tries < 1000; ++tries) {
        engine.step(UINT64_MAX);
        const Event event = last_event(stream);
        if (event.type == EventType::kDone && event.finish_reason != FinishReason::kNone) {
            return event;
        }
    }
    return {};
}

bool mentions(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("failures: NaN logits end one request, the others go on", "[engine]") {
    const auto engine = Engine::create(manual());
    fake_control().nan_at_token = 36;
    const auto model = EngineModel::create(engine, fake_model(256), {});
    const auto good_session = Session::create(model, 0);
    const auto bad_session = Session::create(model, 0);
    GenerateOptions options;
    options.max_tokens = 20;
    options.sampling.logit_bias = {{36, -1e4F}};
    const auto good = good_session->generate(std::vector<int32_t>{1, 2}, options);
    const auto bad = bad_session->generate(std::vector<int32_t>{1, 36}, options);
    engine->step(UINT64_MAX);
    const Event failed = last_event(*bad);
    CHECK(failed.finish_reason == FinishReason::kError);
    CHECK(failed.status == Status::kDevice);
    CHECK(mentions(std::string(failed.text), "NaN"));
    CHECK(last_event(*good).finish_reason == FinishReason::kLength);
    // The session is usable afterwards.
    const auto again = bad_session->generate(std::vector<int32_t>{1, 2}, options);
    engine->step(UINT64_MAX);
    CHECK(last_event(*again).finish_reason == FinishReason::kLength);
}

TEST_CASE("failures: a device that fails ends its engine and no other", "[engine]") {
    EngineOptions options = manual();
    std::string logged;
    options.log.user_data = &logged;
    options.log.write = [](void* user_data, int32_t, const char* text, uint64_t bytes) {
        static_cast<std::string*>(user_data)->append(text, bytes);
    };
    const auto engine = Engine::create(options);
    const auto other = Engine::create(options);
    const auto model = EngineModel::create(engine, fake_model(256), {});
    const auto other_model = EngineModel::create(other, fake_model(256), {});
    const auto session = Session::create(model, 0);
    const auto other_session = Session::create(other_model, 0);
    const std::vector<int32_t> prompt = {1, 2, 3};
    fake_control().fail_run_after = 2;
    const auto stream = session->generate(prompt, {});
    engine->step(UINT64_MAX);
    const Event done = last_event(*stream);
    CHECK(done.finish_reason == FinishReason::kError);
    CHECK(done.status == Status::kDeviceLost);
    CHECK(mentions(std::string(done.text), "told to fail"));
    CHECK(mentions(logged, "told to fail"));
    CHECK(engine->stats().device_status == Status::kDeviceLost);
    CHECK(failure_of([&] { session->generate(prompt, {}); }).status == Status::kDeviceLost);
    CHECK_FALSE(engine->step(0));
    const auto fine = other_session->generate(prompt, {.max_tokens = 3});
    other->step(UINT64_MAX);
    CHECK(last_event(*fine).finish_reason == FinishReason::kLength);
}

TEST_CASE("failures: budgets are kept and say what was missing", "[engine]") {
    EngineOptions options = manual();
    options.kv_cache_bytes = 4 * kPageTokens * 8;
    options.memory_budget = 2 * 4 * kPageTokens * 8 + 2 * 512 * 8 + 1000;
    const auto engine = Engine::create(options);
    ModelParts parts = fake_model(1024);
    parts.weight_bytes = 600;
    auto first = EngineModel::create(engine, parts, {});
    const Failure second = failure_of([&] { EngineModel::create(engine, parts, {}); });
    CHECK(second.status == Status::kBudget);
    CHECK(mentions(second.message, "600"));
    CHECK(mentions(second.message, "13288"));  // the budget
    CHECK(engine->stats().n_models == 1);
    parts.weight_bytes = 400;
    CHECK(EngineModel::create(engine, parts, {}) != nullptr);
    first.reset();
    parts.weight_bytes = 600;
    CHECK(EngineModel::create(engine, parts, {}) != nullptr);
    CHECK(engine->stats().memory_bytes == 0);

    const auto model = EngineModel::create(engine, parts, {});
    const auto session = Session::create(model, 0);
    const std::vector<int32_t> prompt(200, 1);
    CHECK(failure_of([&] { session->generate(prompt, {.max_tokens = 57}); }).status ==
          Status::kBudget);
    const auto fits = session->generate(prompt, {.max_tokens = 56});
    engine->step(UINT64_MAX);
    CHECK(last_event(*fits).finish_reason == FinishReason::kLength);
    CHECK(session->describe().n_tokens == 256);
    CHECK(session->describe().kv_bytes == 4 * kPageTokens * 8);
    // Without a number of tokens the answer takes what the cache leaves.
    const auto open_end = session->generate(prompt, {});
    engine->step(UINT64_MAX);
    CHECK(last_event(*open_end).finish_reason == FinishReason::kLength);
    CHECK(session->describe().n_tokens == 256);
    const std::vector<int32_t> too_long(257, 1);
    CHECK(failure_of([&] { session->generate(too_long, {}); }).status == Status::kBudget);

    options.kv_cache_bytes = kPageTokens * 8 - 1;
    options.memory_budget = 0;
    const auto small = Engine::create(options);
    CHECK(failure_of([&] { EngineModel::create(small, parts, {}); }).status == Status::kBudget);
}

TEST_CASE("failures: the context has an exact end", "[engine]") {
    const auto engine = Engine::create(manual());
    const auto model = EngineModel::create(engine, fake_model(100), {});
    CHECK(model->context() == 100);
    CHECK(failure_of([&] { Session::create(model, 101); }).status == Status::kInvalidArgument);
    CHECK(failure_of([&] {
              EngineModel::create(engine, fake_model(100), {.context = 101});
          }).status == Status::kInvalidArgument);
    const auto session = Session::create(model, 50);
    const std::vector<int32_t> full(50, 3);
    const Failure refused = failure_of([&] { session->generate(full, {}); });
    CHECK(refused.status == Status::kContextFull);
    CHECK(mentions(refused.message, "1 too many"));
    CHECK(session->describe().n_tokens == 0);
    GenerateOptions only_prompt;
    only_prompt.flags = kGeneratePromptOnly;
    const auto whole = session->generate(full, only_prompt);
    engine->step(UINT64_MAX);
    CHECK(last_event(*whole).finish_reason == FinishReason::kLength);
    CHECK(whole->usage().prompt_fresh == 50);
    const auto last = session->generate(std::span(full).first(49), {});
    engine->step(UINT64_MAX);
    CHECK(last_event(*last).finish_reason == FinishReason::kLength);
    CHECK(last->usage().output_tokens == 1);
    CHECK(last->usage().prompt_cached == 48);
    GenerateOptions append;
    append.flags = kGenerateAppend;
    CHECK(failure_of([&] { session->generate(std::span(full).first(1), append); }).status ==
          Status::kContextFull);
    session->truncate(20);
    const auto more = session->generate(std::span(full).first(1), append);
    engine->step(UINT64_MAX);
    CHECK(last_event(*more).finish_reason == FinishReason::kLength);
    CHECK(more->usage().prompt_cached == 20);
    CHECK(more->usage().prompt_fresh == 1);
    CHECK(more->usage().output_tokens == 29);
    CHECK(failure_of([&] { session->truncate(51); }).status == Status::kInvalidArgument);
}

TEST_CASE("failures: hostile 31 and 32: ids and options out of range", "[engine]") {
    const auto engine = Engine::create(manual());
    const auto model = EngineModel::create(engine, fake_model(100), {});
    const auto session = Session::create(model, 0);
    const auto refused = [&](std::vector<int32_t> prompt, const GenerateOptions& options,
                             std::string_view field) {
        const Failure failure = failure_of([&] { session->generate(prompt, options); });
        CAPTURE(field, failure.message);
        CHECK(failure.status == Status::kInvalidArgument);
        CHECK(mentions(failure.message, field));
    };
    refused({}, {}, "empty prompt");
    refused({1, -1}, {}, "prompt token 1");
    refused({1, 2, kVocabRows}, {}, "prompt token 2");
    refused({INT32_MIN}, {}, "prompt token 0");

    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    struct Field {
        const char* name;
        float SamplingOptions::*member;
        float low;
        float high;
    };
    const Field fields[] = {{"temperature", &SamplingOptions::temperature, 0.01F, 100},
                            {"top_p", &SamplingOptions::top_p, 0, 1},
                            {"min_p", &SamplingOptions::min_p, 0, 1},
                            {"repetition_penalty", &SamplingOptions::repetition_penalty, 0.01F,
                             100},
                            {"presence_penalty", &SamplingOptions::presence_penalty, -2, 2},
                            {"frequency_penalty", &SamplingOptions::frequency_penalty, -2, 2}};
    for (const Field& field : fields) {
        GenerateOptions options;
        for (const float value : {kNan, kInfinity, -kInfinity, 1e38F, -1e38F,
                                  std::nextafter(field.high, kInfinity),
                                  field.low == 0 ? -1e-30F
                                                 : std::nextafter(field.low, -kInfinity)}) {
            options.sampling.*field.member = value;
            refused({1}, options, field.name);
        }
        for (const float value : {field.low, field.high, 0.0F}) {
            options.sampling.*field.member = value;
            options.max_tokens = 1;
            const auto stream = session->generate(std::vector<int32_t>{1}, options);
            engine->step(UINT64_MAX);
            CHECK(last_event(*stream).finish_reason == FinishReason::kLength);
        }
    }
    const auto with = [](auto change) {
        GenerateOptions options;
        change(options);
        return options;
    };
    refused({1}, with([](auto& o) { o.flags = 1U << 31; }), "flags");
    refused({1}, with([](auto& o) { o.sampling.top_k = -1; }), "top_k");
    refused({1}, with([](auto& o) { o.sampling.logprobs = 22; }), "logprobs");
    refused({1}, with([](auto& o) { o.sampling.logprobs = -1; }), "logprobs");
    refused({1}, with([](auto& o) { o.sampling.logit_bias = {{1, 1e38F}}; }), "logit_bias");
    refused({1}, with([](auto& o) { o.sampling.logit_bias = {{1, std::nanf("")}}; }), "logit_bias");
    refused({1}, with([](auto& o) { o.sampling.logit_bias = {{kTokens, 1}}; }), "logit_bias[0]");
    refused({1}, with([](auto& o) { o.sampling.logit_bias.resize(1025); }), "n_logit_bias");
    refused({1}, with([](auto& o) { o.stop_ids = {1, -5}; }), "stop_ids[1]");
    refused({1}, with([](auto& o) { o.stop_ids.resize(65); }), "n_stop_ids");
    refused({1}, with([](auto& o) { o.stop.resize(1'000'000, "x"); }), "n_stop");
    refused({1}, with([](auto& o) { o.stop = {"a", ""}; }), "stop[1]");
    refused({1}, with([](auto& o) { o.stop = {std::string(4097, 'x')}; }), "stop[0]");
    refused({1}, with([](auto& o) { o.stop = {"x"}; }), "no tokenizer");

    // As much as there is: a huge number of tokens or time is not a mistake.
    const auto stream = session->generate(
        std::vector<int32_t>{1},
        {.max_tokens = uint64_t{1} << 63, .deadline_ns = UINT64_MAX});
    CHECK(run_to_end(*engine, *stream).finish_reason == FinishReason::kLength);
    CHECK(session->describe().n_tokens == 100);
}

TEST_CASE("failures: engine options out of range", "[engine]") {
    const auto refused = [](auto change, std::string_view field) {
        EngineOptions options = manual();
        change(options);
        const Failure failure = failure_of([&] { Engine::create(options); });
        CAPTURE(failure.message);
        CHECK(failure.status == Status::kInvalidArgument);
        CHECK(mentions(failure.message, field));
    };
    refused([](auto& o) { o.n_threads = -1; }, "n_threads");
    refused([](auto& o) { o.n_threads = 1025; }, "n_threads");
    refused([](auto& o) { o.max_batch_rows = 65537; }, "max_batch_rows");
    refused([](auto& o) { o.max_batch_rows = -1; }, "max_batch_rows");
    refused([](auto& o) { o.max_sequences = 4097; }, "max_sequences");
    refused([](auto& o) { o.mode = static_cast<EngineMode>(2); }, "mode");
    refused([](auto& o) { o.cpu_level = static_cast<CpuIsa>(9); }, "cpu_level");
}
