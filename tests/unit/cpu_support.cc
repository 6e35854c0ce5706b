#include "unit/cpu_support.h"

#include <algorithm>
#include <cstdio>
#include <limits>

#include "cpu/cpu_executor.h"

namespace cpu_test {

namespace {

constexpr float kEpsilon = 1e-6f;

double silu(double x) { return x / (1 + std::exp(-x)); }

void add_to(std::vector<double>& to, const std::vector<double>& x, double factor) {
    for (size_t i = 0; i < to.size(); ++i) to[i] += factor * x[i];
}

}  // namespace

TestModel::TestModel(const ModelSpec& spec) : spec_(spec), random_(spec.seed) {
    const int64_t h = spec.hidden;
    const DType d = spec.dtype;
    for (int32_t i = 0; i < spec.rope / 2; ++i) {
        frequency_.push_back(std::pow(10000.0, -2.0 * i / spec.rope));
    }
    embed_ = add(d == DType::kF8E4M3 ? DType::kBF16 : d, spec.vocab, h, 1.0);
    final_norm_ = add(DType::kF32, 1, h, 0.3, 1.0);
    head_ = add(d, spec.vocab, h, 0.2);
    s_h_ = slot(h);
    s_n_ = slot(h);
    s_q_ = slot(int64_t{spec.heads} * (spec.nope + spec.rope));
    s_kv_ = slot(int64_t{spec.rkv} + spec.rope);
    s_a_ = slot(int64_t{spec.heads} * spec.v_head);
    s_o_ = slot(h);
    s_id_ = slot(spec.top_k, SlotType::kI32);
    s_w_ = slot(spec.top_k);
    s_f_ = slot(h);
    const int32_t gathered = slot(h, SlotType::kF32, true);
    const int32_t logits = slot(spec.vocab, SlotType::kF32, true);
    call(Op::kEmbed, 0, {}, {s_h_}, {embed_});
    for (int32_t layer = 0; layer < spec.layers; ++layer) add_layer(layer, layer > 0 ? s_f_ : -1);
    call(Op::kRmsNorm, 0, {s_h_, s_f_}, {s_n_}, {final_norm_});
    call(Op::kGatherRows, 0, {s_n_}, {gathered}, {});
    call(Op::kLinear, 0, {gathered}, {logits}, {head_}, true);
    for (const auto& w : weights_) views_.push_back(w->view);
    ModelShape& s = plan_.shape;
    s = {.n_layers = spec.layers,
         .hidden = spec.hidden,
         .vocab_rows = spec.vocab,
         .n_heads = spec.heads,
         .qk_nope = spec.nope,
         .qk_rope = spec.rope,
         .v_head = spec.v_head,
         .kv_lora_rank = spec.rkv,
         .softmax_scale = static_cast<float>(1.3 / std::sqrt(spec.nope + spec.rope)),
         .rope_magnitude = 1.0f,
         .rope_inverse_frequency = frequency_.data(),
         .n_routed_experts = spec.experts,
         .top_k = spec.top_k,
         .n_group = spec.n_group,
         .topk_group = spec.topk_group,
         .scoring = spec.v3 ? Scoring::kSigmoid : Scoring::kSoftmax,
         .group_score_top2 = spec.v3,
         .norm_topk_prob = spec.v3,
         .scale_when_normalised = spec.v3,
         .routed_scaling_factor = spec.v3 ? 2.5f : 3.0f,
         .moe_intermediate = spec.moe_intermediate,
         .shared_intermediate = spec.shared_intermediate,
         .dense_intermediate = spec.dense_intermediate};
    plan_.calls = calls_.data();
    plan_.n_calls = static_cast<int32_t>(calls_.size());
    plan_.slots = slots_.data();
    plan_.n_slots = static_cast<int32_t>(slots_.size());
    plan_.weights = views_.data();
    plan_.n_weights = static_cast<int32_t>(views_.size());
    plan_.logits_slot = logits;
}

int32_t TestModel::add(DType dtype, int64_t rows, int64_t cols, double size, double offset) {
    weights_.push_back(make_weight(dtype, rows, cols, size, random_, offset));
    return static_cast<int32_t>(weights_.size()) - 1;
}

/// The key part of kv_b per head, [heads * rkv, nope]; its values are those of kv_b, in F32.
int32_t TestModel::add_transposed(int32_t kv_b) {
    const int32_t t = add(DType::kF32, int64_t{spec_.heads} * spec_.rkv, spec_.nope, 1.0);
    TestWeight& to = *weights_[static_cast<size_t>(t)];
    const TestWeight& from = *weights_[static_cast<size_t>(kv_b)];
    for (int64_t h = 0; h < spec_.heads; ++h) {
        for (int64_t r = 0; r < spec_.rkv; ++r) {
            for (int64_t i = 0; i < spec_.nope; ++i) {
                const double v = from.at(h * (spec_.nope + spec_.v_head) + i, r);
                const size_t at = static_cast<size_t>((h * spec_.rkv + r) * spec_.nope + i);
                const float narrow = static_cast<float>(v);
                std::memcpy(to.data.data() + at * 4, &narrow, 4);
            }
        }
    }
    return t;
}

int32_t TestModel::slot(int64_t width, SlotType type, bool gathered) {
    slots_.push_back({width, type, gathered});
    return static_cast<int32_t>(slots_.size()) - 1;
}

void TestModel::call(Op op, int32_t layer, std::vector<int32_t> in, std::vector<int32_t> out,
                     std::vector<int32_t> w, bool gathered) {
    in.resize(3, -1);
    out.resize(2, -1);
    w.resize(4, -1);
    OpCall c{.op = op,
             .layer = layer,
             .in = {in[0], in[1], in[2]},
             .out = {out[0], out[1]},
             .w = {w[0], w[1], w[2], w[3]},
             .epsilon = kEpsilon,
             .rows_from_gather = gathered};
    calls_.push_back(c);
}

void TestModel::add_layer(int32_t index, int32_t pending) {
    const ModelSpec& s = spec_;
    const DType d = s.dtype;
    Layer l;
    l.input_norm = add(index % 2 == 0 ? DType::kF32 : DType::kBF16, 1, s.hidden, 0.3, 1.0);
    l.q = add(d, int64_t{s.heads} * (s.nope + s.rope), s.hidden, 0.3);
    l.kv_a = add(d, int64_t{s.rkv} + s.rope, s.hidden, 0.3);
    l.kv_norm = add(DType::kF32, 1, s.rkv, 0.3, 1.0);
    l.kv_b = add(d, int64_t{s.heads} * (s.nope + s.v_head), s.rkv, 0.3);
    l.kv_t = add_transposed(l.kv_b);
    l.o = add(d, s.hidden, int64_t{s.heads} * s.v_head, 0.3);
    l.post_norm = add(DType::kF32, 1, s.hidden, 0.3, 1.0);
    call(Op::kRmsNorm, index, {s_h_, pending}, {s_n_}, {l.input_norm});
    call(Op::kLinear, index, {s_n_}, {s_q_}, {l.q});
    call(Op::kLinear, index, {s_n_}, {s_kv_}, {l.kv_a});
    call(Op::kMlaStore, index, {s_q_, s_kv_}, {}, {l.kv_norm});
    call(Op::kMlaAttention, index, {s_q_}, {s_a_}, {l.kv_b, l.kv_t});
    call(Op::kLinear, index, {s_a_}, {s_o_}, {l.o});
    call(Op::kRmsNorm, index, {s_h_, s_o_}, {s_n_}, {l.post_norm});
    if (index == 0) {
        l.dense = add(d, s.dense_intermediate, s.hidden, 0.2);
        add(d, s.dense_intermediate, s.hidden, 0.2);
        add(d, s.hidden, s.dense_intermediate, 0.2);
        call(Op::kDenseFfn, index, {s_n_}, {s_f_}, {l.dense, l.dense + 1, l.dense + 2});
    } else {
        l.gate = add(s.seed % 2 == 0 ? DType::kBF16 : DType::kF32, s.experts, s.hidden, 0.3);
        if (s.v3) l.bias = add(DType::kF32, 1, s.experts, 0.2);
        l.first_gate = static_cast<int32_t>(weights_.size());
        for (int32_t e = 0; e < s.experts; ++e) add(d, s.moe_intermediate, s.hidden, 0.2);
        l.first_up = static_cast<int32_t>(weights_.size());
        for (int32_t e = 0; e < s.experts; ++e) add(d, s.moe_intermediate, s.hidden, 0.2);
        l.first_down = static_cast<int32_t>(weights_.size());
        for (int32_t e = 0; e < s.experts; ++e) add(d, s.hidden, s.moe_intermediate, 0.2);
        l.shared = add(d, s.shared_intermediate, s.hidden, 0.2);
        add(d, s.shared_intermediate, s.hidden, 0.2);
        add(d, s.hidden, s.shared_intermediate, 0.2);
        call(Op::kMoeRoute, index, {s_n_}, {s_id_, s_w_}, {l.gate, l.bias});
        call(Op::kMoeFfn, index, {s_n_, s_id_, s_w_}, {s_f_},
             {l.first_gate, l.first_up, l.first_down, l.shared});
    }
    layers_.push_back(l);
}

std::vector<double> TestModel::product(int32_t w, const std::vector<double>& x) const {
    const TestWeight& weight = *weights_[static_cast<size_t>(w)];
    std::vector<double> y(static_cast<size_t>(weight.view.rows), 0.0);
    for (size_t r = 0; r < y.size(); ++r) {
        const double* row = weight.value.data() + r * x.size();
        for (size_t c = 0; c < x.size(); ++c) y[r] += row[c] * x[c];
    }
    return y;
}

std::vector<double> TestModel::norm(int32_t w, const std::vector<double>& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double factor =
        1 / std::sqrt(squares / static_cast<double>(x.size()) + static_cast<double>(kEpsilon));
    std::vector<double> y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
        y[i] = weights_[static_cast<size_t>(w)]->value[i] * x[i] * factor;
    }
    return y;
}

