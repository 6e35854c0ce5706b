// The inner loops of every variant of the instruction set, one by one, against float64.

#include <algorithm>
#include <limits>

#include "unit/cpu_support.h"

using namespace cpu_test;

namespace {

struct Scratch {
    std::vector<float> partial = std::vector<float>(kLinearPartialFloats);
    std::vector<float> wide = std::vector<float>(kLinearWideFloats);
};

MatrixRows rows_of(const TestWeight& w) {
    MatrixRows rows;
    rows.data = w.view.data;
    rows.scale = w.view.scale;
    rows.dtype = w.view.dtype;
    rows.stride = w.view.cols;
    rows.scale_stride = ceil_div(w.view.cols, kFp8Block);
    return rows;
}

/// Activations that BF16 holds exactly, so that every variant multiplies the same numbers.
std::vector<float> activations(int64_t count, Random& random) {
    std::vector<float> x;
    for (int64_t i = 0; i < count; ++i) {
        x.push_back(static_cast<float>(value_of_bf16(bf16_bits(random.uniform()))));
    }
    return x;
}

std::vector<float> product(const CpuKernels& kernels, const TestWeight& w,
                           const std::vector<float>& x, int64_t n_tokens, Scratch& scratch) {
    std::vector<uint16_t> rounded(x.size());
    const bool bf16 =
        kernels.bf16_dot && (w.view.dtype == DType::kBF16 || w.view.dtype == DType::kF8E4M3);
    std::vector<float> out(static_cast<size_t>(n_tokens * w.view.rows));
    LinearJob job;
    job.w = rows_of(w);
    job.n_rows = w.view.rows;
    job.k = w.view.cols;
    job.x = x.data();
    job.x_stride = w.view.cols;
    job.n_tokens = n_tokens;
    if (bf16) {
        kernels.round_bf16(x.data(), rounded.data(), static_cast<int64_t>(x.size()));
        job.x = rounded.data();
        job.x_bf16 = true;
    }
    job.out = out.data();
    job.out_stride = w.view.rows;
    job.partial = scratch.partial.data();
    job.wide = scratch.wide.data();
    kernels.linear(&job);
    return out;
}

/// Distance to float64 relative to the sum of magnitudes, which is what rounding is relative to.
double product_error(const TestWeight& w, const std::vector<float>& x, int64_t token,
                     const float* found) {
    double worst = 0;
    for (int64_t r = 0; r < w.view.rows; ++r) {
        double wanted = 0, size = 1e-30;
        for (int64_t i = 0; i < w.view.cols; ++i) {
            const double p =
                w.at(r, i) * static_cast<double>(x[static_cast<size_t>(token * w.view.cols + i)]);
            wanted += p;
            size += std::abs(p);
        }
        worst = std::max(worst, std::abs(static_cast<double>(found[r]) - wanted) / size);
    }
    return worst;
}

}  // namespace

TEST_CASE("cpu kernels: a product has the same bits in every tile", "[cpu][deterministic]") {
    // Fails when a tile shape, a part of the columns or a chunk of tokens adds in another order.
    // Columns: below a vector, ragged, more than a part (1024), more than what is widened at once
    // (2048). Tokens: every tile width, and more than a chunk (96).
    Scratch scratch;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kF8E4M3}) {
        for (const int64_t k : {5, 136, 1024, 1100, 2200}) {
            Random random(static_cast<uint64_t>(k));
            const int64_t rows = k == 136 ? 141 : 13;
            const auto w = make_weight(dtype, rows, k, 1.0, random);
            const int64_t most = k == 2200 ? 110 : 29;
            const std::vector<float> x = activations(most * k, random);
            for (const CpuIsa isa : runnable_isas()) {
                const CpuKernels& kernels = *cpu_kernels(isa);
                const std::vector<float> all = product(kernels, *w, x, most, scratch);
                INFO(dtype_name(dtype) << ", k " << k << ", " << kernels.name);
                for (const int64_t token : {int64_t{0}, most - 1}) {
                    CHECK(product_error(*w, x, token, all.data() + token * rows) < 1e-6);
                }
                for (int64_t n = 1; n <= std::min<int64_t>(most, 14); ++n) {
                    const std::vector<float> some = product(kernels, *w, x, n, scratch);
                    INFO("tokens " << n);
                    CHECK(std::equal(some.begin(), some.end(), all.begin()));
                }
            }
        }
    }
}

