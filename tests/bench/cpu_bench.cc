// Speed of the CPU backend against the limits of the machine, in one interleaved run:
//
//   cpu_bench [bf16|f8|f32] [auto|scalar|avx2|avx512|avx512_bf16] [threads] [rounds]
//
// The model has random weights in DeepSeek-V2-Lite's shape with two layers, a dense one and one
// with 64 experts. Each round measures the bandwidth of reading all weights, the multiply-add peak
// (in registers), decode and a prefill of 512 tokens one after the other, because the machine may
// be shared: only the ratios of a round count. Prints one JSON line for each measure and a table.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/checked.h"
#include "base/thread.h"
#include "bench/cpu_probe.h"

namespace {

using namespace fathom;
using namespace cpu_probe;

constexpr int32_t kHidden = 2048;
constexpr int32_t kHeads = 16;
constexpr int32_t kNope = 128;
constexpr int32_t kRope = 64;
constexpr int32_t kLatent = 512;
constexpr int32_t kVHead = 128;
constexpr int32_t kExperts = 64;
constexpr int32_t kTopK = 6;
constexpr int32_t kMoe = 1408;
constexpr int32_t kShared = 2816;
constexpr int32_t kDense = 10944;
constexpr int32_t kVocab = 32768;
constexpr int32_t kPrefill = 512;
constexpr int32_t kDecodeSteps = 12;

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

[[noreturn]] void give_up(const char* what, const BackendError& error) {
    std::fprintf(stderr, "cpu_bench: %s: %s\n", what, error.text);
    std::exit(1);
}

// The model.

class Model {
public:
    Model(const BackendTable* table, void* device, DType dtype)
        : table_(table), device_(device), dtype_(dtype) {
        for (int i = 0; i < kRope / 2; ++i) {
            frequency_.push_back(std::pow(10000.0, -2.0 * i / kRope));
        }
        build();
    }
    ~Model() { table_->free(device_, memory_, bytes_); }

    const Plan& plan() const { return plan_; }
    const unsigned char* memory() const { return static_cast<unsigned char*>(memory_); }
    uint64_t bytes() const { return bytes_; }

    /// Weight bytes that one decoded token reads, and products of a prefill of n tokens.
    double decode_bytes() const;
    double prefill_products(double n) const;

private:
    int32_t add(DType dtype, int64_t rows, int64_t cols);
    int32_t slot(int64_t width, SlotType type = SlotType::kF32, int32_t gathered = 0);
    void call(Op op, int32_t layer, std::vector<int32_t> in, std::vector<int32_t> out,
              std::vector<int32_t> w, int32_t gathered = 0);
    void build();
    void fill();

