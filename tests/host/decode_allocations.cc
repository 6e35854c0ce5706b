#include <catch2/catch_test_macros.hpp>

#include <cstdint>

#include "host/host_support.h"
#include "host/refusals.h"

using namespace library;

// Breaks when a token costs the host's allocator anything: by the step, by the wait for it, by
// reading it, or by finding that there is none yet.
TEST_CASE("host no allocation for a token", "[host]") {
    if (!refusals::available()) SKIP("ThreadSanitizer has the allocator");
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(8));
    const Stream stream = generate(session.get(), prompt.get(), at_most(110));

    fathom_stream* const streams[] = {stream.get()};
    fathom_event event = sized<fathom_event>();
    int32_t wrong = 0;
    int32_t n_empty = 0;
    const auto one_token = [&] {
        int32_t more = 0;
        uint32_t ready = 1;
        wrong |= fathom_engine_step(engine.get(), 0, &more, nullptr);
        wrong |= fathom_engine_wait_any(engine.get(), streams, 1, 0, &ready, nullptr);
        int32_t status = FATHOM_OK;
        while (status == FATHOM_OK) status = fathom_stream_next(stream.get(), 0, &event, nullptr);
        wrong |= status == FATHOM_TIMEOUT ? 0 : status;
        n_empty += status == FATHOM_TIMEOUT ? 1 : 0;
        wrong |= fathom_engine_wait_any(engine.get(), streams, 1, 0, &ready, nullptr) ==
                         FATHOM_TIMEOUT
                     ? 0
                     : FATHOM_INTERNAL;
    };
    for (int i = 0; i < 8; ++i) one_token();
    const int64_t before = refusals::n_memory_requests();
    for (int i = 0; i < 90; ++i) one_token();
    const int64_t requests = refusals::n_memory_requests() - before;
    CHECK(wrong == FATHOM_OK);
    CHECK(n_empty == 98);
    CHECK(requests == 0);
}
