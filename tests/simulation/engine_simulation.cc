#include <cstdlib>

#include <catch2/catch_test_macros.hpp>

#include "simulator.h"

using namespace fathom;
using namespace fathom::simulation;

// If this fails, tokens, pages or places of different requests get mixed up, or a stream hangs.
TEST_CASE("any schedule of sessions gives every stream its own answer", "[simulation]") {
    uint64_t n_answers = 0;
    int32_t largest_batch = 0;
    for (uint64_t seed = 1; seed <= 3000; ++seed) {
        Simulator simulator(seed);
        const std::string wrong = simulator.run();
        CAPTURE(seed);
        REQUIRE(wrong == "");
        n_answers += simulator.n_answers();
        largest_batch = std::max(largest_batch, simulator.largest_batch());
    }
    // The schedules are worth nothing if they are empty.
    REQUIRE(n_answers > 20'000);
    REQUIRE(largest_batch >= 6);
}
