// If these fail, a host that bills or tunes by fathom_usage and fathom_engine_stats works with
// wrong times.
#include <memory>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "abi/handles.h"
#include "engine/engine.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fake_backend.h"
#include "simulator.h"

using namespace fathom;
using namespace fathom::simulation;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;
// The clock advances by a microsecond with every look, which are a few between two advances.
constexpr uint64_t kSlack = kSecond / 100;

/// Every time is another number of seconds, so that none can be taken for another.
bool about(uint64_t found_ns, uint64_t wanted_s) {
    return found_ns >= wanted_s * kSecond && found_ns <= wanted_s * kSecond + kSlack;
}

std::shared_ptr<Engine> manual_engine(int32_t max_sequences) {
    reset_fake_control();
    EngineOptions options;
    options.mode = EngineMode::kManual;
    options.backend = fake_backend();
    options.clock = fake_clock;
    options.max_sequences = max_sequences;
    options.max_batch_rows = 8;
    return Engine::create(options);
}

/// As a host reads it.
fathom_usage usage_of(const std::shared_ptr<Stream>& stream) {
    auto handle = std::make_unique<fathom_stream>();
    handle->stream = stream;
    fathom_usage usage = {};
    usage.struct_size = sizeof usage;
    REQUIRE(fathom_stream_usage(handle.get(), &usage, nullptr) == FATHOM_OK);
    return usage;
}

}  // namespace

TEST_CASE("usage: the times of waiting, prompt and answer", "[engine]") {
    const auto engine = manual_engine(64);
    const auto model = EngineModel::create(engine, fake_model(256), {});
    const auto session = Session::create(model, 0);
    GenerateOptions options;
    options.max_tokens = 3;
    const auto stream = session->generate(std::vector<int32_t>(20, 1), options);
    CHECK(usage_of(stream).finished == 0);
    advance_fake_clock(5 * kSecond);
    engine->step(0);  // 8 of the 20 tokens
    fathom_usage usage = usage_of(stream);
    CHECK(about(usage.queue_ns, 5));
    CHECK(usage.prompt_fresh == 8);
    CHECK(usage.prefill_ns == 0);
    advance_fake_clock(7 * kSecond);
    engine->step(0);
    advance_fake_clock(4 * kSecond);
    engine->step(0);  // the rest, and the first token
    usage = usage_of(stream);
    CHECK(about(usage.prefill_ns, 11));
    CHECK(usage.decode_ns == 0);
    CHECK(usage.output_tokens == 1);
    advance_fake_clock(2 * kSecond);
    engine->step(0);
    CHECK(about(usage_of(stream).decode_ns, 2));
    advance_fake_clock(17 * kSecond);
    engine->step(0);
    usage = usage_of(stream);
    CHECK(usage.finished == 1);
    CHECK(usage.prompt_fresh == 20);
    CHECK(usage.prompt_cached == 0);
    CHECK(usage.reasoning_tokens == 0);
    CHECK(usage.output_tokens == 3);
    CHECK(about(usage.queue_ns, 5));
    CHECK(about(usage.prefill_ns, 11));
    CHECK(about(usage.decode_ns, 19));
    advance_fake_clock(100 * kSecond);
    engine->step(0);
    CHECK(about(usage_of(stream).decode_ns, 19));
}

TEST_CASE("usage: an answer that never began has waited, and nothing else", "[engine]") {
    const auto engine = manual_engine(1);
    const auto model = EngineModel::create(engine, fake_model(256), {});
    const auto running = Session::create(model, 0);
    const auto waiting = Session::create(model, 0);
    const auto first = running->generate(std::vector<int32_t>{1, 2}, {.max_tokens = 100});
    const auto second = waiting->generate(std::vector<int32_t>{1, 2}, {.max_tokens = 100});
    advance_fake_clock(3 * kSecond);
    engine->step(0);
    second->cancel();
    advance_fake_clock(6 * kSecond);
    engine->step(0);
    const fathom_usage usage = usage_of(second);
    CHECK(usage.finished == 1);
    CHECK(about(usage.queue_ns, 9));
    CHECK(usage.prefill_ns == 0);
    CHECK(usage.decode_ns == 0);
    CHECK(usage.prompt_fresh + usage.prompt_cached == 0);
    CHECK(usage.output_tokens == 0);
    CHECK(about(usage_of(first).queue_ns, 3));
}

TEST_CASE("usage: an answer cancelled inside its prompt has its time so far", "[engine]") {
    const auto engine = manual_engine(64);
    const auto model = EngineModel::create(engine, fake_model(256), {});
    const auto session = Session::create(model, 0);
    const auto stream = session->generate(std::vector<int32_t>(20, 1), {.max_tokens = 3});
    engine->step(0);
    advance_fake_clock(4 * kSecond);
    stream->cancel();
    engine->step(0);
    const fathom_usage usage = usage_of(stream);
    CHECK(usage.finished == 1);
    CHECK(about(usage.queue_ns, 0));
    CHECK(about(usage.prefill_ns, 4));
    CHECK(usage.decode_ns == 0);
    CHECK(usage.prompt_fresh == 8);
}