std::vector<double> TestModel::ffn(int32_t gate, int32_t up, int32_t down,
                                   const std::vector<double>& x) const {
    std::vector<double> g = product(gate, x);
    const std::vector<double> u = product(up, x);
    for (size_t i = 0; i < g.size(); ++i) g[i] = silu(g[i]) * u[i];
    return product(down, g);
}

std::vector<double> TestModel::moe(int32_t layer, const std::vector<double>& x) const {
    const Layer& l = layers_[static_cast<size_t>(layer)];
    const size_t n = static_cast<size_t>(spec_.experts);
    const size_t members = n / static_cast<size_t>(spec_.n_group);
    std::vector<double> score = product(l.gate, x);
    double total = 0;
    for (double& v : score) total += v = spec_.v3 ? 1 / (1 + std::exp(-v)) : std::exp(v);
    if (!spec_.v3)
        for (double& v : score) v /= total;
    std::vector<double> choice = score;
    for (size_t i = 0; spec_.v3 && i < n; ++i) {
        choice[i] += weights_[static_cast<size_t>(l.bias)]->value[i];
    }
    std::vector<std::pair<double, size_t>> groups;
    for (size_t g = 0; g < n / members; ++g) {
        std::vector<double> m(choice.begin() + static_cast<long>(g * members),
                              choice.begin() + static_cast<long>((g + 1) * members));
        std::sort(m.rbegin(), m.rend());
        groups.push_back({-(spec_.v3 ? m[0] + m[1] : m[0]), g});
    }
    std::sort(groups.begin(), groups.end());
    std::vector<std::pair<double, size_t>> order;
    for (size_t k = 0; k < static_cast<size_t>(spec_.topk_group); ++k) {
        for (size_t i = 0; i < members; ++i) {
            const size_t e = groups[k].second * members + i;
            order.push_back({-choice[e], e});
        }
    }
    std::sort(order.begin(), order.end());
    double sum = 0;
    for (size_t k = 0; k < static_cast<size_t>(spec_.top_k); ++k) sum += score[order[k].second];
    std::vector<double> y = ffn(l.shared, l.shared + 1, l.shared + 2, x);
    for (size_t k = 0; k < static_cast<size_t>(spec_.top_k); ++k) {
        const int32_t e = static_cast<int32_t>(order[k].second);
        const double s = score[order[k].second];
        const double weight = spec_.v3 ? s / sum * 2.5 : s * 3.0;
        add_to(y, ffn(l.first_gate + e, l.first_up + e, l.first_down + e, x), weight);
    }
    return y;
}