    const BackendTable* table_;
    void* device_;
    DType dtype_;
    void* memory_ = nullptr;
    uint64_t bytes_ = 0;
    std::vector<double> frequency_;
    std::vector<Weight> weights_;
    std::vector<OpCall> calls_;
    std::vector<SlotInfo> slots_;
    Plan plan_{};
};

int32_t Model::add(DType dtype, int64_t rows, int64_t cols) {
    Weight w;
    w.dtype = dtype;
    w.rows = rows;
    w.cols = cols;
    weights_.push_back(w);
    return static_cast<int32_t>(weights_.size()) - 1;
}

int32_t Model::slot(int64_t width, SlotType type, int32_t gathered) {
    slots_.push_back({width, type, gathered});
    return static_cast<int32_t>(slots_.size()) - 1;
}

void Model::call(Op op, int32_t layer, std::vector<int32_t> in, std::vector<int32_t> out,
                 std::vector<int32_t> w, int32_t gathered) {
    in.resize(3, -1);
    out.resize(2, -1);
    w.resize(4, -1);
    calls_.push_back({op,
                      layer,
                      {in[0], in[1], in[2]},
                      {out[0], out[1]},
                      {w[0], w[1], w[2], w[3]},
                      1e-6f,
                      gathered});
}

void Model::build() {
    const int32_t h = slot(kHidden), n = slot(kHidden), q = slot(kHeads * (kNope + kRope));
    const int32_t kv = slot(kLatent + kRope), a = slot(kHeads * kVHead), f = slot(kHidden);
    const int32_t id = slot(kTopK, SlotType::kI32), weight = slot(kTopK);
    const int32_t last = slot(kHidden, SlotType::kF32, 1);
    const int32_t logits = slot(kVocab, SlotType::kF32, 1);
    const DType plain = dtype_ == DType::kF8E4M3 ? DType::kBF16 : dtype_;
    call(Op::kEmbed, 0, {}, {h}, {add(plain, kVocab, kHidden)});
    for (int32_t layer = 0; layer < 2; ++layer) {
        call(Op::kRmsNorm, layer, {h, layer > 0 ? f : -1}, {n}, {add(DType::kF32, 1, kHidden)});
        call(Op::kLinear, layer, {n}, {q}, {add(dtype_, kHeads * (kNope + kRope), kHidden)});
        call(Op::kLinear, layer, {n}, {kv}, {add(dtype_, kLatent + kRope, kHidden)});
        call(Op::kMlaStore, layer, {q, kv}, {}, {add(DType::kF32, 1, kLatent)});
        const int32_t kv_b = add(dtype_, kHeads * (kNope + kVHead), kLatent);
        call(Op::kMlaAttention, layer, {q}, {a}, {kv_b, add(plain, kHeads * kLatent, kNope)});
        call(Op::kLinear, layer, {a}, {f}, {add(dtype_, kHidden, kHeads * kVHead)});
        call(Op::kRmsNorm, layer, {h, f}, {n}, {add(DType::kF32, 1, kHidden)});
        if (layer == 0) {
            const int32_t gate = add(dtype_, kDense, kHidden), up = add(dtype_, kDense, kHidden);
            call(Op::kDenseFfn, layer, {n}, {f}, {gate, up, add(dtype_, kHidden, kDense)});
            continue;
        }
        call(Op::kMoeRoute, layer, {n}, {id, weight}, {add(plain, kExperts, kHidden)});
        const int32_t first = static_cast<int32_t>(weights_.size());
        for (int i = 0; i < 2 * kExperts; ++i) add(dtype_, kMoe, kHidden);
        for (int i = 0; i < kExperts; ++i) add(dtype_, kHidden, kMoe);
        const int32_t shared = add(dtype_, kShared, kHidden);
        add(dtype_, kShared, kHidden);
        add(dtype_, kHidden, kShared);
        call(Op::kMoeFfn, layer, {n, id, weight}, {f},
             {first, first + kExperts, first + 2 * kExperts, shared});
    }
    call(Op::kRmsNorm, 0, {h, f}, {n}, {add(DType::kF32, 1, kHidden)});
    call(Op::kGatherRows, 0, {n}, {last}, {});
    call(Op::kLinear, 0, {last}, {logits}, {add(plain, kVocab, kHidden)}, 1);
    fill();
    plan_ = {.shape = {.n_layers = 2,
                       .hidden = kHidden,
                       .vocab_rows = kVocab,
                       .n_heads = kHeads,
                       .qk_nope = kNope,
                       .qk_rope = kRope,
                       .v_head = kVHead,
                       .kv_lora_rank = kLatent,
                       .softmax_scale = 0.114721f,
                       .rope_magnitude = 1.0f,
                       .rope_inverse_frequency = frequency_.data(),
                       .n_routed_experts = kExperts,
                       .top_k = kTopK,
                       .n_group = 1,
                       .topk_group = 1,
                       .scoring = Scoring::kSoftmax,
                       .group_score_top2 = 0,
                       .norm_topk_prob = 0,
                       .scale_when_normalised = 0,
                       .routed_scaling_factor = 1.0f,
                       .moe_intermediate = kMoe,
                       .shared_intermediate = kShared,
                       .dense_intermediate = kDense},
             .calls = calls_.data(),
             .n_calls = static_cast<int32_t>(calls_.size()),
             .slots = slots_.data(),
             .n_slots = static_cast<int32_t>(slots_.size()),
             .weights = weights_.data(),
             .n_weights = static_cast<int32_t>(weights_.size()),
             .logits_slot = logits};
}

/// Random values of about 1 / sqrt(2048), so that activations neither grow nor die.
void Model::fill() {
    const auto scale_count = [](const Weight& w) {
        return w.dtype == DType::kF8E4M3 ? ceil_div(w.rows, kFp8Block) * ceil_div(w.cols, kFp8Block)
                                         : 0;
    };
    for (const Weight& w : weights_) {
        bytes_ += round_up(static_cast<uint64_t>(w.rows * w.cols * dtype_bytes(w.dtype)), 64) +
                  round_up(static_cast<uint64_t>(scale_count(w) * 4), 64);
    }
    BackendError error{};
    if (table_->alloc(device_, bytes_, &memory_, &error) != 0) give_up("alloc", error);
    unsigned char* at = static_cast<unsigned char*>(memory_);
    uint64_t state = 88172645463325252ull;
    const auto bits = [&state] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<uint32_t>(state >> 24);
    };
    for (Weight& w : weights_) {
        w.data = at;
        const int64_t count = w.rows * w.cols;
        for (int64_t i = 0; i < count; ++i) {
            const uint32_t r = bits();
            const uint32_t bf16 = (r & 0x807fu) | 0x3c80u;
            if (w.dtype == DType::kBF16)
                reinterpret_cast<uint16_t*>(at)[i] = static_cast<uint16_t>(bf16);
            if (w.dtype == DType::kF8E4M3) at[i] = static_cast<uint8_t>((r & 0x87u) | 0x38u);
            if (w.dtype == DType::kF32) {
                const float value =
                    w.rows == 1 ? 1.0f : 0.02f * (static_cast<float>(r & 0xffff) / 32768.0f - 1.0f);
                reinterpret_cast<float*>(at)[i] = value;
            }
        }
        at += round_up(static_cast<uint64_t>(count * dtype_bytes(w.dtype)), 64);
        if (scale_count(w) == 0) continue;
        float* scale = reinterpret_cast<float*>(at);
        w.scale = scale;
        for (int64_t i = 0; i < scale_count(w); ++i) scale[i] = 0.0156f;
        at += round_up(static_cast<uint64_t>(scale_count(w) * 4), 64);
    }
}

