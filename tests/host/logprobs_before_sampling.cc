#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

Answer answer_of(fathom_model* model, const std::vector<int32_t>& ids,
                 const fathom_generate_options& options) {
    const Session session = new_session(model);
    const Prompt prompt = raw_prompt(ids);
    const Stream stream = generate(session.get(), prompt.get(), options);
    return drain(stream.get());
}

}  // namespace

// Breaks when the log-probability of a token is that of what sampling made of the distribution:
// a host that compares models or filters by it compares its own settings.
TEST_CASE("host logprobs are those before bias, temperature and penalties", "[host][stream]") {
    fathom_engine_options engine_options = sized<fathom_engine_options>();
    engine_options.deterministic = 1;
    const Engine engine = new_engine(engine_options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const std::vector<int32_t> input = host::fixture_prompt(9);
    constexpr size_t kTokens = 12;
    const std::vector<int32_t> usual = answer_of(model.get(), input, at_most(kTokens)).ids;
    const fathom_logit_bias bias[] = {{usual[0], -3.0F}, {usual[1], -3.0F}, {17, 2.5F}};
    const fathom_logit_bias forced = {99, 100.0F};
    using Options = fathom_generate_options;
    const std::function<void(Options&)> ways[] = {
        [&](Options& o) { o.logit_bias = bias, o.n_logit_bias = 3; },
        [&](Options& o) { o.logit_bias = &forced, o.n_logit_bias = 1; },
        [](Options& o) { o.temperature = 3, o.seed = 11; },
        [](Options& o) { o.temperature = 1.5F, o.seed = 11, o.top_k = 5; },
        [](Options& o) { o.temperature = 2, o.seed = 11, o.top_p = 0.5F, o.min_p = 0.1F; },
        [](Options& o) { o.repetition_penalty = 1.8F; },
        [](Options& o) { o.presence_penalty = 2; },
        [](Options& o) { o.frequency_penalty = 2; },
    };
    for (size_t way = 0; way < std::size(ways); ++way) {
        fathom_generate_options options = at_most(kTokens);
        options.logprobs = 3;
        ways[way](options);
        const Answer written = answer_of(model.get(), input, options);
        CAPTURE(way);
        REQUIRE(written.ids.size() == kTokens);
        if (way < 5) REQUIRE(written.ids != usual);

        std::vector<int32_t> whole = input;
        whole.insert(whole.end(), written.ids.begin(), written.ids.end());
        fathom_generate_options scoring = sized<fathom_generate_options>();
        scoring.flags = FATHOM_GENERATE_PROMPT_ONLY | FATHOM_GENERATE_PROMPT_LOGPROBS;
        scoring.logprobs = 3;
        const Answer scored = answer_of(model.get(), whole, scoring);
        // The token and its two alternatives, from the first position behind the prompt.
        const size_t from = 3 * (input.size() - 1);
        REQUIRE(written.logprobs.size() == 3 * kTokens);
        REQUIRE(scored.logprobs.size() == from + 3 * kTokens);
        for (size_t i = 0; i < written.logprobs.size(); ++i) {
            const fathom_logprob& wanted = scored.logprobs[from + i];
            CAPTURE(i);
            REQUIRE(written.logprobs[i].token == wanted.token);
            REQUIRE(written.logprobs[i].position == wanted.position);
            REQUIRE(written.logprobs[i].logprob == wanted.logprob);
        }
    }
}
