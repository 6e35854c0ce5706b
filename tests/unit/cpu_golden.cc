// If this fails, an operator of the CPU backend computes something else than the float64 oracle of
// tests/reference does: the cases of tests/golden/operators, in every variant that runs here.

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cpu/cpu_executor.h"
#include "format/checkpoint.h"
#include "unit/cpu_support.h"

using namespace cpu_test;

namespace {

/// Tensors of tests/golden/operators/OP.safetensors, by CASE.NAME.
class Cases {
public:
    explicit Cases(std::string_view op) {
        const Directory folder(concat(FATHOM_SOURCE_DIR, "/tests/golden/operators"));
        const File file = folder.open(concat(op, ".safetensors"));
        for (const TensorInfo& info : read_safetensors_header(file, {}).tensors) {
            std::vector<std::byte> bytes(info.bytes);
            file.read(info.offset, bytes);
            data_[info.name] = std::move(bytes);
        }
    }

    template <class T>
    std::vector<T> get(const std::string& name) const {
        INFO(name);
        REQUIRE(data_.count(name) == 1);
        const std::vector<std::byte>& bytes = data_.at(name);
        std::vector<T> values(bytes.size() / sizeof(T));
        std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }
    int32_t integer(const std::string& name) const { return get<int32_t>(name).at(0); }
    double number(const std::string& name) const { return get<double>(name).at(0); }

private:
    std::map<std::string, std::vector<std::byte>> data_;
};

Weight weight_of(const std::vector<float>& values, int64_t rows, int64_t cols) {
    Weight w;
    w.data = values.data();
    w.rows = rows;
    w.cols = cols;
    return w;
}

double worst(const float* found, const std::vector<double>& wanted) {
    double largest = 0;
    double difference = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
        largest = std::max(largest, std::abs(wanted[i]));
        difference = std::max(difference, std::abs(static_cast<double>(found[i]) - wanted[i]));
    }
    return difference / largest;
}

/// A plan of one operator whose shape is filled by the test.
struct OnePlan {
    ModelShape shape{.n_layers = 1,
                     .hidden = 1,
                     .vocab_rows = 1,
                     .n_heads = 1,
                     .qk_nope = 1,
                     .qk_rope = 2,
                     .v_head = 1,
                     .kv_lora_rank = 1};
    double frequency[64] = {};
    OpCall call{.op = Op::kCount,
                .layer = 0,
                .in = {-1, -1, -1},
                .out = {-1, -1},
                .w = {-1, -1, -1, -1},
                .epsilon = 1e-6f,
                .rows_from_gather = 0};
    std::vector<SlotInfo> slots;
    std::vector<Weight> weights;
    Plan plan{};

    const Plan& finish() {
        shape.rope_inverse_frequency = frequency;
        plan = {.shape = shape,
                .calls = &call,
                .n_calls = 1,
                .slots = slots.data(),
                .n_slots = static_cast<int32_t>(slots.size()),
                .weights = weights.data(),
                .n_weights = static_cast<int32_t>(weights.size()),
                .logits_slot = 0};
        return plan;
    }
};

void check_router(const Cases& cases, const std::string& name, bool v3) {
    INFO("router " << name);
    const std::vector<float> logits = cases.get<float>(name + ".logits");
    const int32_t top_k = cases.integer(name + ".num_experts_per_tok");
    const std::vector<int32_t> ids = cases.get<int32_t>(name + ".indices");
    const int32_t n_rows = static_cast<int32_t>(ids.size()) / top_k;
    const int32_t n = static_cast<int32_t>(logits.size()) / n_rows;
    // The gate is the identity, so that the hidden state is the logits.
    std::vector<float> gate(static_cast<size_t>(n * n), 0.0f);
    for (int32_t i = 0; i < n; ++i) gate[static_cast<size_t>(i * n + i)] = 1.0f;
    const std::vector<float> bias = v3 ? cases.get<float>(name + ".bias") : std::vector<float>{};
    OnePlan one;
    ModelShape& s = one.shape;
    s.hidden = s.n_routed_experts = n;
    s.top_k = top_k;
    s.n_group = cases.integer(name + ".n_group");
    s.topk_group = cases.integer(name + ".topk_group");
    s.scoring = v3 ? Scoring::kSigmoid : Scoring::kSoftmax;
    s.group_score_top2 = s.scale_when_normalised = v3;
    s.norm_topk_prob = cases.integer(name + ".norm_topk_prob");
    s.routed_scaling_factor = static_cast<float>(cases.number(name + ".routed_scaling_factor"));
    one.slots = {{n, SlotType::kF32, 0}, {top_k, SlotType::kI32, 0}, {top_k, SlotType::kF32, 0}};
    one.weights = {weight_of(gate, n, n), weight_of(bias, 1, n)};
    one.call.op = Op::kMoeRoute;
    one.call.in[0] = 0;
    one.call.out[0] = 1;
    one.call.out[1] = 2;
    one.call.w[0] = 0;
    one.call.w[1] = v3 ? 1 : -1;
    if (!v3) one.weights.pop_back();
    check_plan(one.finish(), kTestLimits);
    for (const CpuIsa isa : runnable_isas()) {
        INFO(isa_name(isa));
        CpuDevice device(*cpu_kernels(isa), {.n_threads = 2, .isa = isa}, 2);
        CpuExecutor executor(device, one.plan, kTestLimits);
        std::copy(logits.begin(), logits.end(), executor.slot<float>(0));
        op_moe_route(executor, one.call, n_rows);
        const int32_t* found = executor.slot<int32_t>(1);
        CHECK(std::equal(ids.begin(), ids.end(), found));
        CHECK(worst(executor.slot<float>(2), cases.get<double>(name + ".weights")) < 2e-6);
    }
}

