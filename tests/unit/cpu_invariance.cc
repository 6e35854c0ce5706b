// Deterministic mode: the bits of a row depend on nothing but its own tokens.

#include <algorithm>

#include "unit/cpu_support.h"

using namespace cpu_test;

namespace {

constexpr int32_t kLength = 70;  // more than a page, and than the largest chunk

std::vector<int32_t> part(const std::vector<int32_t>& tokens, size_t begin, size_t end) {
    return {tokens.begin() + static_cast<long>(begin), tokens.begin() + static_cast<long>(end)};
}

/// Logits of one sequence, computed alone in chunks.
std::vector<std::vector<float>> alone(Harness& harness, const std::vector<int32_t>& tokens,
                                      size_t chunk) {
    std::vector<std::vector<float>> all;
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
        const size_t end = std::min(begin + chunk, tokens.size());
        const auto rows =
            harness.step({{part(tokens, begin, end), static_cast<int32_t>(begin), {2, 0}}});
        all.insert(all.end(), rows.begin(), rows.end());
    }
    return all;
}

BackendOptions deterministic(CpuIsa isa, int32_t n_threads) {
    return {.n_threads = n_threads, .deterministic = 1, .isa = isa};
}

}  // namespace

TEST_CASE("cpu: chunks and threads do not change a bit", "[cpu][deterministic]") {
    // Fails when a result depends on how a prompt is cut or on who computes it.
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3}) {
        ModelSpec spec;
        spec.dtype = dtype;
        spec.v3 = dtype == DType::kF8E4M3;
        const TestModel model(spec);
        const std::vector<int32_t> tokens = random_tokens(kLength, spec.vocab, 3);
        for (const CpuIsa isa : runnable_isas()) {
            Harness first(model, deterministic(isa, 1), kTestLimits);
            const auto wanted = alone(first, tokens, kLength);
            for (int32_t n_threads = 1; n_threads <= 4; ++n_threads) {
                Harness harness(model, deterministic(isa, n_threads), kTestLimits);
                for (const size_t chunk : {size_t{1}, size_t{7}, size_t{64}, size_t{kLength}}) {
                    INFO(dtype_name(dtype) << ", " << isa_name(isa) << ", threads " << n_threads
                                           << ", chunk " << chunk);
                    CHECK(alone(harness, tokens, chunk) == wanted);
                }
            }
        }
    }
}

TEST_CASE("cpu: a batch does not change a bit", "[cpu][deterministic]") {
    // Fails when a row's result depends on the rows beside it: 2 to 16 sequences decode together,
    // each at its own position, and one more prefills.
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
        ModelSpec spec;
        spec.dtype = dtype;
        spec.v3 = true;
        const TestModel model(spec);
        for (const CpuIsa isa : runnable_isas()) {
            Harness single(model, deterministic(isa, 1), kTestLimits);
            Harness many(model, deterministic(isa, 3), kTestLimits);
            std::vector<std::vector<int32_t>> tokens;
            std::vector<std::vector<std::vector<float>>> wanted;
            for (uint64_t s = 0; s < 16; ++s) {
                tokens.push_back(random_tokens(5 + static_cast<int32_t>(s) * 5, spec.vocab, s));
                wanted.push_back(alone(single, tokens[s], 200));
                const int32_t page = static_cast<int32_t>(s) * 2;
                many.step({{part(tokens[s], 0, tokens[s].size() - 1), 0, {page, page + 1}}});
            }
            for (size_t n = 2; n <= 16; n += n < 4 ? 1 : 4) {
                std::vector<StepSequence> step;
                for (size_t s = 0; s < n; ++s) {
                    const int32_t page = static_cast<int32_t>(s) * 2;
                    const int32_t last = static_cast<int32_t>(tokens[s].size()) - 1;
                    step.push_back({{tokens[s].back()}, last, {page, page + 1}});
                }
                if (n < 16) step.push_back({tokens[15], 0, {40, 41}});
                const auto found = many.step(step);
                INFO(dtype_name(dtype) << ", " << isa_name(isa) << ", sequences " << n);
                for (size_t s = 0; s < n; ++s) CHECK(found[s] == wanted[s].back());
                if (n < 16) {
                    const std::vector<std::vector<float>> prefill(
                        found.begin() + static_cast<long>(n), found.end());
                    CHECK(prefill == wanted[15]);
                }
            }
        }
    }
}

TEST_CASE("cpu: parts of a long sequence do not change a bit", "[cpu][deterministic]") {
    // Fails when the split of a long context depends on threads or on the other rows: alone its
    // parts spread over threads, in a batch of long ones they do not fit and follow each other.
    ModelSpec spec;
    const TestModel model(spec);
    Limits limits = kTestLimits;
    limits.n_pages = 9 * 24;
    const std::vector<int32_t> tokens = random_tokens(1301, spec.vocab, 31);
    const CpuIsa isa = runnable_isas().back();
    std::vector<float> wanted;
    for (int32_t n_threads = 1; n_threads <= 4; ++n_threads) {
        Harness harness(model, deterministic(isa, n_threads), limits);
        std::vector<StepSequence> last;
        for (int32_t s = 0; s < 9; ++s) {
            std::vector<int32_t> pages;
            for (int32_t i = 0; i < 24; ++i) pages.push_back(s * 24 + 23 - i);
            for (size_t begin = 0; begin < 1300; begin += 100) {
                harness.step(
                    {{part(tokens, begin, begin + 100), static_cast<int32_t>(begin), pages}});
            }
            last.push_back({{tokens[1300]}, 1300, pages});
        }
        const auto single = harness.step({last[0]});
        if (wanted.empty()) wanted = single[0];
        INFO("threads " << n_threads);
        CHECK(single[0] == wanted);
        for (const auto& row : harness.step(last)) CHECK(row == wanted);
    }
}

TEST_CASE("cpu: unused rows of a page never show", "[cpu]") {
    // Fails when attention touches a token that is not there: the page belonged to another
    // conversation before, whose rows are NaN here, and the first token of a page is its only one.
    ModelSpec spec;
    const TestModel model(spec);
    const std::vector<int32_t> tokens = random_tokens(65, spec.vocab, 3);
    for (const CpuIsa isa : runnable_isas()) {
        for (const MlaForm form : {MlaForm::kAbsorbed, MlaForm::kNaive}) {
            INFO(isa_name(isa) << ", form " << static_cast<int>(form));
            Harness clean(model, {.n_threads = 2, .isa = isa, .mla_form = form}, kTestLimits);
            Harness dirty(model, {.n_threads = 2, .isa = isa, .mla_form = form}, kTestLimits);
            poison_kv(dirty.executor());
            const auto wanted = clean.step({{tokens, 0, {5, 7}}});
            CHECK(dirty.step({{tokens, 0, {5, 7}}}) == wanted);
            CHECK(dirty.step({{tokens, 0, {7, 5}}}) == wanted);
        }
    }
}