TEST_CASE("cpu kernels: every FP8 and F16 code has its value", "[cpu]") {
    // Fails when a conversion loses subnormals, signs or NaN.
    for (const CpuIsa isa : runnable_isas()) {
        const CpuKernels& kernels = *cpu_kernels(isa);
        std::vector<uint8_t> codes(256);
        for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
        const float scale[2] = {1.0f, 0.375f};
        MatrixRows rows{codes.data(), scale, DType::kF8E4M3, 256, 0, 2};
        std::vector<float> wide(65536);
        kernels.widen(&rows, 0, 256, wide.data());
        INFO(kernels.name);
        for (size_t i = 0; i < 256; ++i) {
            const double wanted =
                value_of_f8(static_cast<uint8_t>(i)) * static_cast<double>(scale[i / 128]);
            const double found = static_cast<double>(wide[i]);
            CHECK((found == wanted || (std::isnan(found) && std::isnan(wanted))));
        }
        std::vector<uint16_t> halves(65536);
        for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
        rows = {halves.data(), nullptr, DType::kF16, 65536, 0, 0};
        kernels.widen(&rows, 0, 65536, wide.data());
        int64_t wrong = 0;
        for (size_t i = 0; i < halves.size(); ++i) {
            if ((i & 0x7c00) == 0x7c00) continue;  // infinity and NaN
            wrong += static_cast<double>(wide[i]) != value_of_f16(static_cast<uint16_t>(i));
        }
        CHECK(wrong == 0);
        CHECK(std::isinf(wide[0x7c00]));
        CHECK(std::isnan(wide[0x7e00]));
    }
}

TEST_CASE("cpu kernels: rounding to BF16 is to nearest even", "[cpu]") {
    // Fails when rounding truncates, or turns a NaN into an infinity.
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float inf = std::numeric_limits<float>::infinity();
    // 1 + 2^-8 is half way between 1 and 1 + 2^-7; 1 + 3 * 2^-8 between odd and even the other way.
    const std::vector<float> x = {1.0f, 1.00390625f, 1.01171875f, -1.00390637f, inf, -inf, nan};
    const std::vector<uint16_t> wanted = {0x3f80, 0x3f80, 0x3f82, 0xbf81, 0x7f80, 0xff80};
    for (const CpuIsa isa : runnable_isas()) {
        std::vector<uint16_t> found(x.size());
        cpu_kernels(isa)->round_bf16(x.data(), found.data(), static_cast<int64_t>(x.size()));
        CHECK(std::equal(wanted.begin(), wanted.end(), found.begin()));
        CHECK(std::isnan(value_of_bf16(found[6])));
    }
}

TEST_CASE("cpu kernels: softmax and sigmoid at any size", "[cpu]") {
    // Fails when the exponential is off, or when a short vector at the end counts twice or not.
    for (const CpuIsa isa : runnable_isas()) {
        const CpuKernels& kernels = *cpu_kernels(isa);
        for (const int64_t n : {1, 3, 15, 16, 17, 64, 160, 257}) {
            Random random(static_cast<uint64_t>(n));
            std::vector<float> x, s;
            for (int64_t i = 0; i < n; ++i) x.push_back(static_cast<float>(20 * random.uniform()));
            s = x;
            double top = -1e30, total = 0;
            for (const float v : x) top = std::max(top, static_cast<double>(v));
            for (const float v : x) total += std::exp(static_cast<double>(v) - top);
            kernels.softmax(s.data(), n);
            INFO(kernels.name << ", n " << n);
            for (size_t i = 0; i < x.size(); ++i) {
                const double wanted = std::exp(static_cast<double>(x[i]) - top) / total;
                // x - max is rounded at a size of up to 40, which the exponential makes relative.
                CHECK(std::abs(static_cast<double>(s[i]) - wanted) < 40 * 0x1p-23 * wanted);
            }
            s = x;
            kernels.sigmoid(s.data(), n);
            for (size_t i = 0; i < x.size(); ++i) {
                const double wanted = 1 / (1 + std::exp(-static_cast<double>(x[i])));
                CHECK(std::abs(static_cast<double>(s[i]) - wanted) < 1e-6 * wanted);
            }
        }
        // Far outside the range of the exponential, and a NaN, which must not disappear.
        std::vector<float> far = {1e30f, -1e30f, 0.0f, std::numeric_limits<float>::quiet_NaN()};
        kernels.sigmoid(far.data(), 4);
        CHECK(far[0] == 1.0f);
        CHECK(far[1] < 1e-37f);
        CHECK(far[2] == 0.5f);
        CHECK(std::isnan(far[3]));
    }
}