void check_mla(const Cases& cases, const std::string& name) {
    INFO("mla " << name);
    const std::vector<float> q_nope = cases.get<float>(name + ".q_nope");
    const std::vector<float> q_pe = cases.get<float>(name + ".q_pe");
    const std::vector<float> latent = cases.get<float>(name + ".latent");
    const std::vector<float> k_pe = cases.get<float>(name + ".k_pe");
    const std::vector<float> kv_b = cases.get<float>(name + ".kv_b");
    const std::vector<double> y = cases.get<double>(name + ".y");
    const int32_t rope = 8, rkv = 24;
    const int32_t m = static_cast<int32_t>(k_pe.size()) / rope;
    const int32_t first = cases.integer(name + ".first");
    const int32_t n = m - first;
    const int32_t heads = static_cast<int32_t>(q_pe.size()) / (n * rope);
    const int32_t nope = static_cast<int32_t>(q_nope.size()) / (n * heads);
    const int32_t dv = static_cast<int32_t>(y.size()) / (n * heads);
    std::vector<float> transposed(static_cast<size_t>(heads * rkv * nope));
    for (int32_t h = 0; h < heads; ++h) {
        for (int32_t r = 0; r < rkv; ++r) {
            for (int32_t i = 0; i < nope; ++i) {
                transposed[static_cast<size_t>((h * rkv + r) * nope + i)] =
                    kv_b[static_cast<size_t>((h * (nope + dv) + i) * rkv + r)];
            }
        }
    }
    OnePlan one;
    ModelShape& s = one.shape;
    s.n_heads = heads;
    s.qk_nope = nope;
    s.qk_rope = rope;
    s.v_head = dv;
    s.kv_lora_rank = rkv;
    s.softmax_scale = static_cast<float>(cases.number(name + ".scale"));
    one.slots = {{int64_t{heads} * (nope + rope), SlotType::kF32, 0},
                 {int64_t{heads} * dv, SlotType::kF32, 0}};
    one.weights = {weight_of(kv_b, int64_t{heads} * (nope + dv), rkv),
                   weight_of(transposed, int64_t{heads} * rkv, nope)};
    one.call.op = Op::kMlaAttention;
    one.call.in[0] = 0;
    one.call.out[0] = 1;
    one.call.w[0] = 0;
    one.call.w[1] = 1;
    check_plan(one.finish(), kTestLimits);
    for (const CpuIsa isa : runnable_isas()) {
        for (const MlaForm form : {MlaForm::kNaive, MlaForm::kAbsorbed}) {
            INFO(isa_name(isa) << ", form " << static_cast<int>(form));
            CpuDevice device(*cpu_kernels(isa), {.n_threads = 2, .isa = isa, .mla_form = form}, 2);
            CpuExecutor executor(device, one.plan, kTestLimits);
            const int32_t pages[2] = {5, 2};
            for (int32_t t = 0; t < m; ++t) {
                float* row = reinterpret_cast<float*>(executor.kv_layer(0)) +
                             (pages[t / 64] * 64 + t % 64) * (rkv + rope);
                std::copy_n(latent.begin() + t * rkv, rkv, row);
                std::copy_n(k_pe.begin() + t * rope, rope, row + rkv);
            }
            std::vector<int32_t> position, token(static_cast<size_t>(n), 0);
            for (int32_t i = 0; i < n; ++i) {
                position.push_back(first + i);
                for (int32_t h = 0; h < heads; ++h) {
                    float* q = executor.slot<float>(0) + (i * heads + h) * (nope + rope);
                    std::copy_n(q_nope.begin() + (i * heads + h) * nope, nope, q);
                    std::copy_n(q_pe.begin() + (i * heads + h) * rope, rope, q + nope);
                }
            }
            const SequenceRows rows{0, n, pages, 2, 0};
            executor.run({n, 1, 0, 0, token.data(), position.data(), &rows, nullptr});
            CHECK(worst(executor.slot<float>(1), y) < 2e-6);
        }
    }
}

}  // namespace

