#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

#include "host/host_support.h"
#include "host/refusals.h"

using namespace library;

namespace {

/// One whole life with the n-th request for memory refused. What it may end with: success, where
/// the library can do without, or FATHOM_NO_MEMORY; and nothing may remain.
struct Outcome {
    int32_t status;
    bool refused;
};

Outcome live_with_refusal(const std::string& folder, int64_t n, bool all_after) {
    refusals::arm_memory(n, all_after);
    const int32_t status = host::whole_life(folder, 3, nullptr);
    refusals::disarm();
    return {status, refusals::n_refused() > 0};
}

void refuse_at_every(const std::string& folder, int64_t step, bool all_after) {
    const size_t threads_before = host::n_threads();
    const size_t descriptors_before = host::n_descriptors();
    int64_t n = 1;
    int n_failed = 0;
    for (;; n += step) {
        const Outcome outcome = live_with_refusal(folder, n, all_after);
        CAPTURE(n, all_after, outcome.status);
        REQUIRE((outcome.status == FATHOM_OK || outcome.status == FATHOM_NO_MEMORY));
        if (!outcome.refused) break;
        n_failed += outcome.status == FATHOM_NO_MEMORY ? 1 : 0;
        REQUIRE(n < 1'000'000);
    }
    REQUIRE(n_failed > 3);
    REQUIRE(host::n_threads_settled(threads_before) == threads_before);
    REQUIRE(host::n_descriptors() == descriptors_before);
    std::vector<int32_t> ids;
    REQUIRE(host::whole_life(folder, 3, &ids) == FATHOM_OK);
    REQUIRE(ids.size() == 3);
}

}  // namespace

// Breaks when one refused allocation, anywhere on the way from folder to answer, crashes, hangs or
// leaks instead of failing one call.
TEST_CASE("host memory refused at every point", "[host][hostile]") {
    if (!refusals::available()) SKIP("ThreadSanitizer owns malloc");
    SECTION("once") { refuse_at_every(fixture("v3-f32"), 1, false); }
    SECTION("from there on") { refuse_at_every(fixture("v3-f32"), 3, true); }
}

// Breaks as the one before, in the tokenizer and its text, which the small fixtures do not have.
TEST_CASE("host memory refused in a model with a tokenizer", "[host][hostile]") {
    if (!refusals::available()) SKIP("ThreadSanitizer owns malloc");
    refuse_at_every(demo_model(), 101, false);
    refuse_at_every(demo_model(), 499, true);
}

// Breaks when a container that allows few threads ends the host instead of making a smaller pool,
// or an engine without its one necessary thread is more than an error.
TEST_CASE("host threads refused", "[host][hostile]") {
    if (!refusals::available()) SKIP("ThreadSanitizer owns pthread_create");
    std::vector<int32_t> usual;
    REQUIRE(host::whole_life(fixture("v3-f32"), 6, &usual) == FATHOM_OK);
    for (const bool all_after : {false, true}) {
        for (int64_t n = 1; n <= 4; ++n) {
            std::vector<int32_t> ids;
            refusals::arm_threads(n, all_after);
            const int32_t status = host::whole_life(fixture("v3-f32"), 6, &ids);
            refusals::disarm();
            CAPTURE(n, all_after);
            REQUIRE((status == FATHOM_OK || status == FATHOM_NO_MEMORY));
            if (status == FATHOM_OK) REQUIRE(ids == usual);
            // One refusal is retried.
            if (!all_after) REQUIRE(status == FATHOM_OK);
        }
    }
    refusals::arm_threads(1, true);
    fathom_engine* engine = nullptr;
    Result result;
    result.status = fathom_engine_create(nullptr, &engine, &result.error);
    refusals::disarm();
    REQUIRE(result.status == FATHOM_NO_MEMORY);
    REQUIRE(result.message().find("thread") != std::string::npos);
    // A host that lends its own thread needs none.
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    refusals::arm_threads(1, true);
    const int32_t status = fathom_engine_create(&options, &engine, nullptr);
    refusals::disarm();
    REQUIRE(status == FATHOM_OK);
    fathom_engine_release(engine);
}
