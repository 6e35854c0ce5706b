// If this fails, a long answer makes the host's heap grow or fragment, token by token.

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/file.h"
#include "base/text.h"
#include "engine/engine.h"
#include "engine/engine_model.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fake_backend.h"
#include "simulator.h"
#include "tokenizer/tokenizer.h"

namespace {

std::atomic<uint64_t> n_allocations{0};
std::atomic<int64_t> n_until_failure{-1};  // allocations that succeed before one fails; -1: none

void* counted(size_t bytes) {
    n_allocations.fetch_add(1, std::memory_order_relaxed);
    if (n_until_failure.load() >= 0 && n_until_failure.fetch_sub(1) == 0) throw std::bad_alloc();
    void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

// The whole program counts; only this test looks.
void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

using namespace fathom;
using namespace fathom::simulation;

namespace {

/// Allocations of a step and the reading of its events, summed over `n_steps`.
uint64_t count_steps(Engine& engine, std::vector<std::shared_ptr<Stream>>& streams, int n_steps) {
    Event event;
    const uint64_t before = n_allocations.load();
    for (int i = 0; i < n_steps; ++i) {
        engine.step(0);
        for (const std::shared_ptr<Stream>& stream : streams) {
            while (stream->next(0, event)) {
            }
        }
    }
    return n_allocations.load() - before;
}

}  // namespace

TEST_CASE("a decoded token allocates nothing after warm-up", "[simulation][allocations]") {
    reset_fake_control();
    EngineOptions options;
    options.mode = EngineMode::kManual;
    options.backend = fake_backend();
    options.clock = fake_clock;
    options.kv_cache_bytes = 4 * 1024 * 8;
    const auto engine = Engine::create(options);
    const auto model = EngineModel::create(engine, fake_model(1024), {});
    std::vector<SamplingOptions> kinds(3);
    kinds[1] = {.temperature = 0.9F,
                .top_k = 20,
                .top_p = 0.9F,
                .min_p = 0.01F,
                .repetition_penalty = 1.1F,
                .frequency_penalty = 0.1F,
                .logit_bias = {{3, 1.0F}}};
    kinds[2] = {.temperature = 1, .logprobs = kMaxLogprobs};
    std::vector<std::shared_ptr<Stream>> streams;
    const std::vector<int32_t> prompt = {1, 2, 3, 4, 5};
    for (const SamplingOptions& kind : kinds) {
        GenerateOptions generate;
        generate.sampling = kind;
        streams.push_back(Session::create(model, 0)->generate(prompt, generate));
    }
    // The ring of each stream has to be gone through once.
    count_steps(*engine, streams, 140);
    // Crosses page borders of every stream on the way.
    CHECK(count_steps(*engine, streams, 300) == 0);
    CHECK(engine->stats().decode_tokens >= 3 * 430);
}

TEST_CASE("a decoded token of a real model allocates nothing", "[simulation][allocations]") {
    const std::string folder = concat(FATHOM_SOURCE_DIR, "/examples/demo-model/model");
    REQUIRE(Directory(folder).contains("model.safetensors"));
    const auto engine = Engine::create({.mode = EngineMode::kManual, .n_threads = 1});
    const auto model = EngineModel::load(engine, folder, {.context = 400});
    std::vector<int32_t> prompt;
    model->tokenizer()->encode("An order of ", false, prompt);
    GenerateOptions options;
    options.flags = kGenerateIgnoreEos;
    options.sampling = {.temperature = 1.2F, .repetition_penalty = 1.2F, .seed = 5};
    options.stop = {"a stop string that does not come"};
    std::vector<std::shared_ptr<Stream>> streams;
    streams.push_back(Session::create(model, 0)->generate(prompt, options));
    count_steps(*engine, streams, 150);
    CHECK(count_steps(*engine, streams, 200) == 0);
    CHECK(engine->stats().decode_tokens >= 340);
}

TEST_CASE("hostile 43: memory is refused at every point of a request", "[engine][allocations]") {
    reset_fake_control();
    EngineOptions options;
    options.mode = EngineMode::kManual;
    options.backend = fake_backend();
    options.clock = fake_clock;
    const auto engine = Engine::create(options);
    const std::vector<int32_t> prompt = {1, 2, 3, 4, 5};
    GenerateOptions generate;
    generate.max_tokens = 6;
    generate.sampling = {.temperature = 1, .repetition_penalty = 1.1F, .logprobs = 21};
    generate.stop_ids = {kTokens - 1};
    const Answer wanted = expected_answer(prompt, generate, 11, {});
    int n_failed = 0;
    int n_failed_in_stream = 0;
    for (int64_t n = 0; n < 4000; ++n) {
        bool failed = false;
        std::vector<int32_t> ids;
        ids.reserve(64);
        Event event;
        n_until_failure.store(n);
        try {
            const auto model = EngineModel::create(engine, fake_model(256), {});
            const auto stream = Session::create(model, 0)->generate(prompt, generate);
            engine->step(UINT64_MAX);
            while (stream->next(0, event)) {
                ids.insert(ids.end(), event.ids.begin(), event.ids.end());
                if (event.type == EventType::kDone) break;
            }
            failed = event.status == Status::kNoMemory;
            n_failed_in_stream += failed ? 1 : 0;
        } catch (const std::bad_alloc&) {
            failed = true;
        } catch (const Error& error) {
            failed = error.status() == Status::kNoMemory;
        }
        const bool was_reached = n_until_failure.exchange(-1) < 0;
        n_failed += failed ? 1 : 0;
        const EngineStats stats = engine->stats();
        if (stats.n_models + stats.n_sessions + stats.memory_bytes + stats.kv_pages_used != 0) {
            FAIL("something is left after failure " << n);
        }
        if (!failed && ids != wanted.tokens) {
            FAIL("a wrong answer after failure " << n << ": " << ids.size() << " tokens, status "
                                                 << static_cast<int>(event.status) << ", reason "
                                                 << static_cast<int>(event.finish_reason));
        }
        if (!was_reached) break;  // everything fits before the first failure
        if (n == 3999) FAIL("the request never got through");
    }
    CHECK(n_failed > 20);
    CHECK(n_failed_in_stream > 0);
    CHECK(engine->stats().device_status == Status::kOk);
    CHECK(fake_control().n_executors == 0);
}