void TestModel::rotate(double* x, int32_t position) const {
    for (size_t i = 0; i < frequency_.size(); ++i) {
        const double c = std::cos(position * frequency_[i]);
        const double s = std::sin(position * frequency_[i]);
        const double a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * c - b * s;
        x[2 * i + 1] = a * s + b * c;
    }
}

/// The naive form: keys and values of every head from the latent rows.
Rows TestModel::attention(int32_t layer, const Rows& x) const {
    const Layer& l = layers_[static_cast<size_t>(layer)];
    const size_t heads = static_cast<size_t>(spec_.heads), nope = static_cast<size_t>(spec_.nope);
    const size_t rope = static_cast<size_t>(spec_.rope), dv = static_cast<size_t>(spec_.v_head);
    const size_t rkv = static_cast<size_t>(spec_.rkv);
    const double scale = static_cast<double>(plan_.shape.softmax_scale);
    Rows q, kv, k_rope, out;
    for (size_t t = 0; t < x.size(); ++t) {
        q.push_back(product(l.q, x[t]));
        for (size_t h = 0; h < heads; ++h) {
            rotate(q[t].data() + h * (nope + rope) + nope, static_cast<int32_t>(t));
        }
        std::vector<double> c = product(l.kv_a, x[t]);
        k_rope.emplace_back(c.begin() + static_cast<long>(rkv), c.end());
        rotate(k_rope[t].data(), static_cast<int32_t>(t));
        c.resize(rkv);
        kv.push_back(product(l.kv_b, norm(l.kv_norm, c)));
        std::vector<double> mixed(heads * dv, 0.0);
        for (size_t h = 0; h < heads; ++h) {
            const double* query = q[t].data() + h * (nope + rope);
            std::vector<double> p(t + 1);
            double top = -1e300, sum = 0;
            for (size_t s = 0; s <= t; ++s) {
                const double* key = kv[s].data() + h * (nope + dv);
                for (size_t i = 0; i < nope; ++i) p[s] += query[i] * key[i];
                for (size_t i = 0; i < rope; ++i) p[s] += query[nope + i] * k_rope[s][i];
                p[s] *= scale;
                top = std::max(top, p[s]);
            }
            for (double& v : p) sum += v = std::exp(v - top);
            for (size_t s = 0; s <= t; ++s) {
                const double* value = kv[s].data() + h * (nope + dv) + nope;
                for (size_t i = 0; i < dv; ++i) mixed[h * dv + i] += p[s] / sum * value[i];
            }
        }
        out.push_back(product(l.o, mixed));
    }
    return out;
}

