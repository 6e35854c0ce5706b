// The CPU backend against a forward pass in float64, for every variant of the instruction set.

#include <algorithm>

#include "unit/cpu_support.h"

using namespace cpu_test;

namespace {

struct Case {
    const char* name;
    DType dtype;
    bool v3;
    double bar;       // relative L2 of the logits
    double bar_bf16;  // where activations are rounded to BF16: of the median row
};

// FP32 accumulation over a few thousand products in two layers: about 1e-6. Where the variant
// rounds activations to BF16 (2^-9), a dozen products in a row each add about 1e-3.
constexpr Case kCases[] = {
    {"v2 f32", DType::kF32, false, 1e-5, 1e-5},   {"v3 f32", DType::kF32, true, 1e-5, 1e-5},
    {"v2 bf16", DType::kBF16, false, 1e-5, 1e-2}, {"v2 f16", DType::kF16, false, 1e-5, 1e-5},
    {"v3 f8", DType::kF8E4M3, true, 1e-5, 1e-2},
};

ModelSpec spec_of(const Case& c) {
    ModelSpec spec;
    spec.dtype = c.dtype;
    spec.v3 = c.v3;
    return spec;
}

void check_error(const Case& c, CpuIsa isa, const std::vector<std::vector<float>>& found,
                 const Rows& wanted) {
    if (isa == CpuIsa::kAvx512Bf16 && c.bar_bf16 > c.bar) {
        CHECK(median_error(found, wanted) < c.bar_bf16);
    } else {
        CHECK(relative_error(found, wanted) < c.bar);
    }
}

std::vector<int32_t> pages_from(int32_t first, int32_t n) {
    std::vector<int32_t> pages;
    for (int32_t i = 0; i < n; ++i) pages.push_back(first + (i * 5) % n);
    return pages;
}

}  // namespace

TEST_CASE("cpu: prefill and decode agree with float64", "[cpu]") {
    // Fails when any operator computes something else than the architecture, for some weight type.
    for (const Case& c : kCases) {
        const TestModel model(spec_of(c));
        const std::vector<int32_t> tokens = random_tokens(90, model.spec().vocab, 7);
        const Rows wanted = model.reference(tokens);
        for (const CpuIsa isa : runnable_isas()) {
            for (const MlaForm form : {MlaForm::kAbsorbed, MlaForm::kNaive, MlaForm::kAuto}) {
                INFO(c.name << ", " << isa_name(isa) << ", form " << static_cast<int>(form));
                Harness harness(model, {.n_threads = 2, .isa = isa, .mla_form = form}, kTestLimits);
                const std::vector<int32_t> pages = pages_from(3, 2);
                auto found = harness.step({{{tokens.begin(), tokens.begin() + 78}, 0, pages}});
                for (size_t t = 78; t < tokens.size(); ++t) {
                    const auto row = harness.step({{{tokens[t]}, static_cast<int32_t>(t), pages}});
                    found.push_back(row[0]);
                }
                check_error(c, isa, found, wanted);
            }
        }
    }
}

TEST_CASE("cpu: a long sequence agrees with float64", "[cpu]") {
    // Fails when the parts of a split softmax are lost, counted twice or merged wrongly: 1,090
    // tokens are two full parts and a rest, over pages in no order.
    ModelSpec spec;
    spec.v3 = true;
    const TestModel model(spec);
    const std::vector<int32_t> tokens = random_tokens(1090, spec.vocab, 11);
    const Rows wanted = model.reference(tokens);
    for (const CpuIsa isa : runnable_isas()) {
        for (const MlaForm form : {MlaForm::kAbsorbed, MlaForm::kNaive}) {
            INFO(isa_name(isa) << ", form " << static_cast<int>(form));
            Harness harness(model, {.n_threads = 2, .isa = isa, .mla_form = form}, kTestLimits);
            std::vector<std::vector<float>> found;
            for (size_t begin = 0; begin < tokens.size();) {
                const size_t end = begin < 1080 ? std::min<size_t>(begin + 128, 1080) : begin + 1;
                const auto rows = harness.step({{{tokens.begin() + static_cast<long>(begin),
                                                  tokens.begin() + static_cast<long>(end)},
                                                 static_cast<int32_t>(begin),
                                                 pages_from(2, 18)}});
                found.insert(found.end(), rows.begin(), rows.end());
                begin = end;
            }
            CHECK(relative_error(found, wanted) < 1e-5);
        }
    }
}

TEST_CASE("cpu: a BF16 KV cache stays close", "[cpu]") {
    // Fails when latent rows are stored or read in another type than the cache has.
    const TestModel model(ModelSpec{});
    const std::vector<int32_t> tokens = random_tokens(70, model.spec().vocab, 5);
    const Rows wanted = model.reference(tokens);
    Limits limits = kTestLimits;
    limits.kv_dtype = DType::kBF16;
    for (const CpuIsa isa : runnable_isas()) {
        for (const MlaForm form : {MlaForm::kAbsorbed, MlaForm::kNaive}) {
            INFO(isa_name(isa) << ", form " << static_cast<int>(form));
            Harness harness(model, {.n_threads = 2, .isa = isa, .mla_form = form}, limits);
            const double error = relative_error(harness.step({{tokens, 0, {4, 9}}}), wanted);
            CHECK(error < 1e-2);
            CHECK(error > 1e-5);
        }
    }
}

TEST_CASE("cpu: rows of a step do not see each other's sequences", "[cpu]") {
    // Fails when a batch mixes up pages, positions or rows of its sequences.
    const TestModel model(ModelSpec{});
    for (const CpuIsa isa : runnable_isas()) {
        INFO(isa_name(isa));
        Harness harness(model, {.n_threads = 2, .isa = isa}, kTestLimits);
        std::vector<StepSequence> step;
        Rows wanted;
        for (int32_t s = 0; s < 5; ++s) {
            const auto tokens =
                random_tokens(3 + s * 4, model.spec().vocab, static_cast<uint64_t>(s) + 20);
            for (const auto& row : model.reference(tokens)) wanted.push_back(row);
            step.push_back({tokens, 0, {s * 2 + 1}});
        }
        CHECK(relative_error(harness.step(step), wanted) < 1e-5);
    }
}

TEST_CASE("cpu: a copied page continues like the original", "[cpu]") {
    // Fails when copy_page misses a layer or a token: a forked conversation would change its mind.
    const TestModel model(ModelSpec{});
    const std::vector<int32_t> tokens = random_tokens(40, model.spec().vocab, 9);
    const std::vector<int32_t> prompt(tokens.begin(), tokens.begin() + 39);
    Harness harness(model, {.n_threads = 1}, kTestLimits);
    harness.step({{prompt, 0, {6}}});
    harness.copy_page(6, 17, 39);
    const auto original = harness.step({{{tokens[39]}, 39, {6}}});
    const auto copy = harness.step({{{tokens[39]}, 39, {17}}});
    CHECK(original == copy);
}