double Model::decode_bytes() const {
    double bytes = 0;
    for (const OpCall& c : calls_) {
        const auto size = [&](int32_t w) {
            const Weight& weight = weights_[static_cast<size_t>(w)];
            return static_cast<double>(weight.rows * weight.cols * dtype_bytes(weight.dtype));
        };
        if (c.op == Op::kLinear || c.op == Op::kMoeRoute) bytes += size(c.w[0]);
        // Absorbed: all of the transposed keys, and the value rows of kv_b.
        if (c.op == Op::kMlaAttention) bytes += size(c.w[1]) + size(c.w[0]) / 2;
        if (c.op == Op::kDenseFfn) bytes += size(c.w[0]) + size(c.w[1]) + size(c.w[2]);
        if (c.op == Op::kMoeFfn) {
            bytes += kTopK * (size(c.w[0]) + size(c.w[1]) + size(c.w[2]));
            bytes += size(c.w[3]) + size(c.w[3] + 1) + size(c.w[3] + 2);
        }
    }
    return bytes;
}

double Model::prefill_products(double n) const {
    const double attention = kHidden * (kHeads * (kNope + kRope) + kLatent + kRope) +
                             kHeads * kVHead * kHidden + kLatent * kHeads * (kNope + kVHead) +
                             n / 2 * kHeads * (kNope + kRope + kVHead);
    const double dense = 3.0 * kHidden * kDense;
    const double moe = 3.0 * kHidden * (kTopK * kMoe + kShared) + kHidden * kExperts;
    return n * (2 * attention + dense + moe) + double{kVocab} * kHidden;
}

// The measures.

