// If this fails, a host plans its memory or reads a model's size from wrong numbers.
#include "model/estimate.h"

#include <cmath>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include "unit/model_support.h"

using namespace fathom;
using namespace fathom::test;
using Catch::Matchers::WithinAbs;

namespace {

double billions(uint64_t n) { return static_cast<double>(n) * 1e-9; }

struct Published {
    const char* config;
    double total;   // 10^9 parameters
    double active;
    uint64_t kv;    // bytes of a token, BF16
    uint64_t mha;
};

}  // namespace

TEST_CASE("estimate counts the parameters of published models") {
    // Totals as published, with one digit more; the active counts include embedding and head.
    for (const Published& model :
         {Published{kV2Lite, 15.71, 2.66, 31104, 276480},
          Published{kV2, 235.74, 21.38, 69120, 4915200},
          Published{kV3, 671.03, 37.55, 70272, 4997120},
          Published{kMoonlight, 15.96, 2.91, 31104, 276480},
          Published{kKimiK2, 1026.4, 32.9, 70272, 2498560},
          Published{kGlm47Flash, 29.94, 3.90, 54144, 962560}}) {
        const ModelConfig config = parse_config(model.config);
        CAPTURE(config.model_type);
        const ParameterCount count = count_parameters(config);
        const double digit = model.total > 1000 ? 0.05 : 0.005;
        CHECK_THAT(billions(count.total), WithinAbs(model.total, digit));
        CHECK_THAT(billions(count.active), WithinAbs(model.active, digit));
        CHECK(kv_bytes_per_token(config, DType::kBF16) == model.kv);
        CHECK(kv_bytes_per_token(config, DType::kF32) == 2 * model.kv);
        CHECK(mha_bytes_per_token(config, DType::kBF16) == model.mha);
    }
}

TEST_CASE("estimate of a model without experts has everything active") {
    const ParameterCount count =
        count_parameters(parse_config(with(kV2Lite, "n_routed_experts", "null")));
    CHECK(count.active == count.total);
}
