// If this fails, the CUDA backend answers with other numbers than the float64 oracle, or its
// kernels do what no kernel may: races, reads of what nobody wrote, accesses out of bounds.

#include <span>

#include "cuda/cuda_runner.h"
#include "cuda/virtual_driver.h"

using namespace cuda_test;

namespace {

constexpr const char* kFixtures[] = {
    "v2-lite-f32", "v2-groups-f32", "v3-f32",  "moonlight-f32", "kimi-k2-f32", "glm47-flash-f32",
    "v2-lite-f16", "v3-f16",        "v2-lite", "v2-groups",     "v3-bf16",     "moonlight",
    "kimi-k2",     "glm47-flash",   "v3-fp8",  "v31-ue8m0"};

BackendOptions on_virtual_gpu() {
    BackendOptions options{};
    options.driver_folder = VirtualDriver::instance().folder();
    return options;
}

void check_fixtures(int compute, std::span<const char* const> names) {
    double worst_f32 = 0, worst_other = 0;
    for (const char* name : names) {
        const CleanDriver driver(fathom::concat("compute=", compute, ",seed=0"));
        CAPTURE(compute, name);
        const Expected expected(name);
        const std::vector<int32_t> greedy = expected.ids("greedy");
        const std::vector<int32_t> prompt = expected.ids("prompt");
        const size_t n_vocab = static_cast<size_t>(expected.ids("n_vocab")[0]);
        Runner runner(cuda_backend(), golden(name), on_virtual_gpu());
        Sequence sequence, other;
        const Rows fed = runner.feed(sequence, prompt, prompt.size());
        const Rows decode = runner.feed(sequence, greedy, 1);
        const Rows long_prompt = runner.feed(other, expected.ids("long_prompt"), 1000);
        const double error =
            std::max({worst_error(fed, 20, expected.logits("logits_prompt")),
                      worst_error(decode, 0, expected.logits("logits_decode")),
                      worst_error(long_prompt, 129, expected.logits("logits_long"))});
        CHECK(error <= (runner.is_f32() ? 1e-5 : 1e-2));
        double& worst = runner.is_f32() ? worst_f32 : worst_other;
        worst = std::max(worst, error);
        // Row i decides token i + 1; the makers keep every choice a percent apart.
        CHECK(argmax(fed.back(), n_vocab) == greedy[0]);
        for (size_t i = 0; i + 1 < greedy.size(); ++i) {
            CHECK(argmax(decode[i], n_vocab) == greedy[i + 1]);
        }
        driver.check_clean();
    }
    WARN("sm_" << compute << ": largest relative L2 error: " << worst_f32
               << " with F32 weights (bar 1e-5), " << worst_other << " with others (bar 1e-2)");
}

}  // namespace

TEST_CASE("cuda: every fixture, prefill and 32 decode steps, as sm_80", "[cuda][golden]") {
    check_fixtures(80, kFixtures);
}

TEST_CASE("cuda: every fixture, prefill and 32 decode steps, as sm_90a", "[cuda][golden]") {
    check_fixtures(90, kFixtures);
}
