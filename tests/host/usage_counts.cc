#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

fathom_usage usage_of(const fathom_stream* stream) {
    fathom_usage usage = sized<fathom_usage>();
    REQUIRE(fathom_stream_usage(stream, &usage, nullptr) == FATHOM_OK);
    return usage;
}

int32_t id_of(const fathom_tokenizer* tokenizer, const std::string& spelling) {
    int32_t id = -1;
    uint64_t count = 0;
    REQUIRE(fathom_tokenizer_encode(tokenizer, spelling.data(), spelling.size(),
                                    FATHOM_ENCODE_SPECIAL, &id, 1, &count, nullptr) == FATHOM_OK);
    REQUIRE(count == 1);
    return id;
}

}  // namespace

// Breaks when a host that bills reasoning apart from answers bills the wrong one.
TEST_CASE("host usage splits reasoning and answer", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const int32_t end_of_reasoning = id_of(tokenizer.get(), "</think>");
    for (const int32_t thinking : {FATHOM_THINKING_ON, FATHOM_THINKING_OFF}) {
        const Session session = new_session(model.get());
        const Prompt prompt = question(tokenizer.get(), "What is 12 + 34?", thinking);
        const Stream stream =
            generate(session.get(), prompt.get(), sized<fathom_generate_options>());
        REQUIRE(usage_of(stream.get()).struct_size == sizeof(fathom_usage));
        const Answer answer = drain(stream.get());
        const fathom_usage usage = usage_of(stream.get());
        CAPTURE(thinking, answer.reasoning, answer.text);
        REQUIRE(answer.finish_reason == FATHOM_FINISH_END_OF_TURN);
        REQUIRE(usage.finished == 1);
        const auto end = std::find(answer.ids.begin(), answer.ids.end(), end_of_reasoning);
        if (thinking == FATHOM_THINKING_ON) {
            REQUIRE(!answer.reasoning.empty());
            REQUIRE(end != answer.ids.end());
            REQUIRE(usage.reasoning_tokens ==
                    static_cast<uint64_t>(end - answer.ids.begin()) + 1);
        } else {
            REQUIRE(answer.reasoning.empty());
            REQUIRE(usage.reasoning_tokens == 0);
        }
        REQUIRE(usage.reasoning_tokens + usage.output_tokens == answer.ids.size());
        REQUIRE(!answer.text.empty());
    }
}

// Breaks when the progress of a long prompt goes backwards, past its end or never there.
TEST_CASE("host progress of a prompt", "[host][stream]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.max_batch_rows = 32;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const auto check = [&](const std::vector<int32_t>& ids, uint64_t fresh) {
        const Prompt prompt = raw_prompt(ids);
        const Stream stream = generate(session.get(), prompt.get(), at_most(3));
        fathom_event event = sized<fathom_event>();
        uint64_t done = 0;
        int n_events = 0;
        do {
            REQUIRE(fathom_stream_next(stream.get(), UINT64_MAX, &event, nullptr) == FATHOM_OK);
            if (event.type != FATHOM_EVENT_PROGRESS) {
                REQUIRE(event.tokens_done == 0);
                REQUIRE(event.tokens_total == 0);
                continue;
            }
            ++n_events;
            REQUIRE(event.tokens_total == fresh);
            REQUIRE(event.tokens_done > done);
            done = event.tokens_done;
            REQUIRE(done == std::min<uint64_t>(fresh, 32 * static_cast<uint64_t>(n_events)));
        } while (event.type != FATHOM_EVENT_DONE);
        REQUIRE(done == fresh);
        const fathom_usage usage = usage_of(stream.get());
        REQUIRE(usage.prompt_fresh == fresh);
        REQUIRE(usage.prompt_cached == ids.size() - fresh);
    };
    std::vector<int32_t> ids = host::fixture_prompt(150);
    check(ids, 150);
    // Two pages and a bit are as they were.
    ids.resize(130);
    const std::vector<int32_t> more = host::fixture_prompt(70);
    ids.insert(ids.end(), more.rbegin(), more.rend());
    check(ids, 70);
}

// Breaks when the engine's counters of work and time do not add up.
TEST_CASE("host stats count tokens and time", "[host]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    options.max_sequences = 1;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const auto stats = [&] {
        fathom_engine_stats now = sized<fathom_engine_stats>();
        REQUIRE(fathom_engine_stats_read(engine.get(), &now, nullptr) == FATHOM_OK);
        return now;
    };
    const Session sessions[] = {new_session(model.get()), new_session(model.get())};
    REQUIRE(stats().n_sessions == 2);
    const Prompt prompt = raw_prompt(host::fixture_prompt(100));
    const Stream first = generate(sessions[0].get(), prompt.get(), at_most(10));
    const Stream second = generate(sessions[1].get(), prompt.get(), at_most(10));
    REQUIRE(stats().n_waiting == 2);
    REQUIRE(stats().n_running == 0);
    REQUIRE(fathom_engine_step(engine.get(), 0, nullptr, nullptr) == FATHOM_OK);
    REQUIRE(stats().n_waiting == 1);
    REQUIRE(stats().n_running == 1);
    REQUIRE(stats().kv_pages_used == 2);
    REQUIRE(stats().n_steps == 1);
    REQUIRE(stats().prefill_tokens == 100);
    REQUIRE(stats().decode_tokens == 1);
    int32_t more = 1;
    while (more == 1) REQUIRE(fathom_engine_step(engine.get(), 0, &more, nullptr) == FATHOM_OK);
    const fathom_engine_stats after = stats();
    REQUIRE(after.n_waiting == 0);
    REQUIRE(after.n_running == 0);
    REQUIRE(after.n_steps == 20);
    REQUIRE(after.prefill_tokens == 200);
    REQUIRE(after.decode_tokens == 20);
    REQUIRE(after.device_status == FATHOM_OK);
    REQUIRE(after.backend_ns_total > 0);
    REQUIRE(after.backend_ns_total <= after.step_ns_total);
}
