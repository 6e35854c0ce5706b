#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

fathom_model_description describe(const fathom_model* model) {
    fathom_model_description description = sized<fathom_model_description>();
    REQUIRE(fathom_model_describe(model, &description, nullptr) == FATHOM_OK);
    return description;
}

fathom_engine_stats stats_of(fathom_engine* engine) {
    fathom_engine_stats stats = sized<fathom_engine_stats>();
    REQUIRE(fathom_engine_stats_read(engine, &stats, nullptr) == FATHOM_OK);
    return stats;
}

std::string metadata(const fathom_model* model, const char* key) {
    const char* value = nullptr;
    REQUIRE(fathom_model_metadata_get(model, key, &value, nullptr, nullptr) == FATHOM_OK);
    return value;
}

fathom_engine_options manual() {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    return options;
}

void step(fathom_engine* engine) {
    REQUIRE(fathom_engine_step(engine, 0, nullptr, nullptr) == FATHOM_OK);
}

}  // namespace

// Breaks when the KV cache has another type than was asked for, or than suits the weights.
TEST_CASE("host option kv_type", "[host]") {
    const Engine engine = new_engine(manual());
    for (const std::string name : {"v3-f32", "v3-bf16"}) {
        uint64_t bytes[3] = {};
        for (const int32_t type : {FATHOM_KV_AUTO, FATHOM_KV_BF16, FATHOM_KV_F32}) {
            fathom_model_options options = sized<fathom_model_options>();
            options.kv_type = type;
            options.context = 256;
            const fathom_model_description facts =
                describe(load(engine.get(), fixture(name), options).get());
            const int32_t natural = name == "v3-f32" ? FATHOM_KV_F32 : FATHOM_KV_BF16;
            CAPTURE(name, type);
            REQUIRE(facts.kv_type == (type == FATHOM_KV_AUTO ? natural : type));
            bytes[type] = facts.kv_bytes_per_token;
        }
        REQUIRE(bytes[FATHOM_KV_F32] == 2 * bytes[FATHOM_KV_BF16]);
    }
}

// Breaks when a level that was forced is not the one that computes.
TEST_CASE("host option cpu_level", "[host]") {
    const char* const names[] = {"", "scalar", "avx2", "avx512", "avx512_bf16"};
    int n_levels = 0;
    for (int32_t level = FATHOM_CPU_SCALAR; level <= FATHOM_CPU_AVX512_BF16; ++level) {
        fathom_engine_options options = manual();
        options.cpu_level = level;
        fathom_engine* created = nullptr;
        const int32_t status = fathom_engine_create(&options, &created, nullptr);
        const Engine engine(created);
        CAPTURE(level);
        if (status == FATHOM_UNSUPPORTED) continue;  // a lesser processor
        REQUIRE(status == FATHOM_OK);
        const Model model = load(engine.get(), fixture("v3-f32"));
        const std::string backend = metadata(model.get(), "backend");
        CAPTURE(backend);
        const size_t at = backend.find(names[level]);
        REQUIRE(at != std::string::npos);
        // "avx512" alone, not the beginning of "avx512_bf16".
        REQUIRE(backend.substr(at + std::strlen(names[level]), 1) != "_");
        ++n_levels;
    }
    REQUIRE(n_levels >= 1);
}

// Breaks when a model speaks another dialect than was named.
TEST_CASE("host option dialect", "[host]") {
    const Engine engine = new_engine(manual());
    for (const std::string name : {"deepseek-v2.5", "deepseek-v3", "deepseek-r1"}) {
        fathom_model_options options = sized<fathom_model_options>();
        // Without a NUL behind it: the length counts.
        const std::string longer = name + "-and-more";
        options.dialect = longer.data();
        options.dialect_bytes = name.size();
        const Model model = load(engine.get(), demo_model(), options);
        REQUIRE(describe(model.get()).dialect == name);
        REQUIRE(metadata(model.get(), "dialect") == name);
    }
    const std::string recognised = describe(load(engine.get(), demo_model()).get()).dialect;
    REQUIRE(recognised.starts_with("deepseek-v3.1"));
}

// Breaks when an engine computes with more or fewer threads than the host gave it.
TEST_CASE("host option n_threads", "[host]") {
    const size_t before = host::n_threads_settled(1);
    for (const size_t n_threads : {size_t{1}, size_t{2}, size_t{5}}) {
        for (const int32_t mode : {FATHOM_MODE_MANUAL, FATHOM_MODE_THREADED}) {
            fathom_engine_options options = sized<fathom_engine_options>();
            options.mode = mode;
            options.n_threads = static_cast<int32_t>(n_threads);
            const Engine engine = new_engine(options);
            const Model model = load(engine.get(), fixture("v3-f32"));
            // One of the computing threads is the one that steps: the engine's own, or the host's.
            const size_t own = mode == FATHOM_MODE_THREADED ? 1 : 0;
            CAPTURE(n_threads, mode);
            REQUIRE(host::n_threads_settled(before + own + n_threads - 1) ==
                    before + own + n_threads - 1);
        }
    }
    REQUIRE(host::n_threads_settled(before) == before);
}

// Breaks when a step takes more rows or sequences than the host allowed, or the pool has another
// size.
TEST_CASE("host options of a step and of the KV cache", "[host]") {
    fathom_engine_options options = manual();
    options.max_batch_rows = 32;
    options.max_sequences = 3;
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    REQUIRE(fathom_model_estimate(&options, &source, nullptr, &plan, nullptr) == FATHOM_OK);
    options.kv_cache_bytes = plan.kv_bytes_per_token * 64 * 20 + 1;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), folder);
    REQUIRE(stats_of(engine.get()).kv_pages == 20);
    std::vector<Session> sessions;
    std::vector<Stream> streams;
    const Prompt prompt = raw_prompt(host::fixture_prompt(100));
    for (int i = 0; i < 5; ++i) {
        sessions.push_back(new_session(model.get()));
        streams.push_back(generate(sessions.back().get(), prompt.get(), at_most(40)));
    }
    uint64_t most_running = 0;
    for (int i = 0; i < 20; ++i) {
        const fathom_engine_stats before = stats_of(engine.get());
        step(engine.get());
        const fathom_engine_stats after = stats_of(engine.get());
        const uint64_t rows = after.prefill_tokens - before.prefill_tokens;
        REQUIRE(rows <= 32);
        if (i == 0) REQUIRE(rows == 32);
        most_running = std::max(most_running, after.n_running);
    }
    REQUIRE(most_running == 3);
    // A session is as long as it was asked to be.
    fathom_session_options session_options = sized<fathom_session_options>();
    session_options.context = 77;
    fathom_session* session = nullptr;
    REQUIRE(fathom_session_create(model.get(), &session_options, &session, nullptr) == FATHOM_OK);
    const Session owned(session);
    fathom_session_description facts = sized<fathom_session_description>();
    REQUIRE(fathom_session_describe(session, &facts, nullptr) == FATHOM_OK);
    REQUIRE(facts.context == 77);
}
