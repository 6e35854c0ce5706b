#include <catch2/catch_test_macros.hpp>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

/// A manual engine, so that nothing happens unless the test lets it.
Engine manual_engine() {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    return new_engine(options);
}

void step(fathom_engine* engine, int n_steps) {
    for (int i = 0; i < n_steps; ++i) {
        REQUIRE(fathom_engine_step(engine, 0, nullptr, nullptr) == FATHOM_OK);
    }
}

void step_to_end(fathom_engine* engine) {
    int32_t more = 1;
    while (more == 1) REQUIRE(fathom_engine_step(engine, 0, &more, nullptr) == FATHOM_OK);
}

bool polls_readable(int64_t handle) {
    pollfd entry{.fd = static_cast<int>(handle), .events = POLLIN, .revents = 0};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0;
}

Answer answer_of(fathom_model* model, const std::vector<int32_t>& ids,
                 const fathom_generate_options& options) {
    const Session session = new_session(model);
    const Prompt prompt = raw_prompt(ids);
    const Stream stream = generate(session.get(), prompt.get(), options);
    return drain(stream.get());
}

fathom_session_description facts(const fathom_session* session) {
    fathom_session_description now = sized<fathom_session_description>();
    REQUIRE(fathom_session_describe(session, &now, nullptr) == FATHOM_OK);
    return now;
}

fathom_usage usage_of(const fathom_stream* stream) {
    fathom_usage usage = sized<fathom_usage>();
    REQUIRE(fathom_stream_usage(stream, &usage, nullptr) == FATHOM_OK);
    return usage;
}

}  // namespace

