#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

struct Setup {
    int32_t n_threads;
    int32_t max_batch_rows;
    int n_beside;  // requests that run at the same time
};

fathom_generate_options sampled() {
    fathom_generate_options options = at_most(24);
    options.temperature = 0.8f;
    options.top_p = 0.95f;
    options.seed = 4711;
    options.logprobs = 2;
    return options;
}

Answer answer_in(const std::string& folder, const Setup& setup) {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.deterministic = 1;
    options.n_threads = setup.n_threads;
    options.max_batch_rows = setup.max_batch_rows;
    options.kv_cache_bytes = uint64_t{64} << 20;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), folder);
    std::vector<Session> sessions;
    std::vector<Stream> beside;
    for (int i = 0; i < setup.n_beside; ++i) {
        sessions.push_back(new_session(model.get()));
        const Prompt other = raw_prompt(host::fixture_prompt(20 + 13 * i));
        beside.push_back(generate(sessions.back().get(), other.get(), at_most(40)));
    }
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(131));
    const Stream stream = generate(session.get(), prompt.get(), sampled());
    Answer answer = drain(stream.get());
    for (const Stream& other : beside) REQUIRE(drain(other.get()).ids.size() == 40);
    return answer;
}

}  // namespace

// Breaks when the same request gives other tokens, or other bits of their log-probabilities,
// because of what runs beside it, how its prompt is cut into steps, or how many threads compute.
TEST_CASE("host deterministic mode", "[host][threads]") {
    for (const std::string name : {"v3-f32", "v3-bf16", "v3-fp8"}) {
        const Answer alone = answer_in(fixture(name), {1, 0, 0});
        REQUIRE(alone.ids.size() == 24);
        for (const Setup& setup : {Setup{1, 0, 0}, Setup{3, 0, 0}, Setup{1, 7, 0}, Setup{2, 64, 5},
                                   Setup{4, 33, 3}}) {
            CAPTURE(name, setup.n_threads, setup.max_batch_rows, setup.n_beside);
            const Answer answer = answer_in(fixture(name), setup);
            REQUIRE(answer.ids == alone.ids);
            REQUIRE(answer.logprobs.size() == alone.logprobs.size());
            for (size_t i = 0; i < alone.logprobs.size(); ++i) {
                REQUIRE(answer.logprobs[i].token == alone.logprobs[i].token);
                REQUIRE(answer.logprobs[i].logprob == alone.logprobs[i].logprob);
            }
        }
    }
}

// Breaks when the seed does not matter, so that "the same" above would be true of anything.
TEST_CASE("host seeds differ", "[host]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(10));
    std::vector<std::vector<int32_t>> answers;
    for (uint64_t seed = 0; seed < 3; ++seed) {
        fathom_generate_options options = sampled();
        options.temperature = 3.0f;
        options.seed = seed;
        const Stream stream = generate(session.get(), prompt.get(), options);
        answers.push_back(drain(stream.get()).ids);
    }
    REQUIRE(answers[0] != answers[1]);
    REQUIRE(answers[1] != answers[2]);
}