class Bench {
public:
    Bench(const BackendTable* table, const BackendOptions& options, DType dtype) : table_(table) {
        BackendError error{};
        if (table->open(&options, &device_, &error) != 0) give_up("open", error);
        model_ = new Model(table, device_, dtype);
        const Limits limits{.max_rows = kPrefill,
                            .max_logit_rows = 1,
                            .max_sequences = 4,
                            .n_pages = 64,
                            .kv_dtype = DType::kBF16};
        if (table->prepare(device_, &model_->plan(), &limits, &executor_, &error) != 0) {
            give_up("prepare", error);
        }
        for (int32_t i = 0; i < 64; ++i) pages_.push_back(i);
    }
    ~Bench() {
        table_->release(executor_);
        delete model_;
        table_->close(device_);
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;

    const Model& model() const { return *model_; }
    const char* describe() const { return table_->describe(device_); }

    /// Seconds of one step of n tokens from a position on.
    double step(int32_t n, int32_t first) {
        std::vector<int32_t> token, position;
        for (int32_t i = 0; i < n; ++i) {
            seed_ = seed_ * 1664525u + 1013904223u;
            token.push_back(static_cast<int32_t>(seed_ >> 8) % kVocab);
            position.push_back(first + i);
        }
        const int32_t last = n - 1;
        const SequenceRows sequence{0, n, pages_.data(), 64, 0};
        const Batch batch{n, 1, 1, 0, token.data(), position.data(), &sequence, &last};
        BackendError error{};
        const double start = now();
        if (table_->run(executor_, &batch, &error) != 0) give_up("run", error);
        const double time = now() - start;
        if (!std::isfinite(table_->logits(executor_)[0])) give_up("logits are not finite", error);
        return time;
    }

private:
    const BackendTable* table_;
    void* device_ = nullptr;
    void* executor_ = nullptr;
    Model* model_ = nullptr;
    std::vector<int32_t> pages_;
    uint32_t seed_ = 1;
};

struct Series {
    std::vector<double> bandwidth, peak, decode, prefill, decode_share, prefill_share;
};

void report(const Bench& bench, const char* dtype, const Probe& probe, const Series& s) {
    const auto line = [&](const char* name, const std::vector<double>& v, const char* unit) {
        std::printf(
            "{\"bench\":\"cpu\",\"dtype\":\"%s\",%s,\"measure\":\"%s\",\"unit\":\"%s\","
            "\"median\":%.4g,\"min\":%.4g,\"max\":%.4g}\n",
            dtype, bench.describe(), name, unit, median(v), *std::min_element(v.begin(), v.end()),
            *std::max_element(v.begin(), v.end()));
    };
    line("read bandwidth", s.bandwidth, "GB/s");
    line("multiply-add peak", s.peak, "G/s");
    line("decode", s.decode, "tok/s");
    line("prefill 512", s.prefill, "tok/s");
    line("decode / bandwidth", s.decode_share, "ratio");
    line("prefill / peak", s.prefill_share, "ratio");
    std::printf("\n%-28s %10.1f GB/s  (%.2f GB of weights)\n", "read bandwidth",
                median(s.bandwidth), static_cast<double>(bench.model().bytes()) * 1e-9);
    std::printf("%-28s %10.1f G/s   (%s)\n", "multiply-add peak", median(s.peak), probe.peak_of);
    std::printf("%-28s %10.1f tok/s = %5.1f %% of the bandwidth (bar: 80)\n", "decode",
                median(s.decode), 100 * median(s.decode_share));
    std::printf("%-28s %10.1f tok/s = %5.1f %% of the peak      (bar: 50)\n", "prefill of 512",
                median(s.prefill), 100 * median(s.prefill_share));
}

}  // namespace

int main(int argc, char** argv) {
    const std::string type = argc > 1 ? argv[1] : "bf16";
    const std::string isa = argc > 2 ? argv[2] : "auto";
    const char* const names[] = {"auto", "scalar", "avx2", "avx512", "avx512_bf16"};
    BackendOptions options{};
    options.n_threads = argc > 3 ? std::atoi(argv[3]) : 0;
    for (int32_t i = 0; i < 5; ++i) {
        if (isa == names[i]) options.isa = static_cast<CpuIsa>(i);
    }
    const DType dtype = type == "f8" ? DType::kF8E4M3 : type == "f32" ? DType::kF32 : DType::kBF16;
    Bench bench(cpu_backend(), options, dtype);
    std::string chosen(bench.describe());  // "isa":"avx512","threads":2
    chosen = chosen.substr(7, chosen.find('"', 7) - 7);
    const Probe probe = probe_for(chosen);
    ThreadPool pool(options.n_threads > 0 ? options.n_threads : usable_processors());
    const double bytes = bench.model().decode_bytes();
    const double products = bench.model().prefill_products(kPrefill);
    bench.step(kPrefill, 0);
    Series s;
    const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
    for (int round = 0; round < rounds; ++round) {
        const double read = bandwidth(pool, probe, bench.model().memory(), bench.model().bytes());
        double decode = 0;
        for (int32_t i = 0; i < kDecodeSteps; ++i) decode += bench.step(1, kPrefill + i);
        const double read_again =
            bandwidth(pool, probe, bench.model().memory(), bench.model().bytes());
        const double multiply = peak(pool, probe);
        const double prefill = bench.step(kPrefill, 0);
        const double multiply_again = peak(pool, probe);
        const double gb = (read + read_again) / 2, gp = (multiply + multiply_again) / 2;
        s.bandwidth.push_back(gb * 1e-9);
        s.peak.push_back(gp * 1e-9);
        s.decode.push_back(kDecodeSteps / decode);
        s.prefill.push_back(kPrefill / prefill);
        s.decode_share.push_back(kDecodeSteps * bytes / decode / gb);
        s.prefill_share.push_back(products / prefill / gp);
    }
    report(bench, type.c_str(), probe, s);
    return 0;
}