// Breaks when an event loop misses an event, is woken for nothing for ever, or starves a stream.
TEST_CASE("host poll epoll and wait_any", "[host][stream]") {
    const Engine engine = manual_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Prompt prompt = raw_prompt(host::fixture_prompt(6));
    const Session sessions[] = {new_session(model.get()), new_session(model.get())};
    const Stream first = generate(sessions[0].get(), prompt.get(), at_most(3));
    fathom_stream* streams[] = {first.get(), first.get()};
    int64_t handle = -1;
    uint32_t ready = 99;
    REQUIRE(fathom_stream_notify_handle(first.get(), &handle, nullptr) == FATHOM_OK);

    SECTION("the descriptor is readable exactly while there is an event") {
        const int loop = epoll_create1(EPOLL_CLOEXEC);
        epoll_event wanted{};
        wanted.events = EPOLLIN;
        REQUIRE(epoll_ctl(loop, EPOLL_CTL_ADD, static_cast<int>(handle), &wanted) == 0);
        REQUIRE_FALSE(polls_readable(handle));
        step(engine.get(), 1);
        REQUIRE(polls_readable(handle));
        epoll_event got{};
        REQUIRE(epoll_wait(loop, &got, 1, 0) == 1);
        fathom_event event = sized<fathom_event>();
        while (fathom_stream_next(first.get(), 0, &event, nullptr) == FATHOM_OK) {
        }
        REQUIRE_FALSE(polls_readable(handle));
        step_to_end(engine.get());
        REQUIRE(polls_readable(handle));
        int64_t again = -1;
        REQUIRE(fathom_stream_notify_handle(first.get(), &again, nullptr) == FATHOM_OK);
        REQUIRE(again == handle);
        close(loop);
    }
    SECTION("wait_any takes turns and times out") {
        REQUIRE(fathom_engine_wait_any(engine.get(), streams, 2, 0, &ready, nullptr) ==
                FATHOM_TIMEOUT);
        step_to_end(engine.get());
        std::set<uint32_t> seen;
        for (int i = 0; i < 2; ++i) {
            REQUIRE(fathom_engine_wait_any(engine.get(), streams, 2, 0, &ready, nullptr) ==
                    FATHOM_OK);
            seen.insert(ready);
        }
        REQUIRE(seen == std::set<uint32_t>{0, 1});
        REQUIRE(fathom_engine_wait_any(engine.get(), streams, 0, 0, &ready, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
        const Engine other = manual_engine();
        REQUIRE(fathom_engine_wait_any(other.get(), streams, 2, 0, &ready, nullptr) ==
                FATHOM_INVALID_ARGUMENT);
    }
}

// Breaks when a deadline does not end a stream, ends it with another reason, or costs it tokens
// that were delivered.
TEST_CASE("host deadline", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(6));
    fathom_generate_options options = at_most(0);
    options.deadline_ns = 30'000'000;
    const auto start = std::chrono::steady_clock::now();
    const Stream stream = generate(session.get(), prompt.get(), options);
    const Answer answer = drain(stream.get());
    const auto took = std::chrono::steady_clock::now() - start;
    REQUIRE(answer.finish_reason == FATHOM_FINISH_DEADLINE);
    REQUIRE(answer.status == FATHOM_OK);
    REQUIRE(took >= std::chrono::milliseconds(30));
    REQUIRE(took < std::chrono::seconds(10));
    REQUIRE(usage_of(stream.get()).output_tokens == answer.ids.size());
    REQUIRE(facts(session.get()).n_tokens >= 6 + answer.ids.size() - 1);
    REQUIRE(facts(session.get()).running == 0);
    options.deadline_ns = 1;
    const Stream late = generate(session.get(), prompt.get(), options);
    REQUIRE(drain(late.get()).finish_reason == FATHOM_FINISH_DEADLINE);
}

// Breaks when a stop id is overlooked or ends the answer before it appeared.
TEST_CASE("host stop ids", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const std::vector<int32_t> prompt = host::fixture_prompt(6);
    const Answer whole = answer_of(model.get(), prompt, at_most(20));
    REQUIRE(whole.ids.size() == 20);
    REQUIRE(whole.finish_reason == FATHOM_FINISH_LENGTH);
    const int32_t stop[] = {255, whole.ids[9]};
    fathom_generate_options options = at_most(20);
    options.stop_ids = stop;
    options.n_stop_ids = 2;
    const Answer cut = answer_of(model.get(), prompt, options);
    REQUIRE(cut.finish_reason == FATHOM_FINISH_STOP);
    REQUIRE(cut.ids.size() <= 10);
    REQUIRE(!cut.ids.empty());
    REQUIRE((cut.ids.back() == stop[0] || cut.ids.back() == stop[1]));
    REQUIRE(std::equal(cut.ids.begin(), cut.ids.end(), whole.ids.begin()));
    // Only a tokenizer can find a stop string.
    const fathom_text text = {"x", 1};
    options.stop = &text;
    options.n_stop = 1;
    const Session session = new_session(model.get());
    const Prompt raw = raw_prompt(prompt);
    fathom_stream* stream = nullptr;
    REQUIRE(fathom_session_generate(session.get(), raw.get(), &options, &stream, nullptr) ==
            FATHOM_INVALID_ARGUMENT);
}

// Breaks when a stop string is delivered, in part or whole, or text before it is lost.
TEST_CASE("host stop strings", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Prompt prompt = question(tokenizer.get(), "Note: please pay USD 12.50 to Wagard Works by "
                                                    "2024-04-05. The invoice number is RE-20-30.",
                                   FATHOM_THINKING_OFF);
    const Session session = new_session(model.get());
    const Stream plain = generate(session.get(), prompt.get(), at_most(30));
    const std::string whole = drain(plain.get()).text;
    REQUIRE(whole.size() > 12);
    // Every piece of the answer as a stop string: the cut is always just before it appears first.
    for (size_t from = 1; from + 3 <= std::min<size_t>(whole.size(), 16); ++from) {
        if ((static_cast<unsigned char>(whole[from]) & 0xc0) == 0x80) continue;
        const std::string marker = whole.substr(from, 3);
        const fathom_text stops[] = {{"never in it", 11}, {marker.data(), marker.size()}};
        fathom_generate_options options = at_most(30);
        options.stop = stops;
        options.n_stop = 2;
        const Stream stream = generate(session.get(), prompt.get(), options);
        const Answer answer = drain(stream.get());
        CAPTURE(whole, marker, from);
        REQUIRE(answer.finish_reason == FATHOM_FINISH_STOP);
        REQUIRE(answer.text == whole.substr(0, whole.find(marker)));
    }
}

// Breaks when log-probabilities are not those of a distribution, miss a token or name another one
// than was generated.
TEST_CASE("host logprobs", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const std::vector<int32_t> prompt = host::fixture_prompt(9);
    fathom_generate_options options = at_most(5);
    options.logprobs = 4;
    const Answer answer = answer_of(model.get(), prompt, options);
    size_t at = 0;
    for (size_t i = 0; i < answer.ids.size(); ++i) {
        const fathom_logprob& chosen = answer.logprobs.at(at);
        CAPTURE(i);
        REQUIRE(chosen.token == answer.ids[i]);
        REQUIRE(chosen.position == static_cast<int32_t>(prompt.size() + i));
        REQUIRE(chosen.logprob <= 0);
        REQUIRE(chosen.n_above == 3);
        double sum = 0;
        for (int32_t k = 1; k <= chosen.n_above; ++k) {
            const fathom_logprob& other = answer.logprobs.at(at + static_cast<size_t>(k));
            REQUIRE(other.position == chosen.position);
            // Greedy: nothing is likelier than what was chosen.
            REQUIRE(other.logprob <= chosen.logprob + 1e-6f);
            sum += std::exp(static_cast<double>(other.logprob));
        }
        REQUIRE(sum <= 1.0 + 1e-5);
        at += 1 + static_cast<size_t>(chosen.n_above);
    }
    REQUIRE(at == answer.logprobs.size());
}

// Breaks when the log-probabilities of a given text differ from those that the model gave when it
// wrote that text, which is what scoring relies on.
TEST_CASE("host prompt logprobs", "[host][stream]") {
    fathom_engine_options engine_options = sized<fathom_engine_options>();
    engine_options.deterministic = 1;
    const Engine engine = new_engine(engine_options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    std::vector<int32_t> ids = host::fixture_prompt(9);
    fathom_generate_options options = at_most(6);
    options.logprobs = 1;
    const Answer written = answer_of(model.get(), ids, options);
    const size_t n_prompt = ids.size();
    ids.insert(ids.end(), written.ids.begin(), written.ids.end());
    fathom_generate_options scoring = sized<fathom_generate_options>();
    scoring.flags = FATHOM_GENERATE_PROMPT_ONLY | FATHOM_GENERATE_PROMPT_LOGPROBS;
    scoring.logprobs = 1;
    const Answer scored = answer_of(model.get(), ids, scoring);
    REQUIRE(scored.ids.empty());
    REQUIRE(scored.finish_reason == FATHOM_FINISH_LENGTH);
    REQUIRE(scored.logprobs.size() == ids.size() - 1);
    for (size_t i = 0; i < scored.logprobs.size(); ++i) {
        REQUIRE(scored.logprobs[i].token == ids[i + 1]);
        REQUIRE(scored.logprobs[i].position == static_cast<int32_t>(i + 1));
        if (i + 1 < n_prompt) continue;
        REQUIRE(scored.logprobs[i].logprob == written.logprobs[i + 1 - n_prompt].logprob);
    }
}

// Breaks when a cut or continued transcript gives another answer than the whole one sent anew, or
// when what both share is computed twice.
TEST_CASE("host truncate and append", "[host][session]") {
    fathom_engine_options engine_options = sized<fathom_engine_options>();
    engine_options.deterministic = 1;
    const Engine engine = new_engine(engine_options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const std::vector<int32_t> ids = host::fixture_prompt(150);
    const Answer fresh = answer_of(model.get(), ids, at_most(8));
    const Session session = new_session(model.get());
    const Prompt whole = raw_prompt(ids);
    const Stream first = generate(session.get(), whole.get(), at_most(8));
    REQUIRE(drain(first.get()).ids == fresh.ids);
    REQUIRE(usage_of(first.get()).prompt_fresh == 150);

    SECTION("the same again") {
        const Stream again = generate(session.get(), whole.get(), at_most(8));
        REQUIRE(drain(again.get()).ids == fresh.ids);
        const fathom_usage usage = usage_of(again.get());
        REQUIRE(usage.prompt_cached + usage.prompt_fresh == 150);
        REQUIRE(usage.prompt_cached >= 128);
    }
    SECTION("cut, then continued by the rest") {
        REQUIRE(fathom_session_truncate(session.get(), 100, nullptr) == FATHOM_OK);
        REQUIRE(facts(session.get()).n_tokens == 100);
        const Prompt rest = raw_prompt({ids.begin() + 100, ids.end()});
        fathom_generate_options options = at_most(8);
        options.flags |= FATHOM_GENERATE_APPEND;
        const Stream stream = generate(session.get(), rest.get(), options);
        REQUIRE(drain(stream.get()).ids == fresh.ids);
        REQUIRE(usage_of(stream.get()).prompt_fresh < 150);
        REQUIRE(facts(session.get()).n_tokens >= 157);
    }
    SECTION("cut to more than there is") {
        Result result;
        result.status = fathom_session_truncate(session.get(), 100'000, &result.error);
        REQUIRE(result.status == FATHOM_INVALID_ARGUMENT);
        REQUIRE(result.message().find("100000") != std::string::npos);
    }
    SECTION("cut to nothing") {
        REQUIRE(fathom_session_truncate(session.get(), 0, nullptr) == FATHOM_OK);
        const Stream stream = generate(session.get(), whole.get(), at_most(8));
        REQUIRE(drain(stream.get()).ids == fresh.ids);
        REQUIRE(usage_of(stream.get()).prompt_fresh == 150);
    }
}

namespace {

bool whole_utf8(const char* text, uint64_t bytes) {
    uint64_t i = 0;
    while (i < bytes) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const uint64_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
        if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || i + length > bytes) return false;
        for (uint64_t k = 1; k < length; ++k) {
            if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
        }
        i += length;
    }
    return true;
}

}  // namespace

// Breaks when an event carries part of a character: a terminal or JSON writer downstream breaks.
TEST_CASE("host stream whole characters", "[host][stream]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Session session = new_session(model.get());
    const Prompt prompt = question(tokenizer.get(), "Straße 12");
    // Byte tokens of characters of two to four bytes are forced on the model by their logits, so
    // that it writes them in every order, broken ones included.
    std::vector<fathom_logit_bias> bias;
    for (const std::string text : {"\xc3", "\xa9", "\xe2", "\x82", "\xac", "\xf0", "\x9f", "\x98",
                                   "\x80", "\xff"}) {
        int32_t ids[4];
        uint64_t count = 0;
        REQUIRE(fathom_tokenizer_encode(tokenizer.get(), text.data(), text.size(), 0, ids, 4,
                                        &count, nullptr) == FATHOM_OK);
        for (uint64_t i = 0; i < count; ++i) bias.push_back({ids[i], 50.0f});
    }
    size_t n_bytes = 0;
    for (uint64_t seed = 0; seed < 8; ++seed) {
        fathom_generate_options options = at_most(60);
        options.temperature = 5.0f;
        options.seed = seed;
        options.logit_bias = bias.data();
        options.n_logit_bias = bias.size();
        const Stream stream = generate(session.get(), prompt.get(), options);
        fathom_event event = sized<fathom_event>();
        while (event.type != FATHOM_EVENT_DONE) {
            REQUIRE(fathom_stream_next(stream.get(), UINT64_MAX, &event, nullptr) == FATHOM_OK);
            CAPTURE(seed, std::string(event.text, event.text_bytes));
            REQUIRE(whole_utf8(event.text, event.text_bytes));
            n_bytes += event.text_bytes;
        }
    }
    REQUIRE(n_bytes > 500);
}