Rows TestModel::reference(const std::vector<int32_t>& tokens) const {
    Rows h, logits;
    const TestWeight& table = *weights_[static_cast<size_t>(embed_)];
    for (const int32_t token : tokens) {
        const auto row = table.value.begin() + int64_t{token} * spec_.hidden;
        h.emplace_back(row, row + spec_.hidden);
    }
    for (int32_t layer = 0; layer < spec_.layers; ++layer) {
        const Layer& l = layers_[static_cast<size_t>(layer)];
        Rows x;
        for (const auto& row : h) x.push_back(norm(l.input_norm, row));
        const Rows a = attention(layer, x);
        for (size_t t = 0; t < h.size(); ++t) {
            add_to(h[t], a[t], 1);
            const std::vector<double> n = norm(l.post_norm, h[t]);
            add_to(h[t], layer == 0 ? ffn(l.dense, l.dense + 1, l.dense + 2, n) : moe(layer, n), 1);
        }
    }
    for (const auto& row : h) logits.push_back(product(head_, norm(final_norm_, row)));
    return logits;
}

Harness::Harness(const TestModel& model, const BackendOptions& options, const Limits& limits)
    : model_(model) {
    BackendError error{};
    INFO(error.text);
    REQUIRE(table_->open(&options, &device_, &error) == 0);
    const int32_t status = table_->prepare(device_, &model.plan(), &limits, &executor_, &error);
    INFO(error.text);
    REQUIRE(status == 0);
}

Harness::~Harness() {
    if (executor_ != nullptr) table_->release(executor_);
    if (device_ != nullptr) table_->close(device_);
}

