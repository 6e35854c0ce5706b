// If this fails, positions are rotated wrongly or scores are scaled wrongly: the model writes
// fluent but degraded text, and nothing else notices.
#include "model/rope.h"

#include <cmath>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "unit/model_support.h"

using namespace fathom;
using namespace fathom::test;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

namespace {

/// Pairs in front keep base^(-2i/64), pairs at the end are slowed by `factor`; first and last give
/// the pairs strictly between.
void check_ramp(const char* text, int first_blended, int last_blended) {
    const ModelConfig config = parse_config(text);
    const Rope rope = make_rope(config);
    REQUIRE(rope.inverse_frequency.size() == 32);
    for (int pair = 0; pair < 32; ++pair) {
        const double plain = std::pow(config.rope_theta, -2.0 * pair / 64);
        const double slowed = plain / config.yarn->factor;
        const double found = rope.inverse_frequency[static_cast<size_t>(pair)];
        CAPTURE(text, pair);
        if (pair < first_blended) {
            CHECK_THAT(found, WithinRel(plain, 1e-15));
        } else if (pair > last_blended) {
            CHECK_THAT(found, WithinRel(slowed, 1e-15));
        } else {
            CHECK(found < plain);
            CHECK(found > slowed);
        }
    }
}

}  // namespace

TEST_CASE("YaRN blends between the pairs that the published code computes") {
    check_ramp(kV2Lite, 11, 22);  // low = 10, high = 23
    check_ramp(kV3, 11, 22);
    check_ramp(kKimiK2, 20, 19);  // low = 19, high = 20: nothing lies between
}

TEST_CASE("YaRN in the middle of its ramp") {
    // Pair 15 of V3: ramp (15 - 10) / 13; the formula worked out by hand.
    const double plain = std::pow(10000.0, -30.0 / 64);
    const double ramp = 5.0 / 13;
    CHECK_THAT(make_rope(parse_config(kV3)).inverse_frequency[15],
               WithinRel(plain / 40 * ramp + plain * (1 - ramp), 1e-14));
}

TEST_CASE("softmax scale carries mscale squared") {
    CHECK_THAT(make_rope(parse_config(kV2Lite)).softmax_scale, WithinAbs(0.114721, 5e-7));
    CHECK_THAT(make_rope(parse_config(kV2)).softmax_scale, WithinAbs(0.135234, 5e-7));
    CHECK_THAT(make_rope(parse_config(kV3)).softmax_scale, WithinAbs(0.135234, 5e-7));
    // Without YaRN it is (dn + dr)^-0.5 alone.
    CHECK_THAT(make_rope(parse_config(kMoonlight)).softmax_scale,
               WithinRel(1 / std::sqrt(192), 1e-15));
    CHECK_THAT(make_rope(parse_config(kGlm47Flash)).softmax_scale, WithinRel(1.0 / 16, 1e-15));
}

TEST_CASE("magnitude of cos and sin is the ratio of the mscales") {
    for (const char* text : {kV2Lite, kV2, kV3, kMoonlight, kKimiK2, kGlm47Flash}) {
        CHECK(make_rope(parse_config(text)).magnitude == 1.0);
    }
    const char* const kOne = R"({"type": "yarn", "factor": 40,
        "original_max_position_embeddings": 4096)";
    const double m = 0.1 * std::log(40.0) + 1;
    // mscale defaults to 1 and mscale_all_dim to 0.
    const Rope plain = make_rope(parse_config(with(kV3, "rope_scaling", concat(kOne, "}"))));
    CHECK_THAT(plain.magnitude, WithinRel(m, 1e-15));
    CHECK_THAT(plain.softmax_scale, WithinRel(1 / std::sqrt(192), 1e-15));
    const std::string given = concat(kOne, R"(, "attention_factor": 1.25})");
    CHECK(make_rope(parse_config(with(kV3, "rope_scaling", given))).magnitude == 1.25);
}