TEST_CASE("cpu: routers choose and weigh as the oracle does", "[cpu][golden]") {
    const Cases v2("router_v2");
    for (const char* name : {"v2-lite", "v2", "normalised"}) check_router(v2, name, false);
    const Cases v3("router_v3");
    for (const char* name : {"v3", "all-negative", "kimi-k2", "glm47-flash", "unnormalised"}) {
        check_router(v3, name, true);
    }
}

TEST_CASE("cpu: both forms of attention agree with the oracle", "[cpu][golden]") {
    const Cases cases("mla");
    for (const char* name : {"prefill", "decode", "chunk", "wide-values"}) check_mla(cases, name);
}

TEST_CASE("cpu: rotation agrees with the oracle at every position", "[cpu][golden]") {
    const Cases cases("rope");
    const std::vector<int32_t> positions = cases.get<int32_t>("positions");
    for (const std::string name : {"v2-lite", "v3", "kimi-k2", "moonlight", "glm47-flash"}) {
        INFO(name);
        const std::vector<double> frequency = cases.get<double>(name + ".inv_freq");
        const std::vector<float> x = cases.get<float>(name + ".x");
        const std::vector<double> y = cases.get<double>(name + ".y");
        OnePlan one;
        one.shape.qk_rope = 64;
        one.shape.rope_magnitude = static_cast<float>(cases.number(name + ".cos_sin_multiplier"));
        std::copy(frequency.begin(), frequency.end(), one.frequency);
        // A query of one head without a rope-free part does not exist: its one element is zero.
        const std::vector<float> norm = {1.0f};
        one.slots = {{65, SlotType::kF32, 0}, {65, SlotType::kF32, 0}};
        one.weights = {weight_of(norm, 1, 1)};
        one.call.op = Op::kMlaStore;
        one.call.in[0] = 0;
        one.call.in[1] = 1;
        one.call.w[0] = 0;
        Limits limits = kTestLimits;
        limits.n_pages = 1;
        check_plan(one.finish(), limits);
        for (const CpuIsa isa : runnable_isas()) {
            CpuDevice device(*cpu_kernels(isa), {.n_threads = 1, .isa = isa}, 1);
            CpuExecutor executor(device, one.plan, limits);
            for (size_t i = 0; i < positions.size(); ++i) {
                float* query = executor.slot<float>(0);
                query[0] = 0.0f;
                std::copy_n(x.begin() + static_cast<long>(i) * 64, 64, query + 1);
                std::copy_n(query, 65, executor.slot<float>(1));
                const std::vector<int32_t> pages(
                    static_cast<size_t>(positions[i] / kPageTokens + 1), 0);
                const int32_t token = 0;
                const SequenceRows rows{0, 1, pages.data(), static_cast<int32_t>(pages.size()), 0};
                executor.run({1, 1, 0, 0, &token, &positions[i], &rows, nullptr});
                const std::vector<double> wanted(y.begin() + static_cast<long>(i) * 64,
                                                 y.begin() + static_cast<long>(i + 1) * 64);
                CHECK(worst(query + 1, wanted) < 1e-6);
                const float* key = reinterpret_cast<const float*>(executor.kv_layer(0)) +
                                   positions[i] % kPageTokens * 65;
                CHECK(worst(key + 1, wanted) < 1e-6);
            }
        }
    }
}

TEST_CASE("cpu: an FP8 product agrees with the oracle", "[cpu][golden]") {
    const Cases cases("fp8");
    for (const std::string name : {"v3", "ue8m0"}) {
        INFO(name);
        const std::vector<uint8_t> data = cases.get<uint8_t>(name + ".weight");
        const std::vector<float> scale = cases.get<float>(name + ".weight_scale_inv");
        const std::vector<float> x = cases.get<float>(name + ".x");
        OnePlan one;
        one.slots = {{132, SlotType::kF32, 0}, {140, SlotType::kF32, 0}};
        Weight w;
        w.data = data.data();
        w.scale = scale.data();
        w.dtype = DType::kF8E4M3;
        w.rows = 140;
        w.cols = 132;
        one.weights = {w};
        one.call.op = Op::kLinear;
        one.call.in[0] = 0;
        one.call.out[0] = 1;
        one.call.w[0] = 0;
        check_plan(one.finish(), kTestLimits);
        for (const CpuIsa isa : runnable_isas()) {
            INFO(isa_name(isa));
            CpuDevice device(*cpu_kernels(isa), {.n_threads = 2, .isa = isa}, 2);
            CpuExecutor executor(device, one.plan, kTestLimits);
            std::copy(x.begin(), x.end(), executor.slot<float>(0));
            op_linear(executor, one.call, 1);
            // BF16 activations are off by up to 2^-9 each.
            const double bar = isa == CpuIsa::kAvx512Bf16 ? 4e-3 : 1e-6;
            CHECK(worst(executor.slot<float>(1), cases.get<double>(name + ".y")) < bar);
        }
    }
}