int32_t Harness::try_step(const std::vector<StepSequence>& sequences, BackendError* error) {
    std::vector<int32_t> token, position, rows;
    std::vector<SequenceRows> ranges;
    for (const StepSequence& s : sequences) {
        ranges.push_back({static_cast<int32_t>(token.size()), static_cast<int32_t>(s.tokens.size()),
                          s.pages.data(), static_cast<int32_t>(s.pages.size()), 0});
        for (size_t i = 0; i < s.tokens.size(); ++i) {
            rows.push_back(static_cast<int32_t>(token.size()));
            token.push_back(s.tokens[i]);
            position.push_back(s.first_position + static_cast<int32_t>(i));
        }
    }
    const int32_t n = static_cast<int32_t>(token.size());
    const Batch batch{.n_rows = n,
                      .n_sequences = static_cast<int32_t>(ranges.size()),
                      .n_logit_rows = n,
                      .padding = 0,
                      .token = token.data(),
                      .position = position.data(),
                      .sequences = ranges.data(),
                      .logit_row = rows.data()};
    return table_->run(executor_, &batch, error);
}

std::vector<std::vector<float>> Harness::logits(size_t n) const {
    const size_t width = static_cast<size_t>(model_.spec().vocab);
    const float* all = table_->logits(executor_);
    std::vector<std::vector<float>> out;
    for (size_t i = 0; i < n; ++i) out.emplace_back(all + i * width, all + (i + 1) * width);
    return out;
}

std::vector<std::vector<float>> Harness::step(const std::vector<StepSequence>& sequences) {
    BackendError error{};
    const int32_t status = try_step(sequences, &error);
    INFO(error.text);
    REQUIRE(status == 0);
    size_t n = 0;
    for (const StepSequence& s : sequences) n += s.tokens.size();
    return logits(n);
}

void Harness::copy_page(int32_t from, int32_t to, int32_t n) {
    BackendError error{};
    REQUIRE(table_->copy_page(executor_, from, to, n, &error) == 0);
}

void poison_kv(void* executor) {
    CpuExecutor& self = *static_cast<CpuExecutor*>(executor);
    float* rows = reinterpret_cast<float*>(self.kv_layer(0));
    const uint64_t count = kv_cache_bytes(self.plan, self.limits) / 4;
    std::fill(rows, rows + count, std::numeric_limits<float>::quiet_NaN());
    for (int32_t i = 0; i < self.plan.n_slots; ++i) {
        const SlotInfo& slot = self.plan.slots[i];
        const int64_t n = slot.gathered != 0 ? self.limits.max_logit_rows : self.limits.max_rows;
        float* activations = self.slot<float>(i);
        std::fill(activations, activations + n * slot.width,
                  std::numeric_limits<float>::quiet_NaN());
    }
    const ModelShape& shape = self.shape;
    std::fill(self.space.z, self.space.z + kAttentionRows * shape.n_heads * shape.kv_lora_rank,
              std::numeric_limits<float>::quiet_NaN());
}

double relative_error(const std::vector<std::vector<float>>& found, const Rows& wanted) {
    double difference = 0, size = 0;
    REQUIRE(found.size() == wanted.size());
    for (size_t r = 0; r < found.size(); ++r) {
        for (size_t i = 0; i < found[r].size(); ++i) {
            const double d = static_cast<double>(found[r][i]) - wanted[r][i];
            difference += d * d;
            size += wanted[r][i] * wanted[r][i];
        }
    }
    const double error = std::sqrt(difference / size);
    return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

double median_error(const std::vector<std::vector<float>>& found, const Rows& wanted) {
    std::vector<double> errors;
    for (size_t r = 0; r < found.size(); ++r) {
        errors.push_back(relative_error({found[r]}, {wanted[r]}));
    }
    std::sort(errors.begin(), errors.end());
    return errors[errors.size() / 2];
}

std::vector<int32_t> random_tokens(int32_t n, int32_t vocab, uint64_t seed) {
    Random random(seed);
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < n; ++i) tokens.push_back(random.below(vocab));
    return tokens;
}

const char* isa_name(CpuIsa isa) {
    static const char* const kNames[] = {"auto", "scalar", "avx2", "avx512", "avx512_bf16"};
    return kNames[static_cast<int32_t>(isa)];
}

std::vector<CpuIsa> runnable_isas() {
    static bool told = false;
    std::vector<CpuIsa> isas;
    for (const CpuIsa isa :
         {CpuIsa::kScalar, CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16}) {
        if (cpu_kernels(isa) != nullptr) {
            isas.push_back(isa);
        } else if (!told) {
            std::printf("cpu backend: this processor cannot run the variant %s; not tested\n",
                        isa_name(isa));
        }
    }
    told = true;
    return isas;
}

}  // namespace cpu_test
