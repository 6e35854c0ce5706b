#include <catch2/catch_test_macros.hpp>

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

struct ControlWords {
    uint32_t mxcsr;
    uint16_t x87;
    bool operator==(const ControlWords&) const = default;
};

ControlWords control_words() {
    uint16_t x87 = 0;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    // The low bits are flags of past exceptions: the program's own arithmetic.
    return {_mm_getcsr() & ~0x3fu, x87};
}

void set_control_words(ControlWords words) {
    _mm_setcsr(words.mxcsr);
    __asm__ volatile("fldcw %0" : : "m"(words.x87));
}

constexpr ControlWords kUsual{0x1f80, 0x037f};

/// What a call computed, bit for bit.
struct Bits {
    std::vector<int32_t> ids;
    std::vector<uint32_t> logprobs;
    bool operator==(const Bits&) const = default;
};

/// A whole answer with the host's thread as the one that computes, all of it under `words`. Catch
/// sees the usual words again before it is asked anything.
int32_t answer_under(ControlWords words, const std::string& folder, Bits& bits, bool& changed) {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    const std::vector<int32_t> input = host::fixture_prompt(40);
    const fathom_source source = source_of(folder);
    fathom_engine* engine = nullptr;
    fathom_model* model = nullptr;
    fathom_prompt* prompt = nullptr;
    fathom_session* session = nullptr;
    fathom_stream* stream = nullptr;
    fathom_generate_options generate_options = at_most(12);
    generate_options.flags |= FATHOM_GENERATE_PROMPT_LOGPROBS;
    generate_options.temperature = 0.8F;
    generate_options.seed = 3;
    generate_options.logprobs = 3;
    set_control_words(words);
    int32_t status = fathom_engine_create(&options, &engine, nullptr);
    if (status == FATHOM_OK) status = fathom_model_load(engine, &source, nullptr, &model, nullptr);
    if (status == FATHOM_OK) status = fathom_prompt_create(nullptr, nullptr, &prompt, nullptr);
    if (status == FATHOM_OK) {
        status = fathom_prompt_add_tokens(prompt, input.data(), input.size(), nullptr);
    }
    if (status == FATHOM_OK) status = fathom_session_create(model, nullptr, &session, nullptr);
    if (status == FATHOM_OK) {
        status = fathom_session_generate(session, prompt, &generate_options, &stream, nullptr);
    }
    int32_t more = 1;
    while (status == FATHOM_OK && more == 1) {
        status = fathom_engine_step(engine, 0, &more, nullptr);
    }
    fathom_event event = sized<fathom_event>();
    while (status == FATHOM_OK && event.type != FATHOM_EVENT_DONE) {
        status = fathom_stream_next(stream, 0, &event, nullptr);
        bits.ids.insert(bits.ids.end(), event.ids, event.ids + event.n_ids);
        for (uint64_t i = 0; status == FATHOM_OK && i < event.n_logprobs; ++i) {
            uint32_t number = 0;
            std::memcpy(&number, &event.logprobs[i].logprob, sizeof number);
            bits.logprobs.push_back(number);
        }
    }
    changed = !(control_words() == words);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
    fathom_model_release(model);
    fathom_engine_release(engine);
    changed = changed || !(control_words() == words);
    set_control_words(kUsual);
    return status;
}

}  // namespace

// Breaks when the host's rounding, flushing, traps or x87 precision reach what its own thread
// computes inside the library, or the library leaves its own behind.
TEST_CASE("host floating point control of a thread that steps", "[host]") {
    const ControlWords before = control_words();
    struct Hostile {
        const char* name;
        ControlWords words;
    };
    constexpr Hostile kHostile[] = {
        {"flush, denormals are zero, towards zero", {0x1f80 | 0x8040 | 0x6000, 0x037f}},
        {"upwards, in both units", {0x1f80 | 0x4000, 0x037f | 0x0800}},
        {"x87 of single precision", {0x1f80, 0x037f & ~0x0300}},
        {"inexact results trap", {0x1f80 & ~0x1000u, 0x037f}},
        {"division by zero traps, in both units", {0x1f80 & ~0x0200u, 0x037f & ~0x0004}},
    };
    for (const std::string name : {"v3-f32", "v3-fp8"}) {
        Bits usual;
        bool changed = true;
        REQUIRE(answer_under(kUsual, fixture(name), usual, changed) == FATHOM_OK);
        REQUIRE(!changed);
        REQUIRE(usual.ids.size() == 12);
        REQUIRE(usual.logprobs.size() == 3 * (12 + 39));
        for (const Hostile& hostile : kHostile) {
            Bits bits;
            const int32_t status = answer_under(hostile.words, fixture(name), bits, changed);
            CAPTURE(name, hostile.name);
            REQUIRE(status == FATHOM_OK);
            REQUIRE(!changed);
            REQUIRE(bits.ids == usual.ids);
            REQUIRE(bits.logprobs == usual.logprobs);
        }
    }
    set_control_words(before);
}

#endif
