#pragma once

// A small random model of any shape and weight type for the tests of the CPU backend: its plan,
// its forward pass in float64 written as plain loops, and a harness that runs batches.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "backend/backend.h"
#include "base/checked.h"
#include "cpu/cpu_isa.h"

namespace cpu_test {

using namespace fathom;

/// Same numbers everywhere: a test that fails, fails for everyone.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
    uint64_t bits() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_ * 0x2545f4914f6cdd1dull >> 11;
    }
    double uniform() { return static_cast<double>(bits() & 0xffffff) / 0x1p24 * 2 - 1; }
    int32_t below(int32_t n) { return static_cast<int32_t>(bits() % static_cast<uint64_t>(n)); }

private:
    uint64_t state_;
};

inline double value_of_bf16(uint16_t bits) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, 4);
    return value;
}

inline uint16_t bf16_bits(double value) {
    const float narrow = static_cast<float>(value);
    uint32_t wide;
    std::memcpy(&wide, &narrow, 4);
    return static_cast<uint16_t>(wide >> 16);  // Any BF16 near the value will do for a weight.
}

/// By the definition of the format, not by moving bits.
inline double value_of_f16(uint16_t bits) {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

inline double value_of_f8(uint8_t bits) {
    const int exponent = bits >> 3 & 15;
    const int fraction = bits & 7;
    if ((bits & 127) == 127) return std::nan("");
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
    return bits & 0x80 ? -magnitude : magnitude;
}

/// A weight and what it means.
struct TestWeight {
    Weight view;
    std::vector<unsigned char> data;
    std::vector<float> scale;
    std::vector<double> value;  // [rows, cols]

    double at(int64_t row, int64_t col) const {
        return value[static_cast<size_t>(row * view.cols + col)];
    }
};

inline std::unique_ptr<TestWeight> make_weight(DType dtype, int64_t rows, int64_t cols, double size,
                                               Random& random, double offset = 0) {
    auto w = std::make_unique<TestWeight>();
    const int64_t count = rows * cols;
    w->view.dtype = dtype;
    w->view.rows = rows;
    w->view.cols = cols;
    w->data.resize(static_cast<size_t>(count * dtype_bytes(dtype)));
    w->value.resize(static_cast<size_t>(count));
    const int64_t blocks = ceil_div(cols, kFp8Block);
    if (dtype == DType::kF8E4M3) {
        w->scale.resize(static_cast<size_t>(blocks * ceil_div(rows, kFp8Block)));
        for (float& s : w->scale) {
            s = static_cast<float>(size * (0.5 + random.uniform() * 0.25) / 64);
        }
    }
    for (int64_t i = 0; i < count; ++i) {
        const double wanted = offset + random.uniform() * size;
        unsigned char* to = w->data.data() + i * dtype_bytes(dtype);
        double& value = w->value[static_cast<size_t>(i)];
        if (dtype == DType::kF32) {
            const float v = static_cast<float>(wanted);
            std::memcpy(to, &v, 4);
            value = v;
        } else if (dtype == DType::kBF16) {
            const uint16_t v = bf16_bits(wanted);
            std::memcpy(to, &v, 2);
            value = value_of_bf16(v);
        } else if (dtype == DType::kF16) {
            // Exponents 2^-14 to 2^0 at most, both signs.
            const uint16_t v = static_cast<uint16_t>(random.bits() & 0xabff);
            std::memcpy(to, &v, 2);
            value = value_of_f16(v);
        } else {
            uint8_t v = static_cast<uint8_t>(random.bits() & 0xff);
            if ((v & 127) > 0x68) v = static_cast<uint8_t>(v & 0xbf);  // up to 64, so that 8 bits
            *to = v;                                                   // of range are seen
            const int64_t block = i / cols / kFp8Block * blocks + i % cols / kFp8Block;
            value = value_of_f8(v) * w->scale[static_cast<size_t>(block)];
        }
    }
    w->view.data = w->data.data();
    w->view.scale = w->scale.empty() ? nullptr : w->scale.data();
    return w;
}

struct ModelSpec {
    int32_t hidden = 136;  // two FP8 blocks, the second ragged
    int32_t heads = 3;
    int32_t nope = 20;
    int32_t rope = 8;
    int32_t v_head = 12;
    int32_t rkv = 40;
    int32_t experts = 16;
    int32_t top_k = 4;
    int32_t n_group = 4;
    int32_t topk_group = 2;
    int32_t moe_intermediate = 44;
    int32_t shared_intermediate = 52;
    int32_t dense_intermediate = 150;
    int32_t vocab = 97;
    int32_t layers = 2;  // the first has a dense network
    bool v3 = false;
    DType dtype = DType::kF32;
    uint64_t seed = 1;
};

using Rows = std::vector<std::vector<double>>;

class TestModel {
public:
    explicit TestModel(const ModelSpec& spec);

    const Plan& plan() const { return plan_; }
    const ModelSpec& spec() const { return spec_; }

    /// Logits of every token of a sequence that starts at position 0.
    Rows reference(const std::vector<int32_t>& tokens) const;

private:
    int32_t add(DType dtype, int64_t rows, int64_t cols, double size, double offset = 0);
    int32_t add_transposed(int32_t kv_b);
    int32_t slot(int64_t width, SlotType type = SlotType::kF32, bool gathered = false);
    void call(Op op, int32_t layer, std::vector<int32_t> in, std::vector<int32_t> out,
              std::vector<int32_t> w, bool gathered = false);
    void add_layer(int32_t layer, int32_t pending);

    std::vector<double> product(int32_t w, const std::vector<double>& x) const;
    std::vector<double> norm(int32_t w, const std::vector<double>& x) const;
    std::vector<double> ffn(int32_t gate, int32_t up, int32_t down,
                            const std::vector<double>& x) const;
    std::vector<double> moe(int32_t layer, const std::vector<double>& x) const;
    Rows attention(int32_t layer, const Rows& x) const;
    void rotate(double* x, int32_t position) const;

    struct Layer {
        int32_t input_norm, q, kv_a, kv_norm, kv_b, kv_t, o, post_norm;
        int32_t gate = -1, bias = -1, first_gate = -1, first_up = -1, first_down = -1;
        int32_t shared = -1, dense = -1;
    };

    ModelSpec spec_;
    Random random_;
    std::vector<double> frequency_;
    std::vector<std::unique_ptr<TestWeight>> weights_;
    std::vector<Weight> views_;
    std::vector<OpCall> calls_;
    std::vector<SlotInfo> slots_;
    std::vector<Layer> layers_;
    int32_t embed_ = -1, final_norm_ = -1, head_ = -1;
    int32_t s_h_ = -1, s_n_ = -1, s_q_ = -1, s_kv_ = -1, s_a_ = -1, s_o_ = -1, s_id_ = -1,
            s_w_ = -1, s_f_ = -1;
    Plan plan_{};
};

/// What a sequence adds in one step.
struct StepSequence {
    std::vector<int32_t> tokens;
    int32_t first_position = 0;
    std::vector<int32_t> pages;
};

/// A device with an executor; checks every status.
class Harness {
public:
    Harness(const TestModel& model, const BackendOptions& options, const Limits& limits);
    ~Harness();
    Harness(const Harness&) = delete;
    Harness& operator=(const Harness&) = delete;

    /// Runs one step and returns the logits of every row.
    std::vector<std::vector<float>> step(const std::vector<StepSequence>& sequences);
    int32_t try_step(const std::vector<StepSequence>& sequences, BackendError* error);
    std::vector<std::vector<float>> logits(size_t n) const;
    void copy_page(int32_t from, int32_t to, int32_t n);
    void* executor() { return executor_; }

private:
    const TestModel& model_;
    const BackendTable* table_ = cpu_backend();
    void* device_ = nullptr;
    void* executor_ = nullptr;
};

/// Fills the whole KV cache and every activation and scratch buffer that starts undefined with NaN.
void poison_kv(void* executor);

/// Relative L2 distance over all rows.
double relative_error(const std::vector<std::vector<float>>& found, const Rows& wanted);

/// Median over the rows of the relative L2 distance: what rounding does to a row whose router did
/// not stand so near to a tie that rounding chose another expert.
double median_error(const std::vector<std::vector<float>>& found, const Rows& wanted);

std::vector<int32_t> random_tokens(int32_t n, int32_t vocab, uint64_t seed);

/// Variants that this processor runs; says once which it cannot run.
std::vector<CpuIsa> runnable_isas();
const char* isa_name(CpuIsa isa);

inline constexpr Limits kTestLimits{.max_rows = 128,
                                    .max_logit_rows = 128,
                                    .max_sequences = 16,
                                    .n_pages = 48,
                                    .kv_dtype = DType::kF32};

}  // namespace cpu_test
