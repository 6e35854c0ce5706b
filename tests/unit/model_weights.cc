// If this fails, a weight lies where no operator looks for it, in another type or transposed
// wrongly, or a cancelled load leaks.
#include "model/weights.h"

#include <bit>
#include <cmath>
#include <optional>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "base/checked.h"
#include "model/convert.h"
#include "model/model.h"
#include "unit/model_checkpoint.h"

using namespace fathom;
using namespace fathom::test;
using Catch::Matchers::ContainsSubstring;

namespace {

/// A checkpoint on disk and loaded.
struct Loaded {
    explicit Loaded(const TestCheckpoint& source, bool host_memory = true)
        : table(memory_table(host_memory)) {
        source.write(folder);
        checkpoint.emplace(folder.path());
        config = read_model_config(checkpoint->config());
        model = Model::load(table, &memory, *checkpoint, config, {});
    }

    /// Weight of the plan made of `tensor`: the first, or the last for kv_b's transposed copy.
    const Weight& weight(std::string_view tensor, bool last = false) const {
        const std::vector<WeightSpec> specs = build_deepseek(config).weights;
        size_t found = specs.size();
        for (size_t i = 0; i < specs.size(); ++i) {
            if (specs[i].tensor == tensor && (last || found == specs.size())) found = i;
        }
        REQUIRE(found < specs.size());
        return model->plan().weights[found];
    }

    TemporaryFolder folder;
    CountedMemory memory;
    BackendTable table;
    std::optional<Checkpoint> checkpoint;
    ModelConfig config;
    std::unique_ptr<Model> model;
};

double stored_value(DType dtype, const char* data, int64_t i) {
    uint32_t bits = 0;
    std::memcpy(&bits, data + i * dtype_bytes(dtype), static_cast<size_t>(dtype_bytes(dtype)));
    switch (dtype) {
        case DType::kF32: return std::bit_cast<float>(bits);
        case DType::kF16: return f16_to_float(static_cast<uint16_t>(bits));
        case DType::kBF16: return bf16_to_float(static_cast<uint16_t>(bits));
        case DType::kF8E4M3: return f8_e4m3_to_float(static_cast<uint8_t>(bits));
    }
    return NAN;
}

double weight_value(const Weight& weight, int64_t row, int64_t col) {
    const double code = stored_value(weight.dtype, static_cast<const char*>(weight.data),
                                     row * weight.cols + col);
    if (weight.dtype != DType::kF8E4M3) return code;
    return code * weight.scale[row / 128 * ceil_div(weight.cols, 128) + col / 128];
}

const char kKvB[] = "model.layers.1.self_attn.kv_b_proj.weight";

/// Every element of the transposed key part against the same element of kv_b itself.
void check_key_up(const Loaded& loaded, double tolerance) {
    const ModelConfig& c = loaded.config;
    const Weight& kv_b = loaded.weight(kKvB);
    const Weight& key_up = loaded.weight(kKvB, true);
    const int64_t dn = c.qk_nope_head_dim, dv = c.v_head_dim, rkv = c.kv_lora_rank;
    REQUIRE(key_up.rows == c.num_attention_heads * rkv);
    REQUIRE(key_up.cols == dn);
    double worst = 0;
    for (int64_t head = 0; head < c.num_attention_heads; ++head) {
        for (int64_t r = 0; r < rkv; ++r) {
            for (int64_t d = 0; d < dn; ++d) {
                const double wanted = weight_value(kv_b, head * (dn + dv) + d, r);
                const double found = weight_value(key_up, head * rkv + r, d);
                worst = std::max(worst, std::abs(found - wanted) - tolerance * std::abs(wanted));
            }
        }
    }
    CHECK(worst <= 0);
}

/// Several scale blocks with ragged ends, and heads that no block border respects.
const std::string kTwoBlocks =
    with(with(with(with(kTinyV3, "kv_lora_rank", "144"), "qk_nope_head_dim", "72"), "v_head_dim",
              "48"),
         "hidden_size", "136");

}  // namespace

TEST_CASE("weights keep the bytes of the checkpoint") {
    for (const char* dtype : {"F32", "F16", "BF16", "F8_E4M3"}) {
        CAPTURE(dtype);
        TestCheckpoint source(kTwoBlocks, dtype);
        const Loaded loaded(source);
        for (const char* name : {"model.embed_tokens.weight", "lm_head.weight",
                                 "model.layers.0.mlp.down_proj.weight",
                                 "model.layers.1.mlp.gate.weight",
                                 "model.layers.1.mlp.experts.3.up_proj.weight", kKvB}) {
            const Weight& weight = loaded.weight(name);
            const TestTensor& tensor = source.at(name);
            REQUIRE(weight.rows == tensor.shape[0]);
            REQUIRE(weight.cols == tensor.shape[1]);
            CHECK(reinterpret_cast<uintptr_t>(weight.data) % 64 == 0);
            CHECK(std::memcmp(weight.data, tensor.data.data(), tensor.data.size()) == 0);
            if (tensor.dtype != "F8_E4M3") continue;
            const TestTensor& scale = source.at(concat(name, "_scale_inv"));
            CHECK(reinterpret_cast<uintptr_t>(weight.scale) % 64 == 0);
            CHECK(std::memcmp(weight.scale, scale.data.data(), scale.data.size()) == 0);
        }
    }
}

TEST_CASE("weights that are vectors become F32") {
    for (const char* dtype : {"F32", "F16", "BF16"}) {
        CAPTURE(dtype);
        TestCheckpoint source(kTinyV3, dtype);
        const Loaded loaded(source);
        for (const char* name :
             {"model.norm.weight", "model.layers.0.self_attn.q_a_layernorm.weight",
              "model.layers.1.mlp.gate.e_score_correction_bias"}) {
            const Weight& weight = loaded.weight(name);
            const TestTensor& tensor = source.at(name);
            REQUIRE(weight.dtype == DType::kF32);
            REQUIRE(weight.rows == 1);
            const DType stored = *readable_type(loaded.checkpoint->find(name)->dtype);
            for (int64_t i = 0; i < weight.cols; ++i) {
                CHECK(weight_value(weight, 0, i) == stored_value(stored, tensor.data.data(), i));
            }
        }
    }
}

TEST_CASE("weights hold the key part of kv_b transposed per head") {
    // F32, F16 and BF16 are moved bit by bit; FP8 times its scale is rounded to BF16's 8 bits.
    for (const char* dtype : {"F32", "F16", "BF16"}) {
        check_key_up(Loaded(TestCheckpoint(kTwoBlocks, dtype)), 0);
        check_key_up(Loaded(TestCheckpoint(kTwoBlocks, dtype), false), 0);
    }
    const Loaded fp8(TestCheckpoint(kTwoBlocks, "F8_E4M3"));
    CHECK(fp8.weight(kKvB).dtype == DType::kF8E4M3);
    CHECK(fp8.weight(kKvB, true).dtype == DType::kBF16);
    check_key_up(fp8, 0x1p-8);
}

TEST_CASE("weights with rows longer than a transposition block") {
    // 256 KiB hold three rows of 20,000 F32 values, so a head of 10 takes four reads.
    const std::string wide = with(kTinyV3, "kv_lora_rank", "20000");
    check_key_up(Loaded(TestCheckpoint(wide, "F32")), 0);
}

TEST_CASE("weights are the same through upload") {
    const TestCheckpoint source(kTwoBlocks, "F8_E4M3");
    const Loaded direct(source);
    const Loaded uploaded(source, false);
    const Plan& a = direct.model->plan();
    const Plan& b = uploaded.model->plan();
    REQUIRE(a.n_weights == b.n_weights);
    for (int32_t i = 0; i < a.n_weights; ++i) {
        const Weight& weight = a.weights[i];
        const int64_t bytes = weight.rows * weight.cols * dtype_bytes(weight.dtype);
        REQUIRE(std::memcmp(weight.data, b.weights[i].data, static_cast<size_t>(bytes)) == 0);
    }
}

TEST_CASE("weights are one allocation of the size that was announced") {
    const Loaded loaded(TestCheckpoint(kTinyV3, "BF16"));
    CHECK(loaded.memory.n_allocations == 1);
    CHECK(loaded.memory.live_bytes == loaded.model->weight_bytes());
    CHECK(loaded.model->weight_bytes() ==
          ModelOutline(*loaded.checkpoint, loaded.config).weight_bytes());
    CHECK(loaded.model->natural_kv_dtype() == DType::kBF16);
    CHECK(Loaded(TestCheckpoint(kTinyV3, "F32")).model->natural_kv_dtype() == DType::kF32);
}

TEST_CASE("loading reports progress and can be cancelled anywhere") {
    TemporaryFolder folder;
    TestCheckpoint(kTinyV3, "BF16").write(folder);
    const Checkpoint checkpoint(folder.path());
    const ModelConfig config = read_model_config(checkpoint.config());
    const BackendTable table = memory_table(true);
    CountedMemory memory;

    std::vector<uint64_t> reports;
    uint64_t last_total = 0;
    const auto record = [&](uint64_t done, uint64_t total) {
        reports.push_back(done);
        last_total = total;
        return true;
    };
    Model::load(table, &memory, checkpoint, config, record);
    CHECK(reports.front() == 0);
    CHECK(reports.back() == last_total);
    CHECK(std::ranges::is_sorted(reports));
    CHECK(last_total >= checkpoint.tensor_bytes());
    REQUIRE(reports.size() > 10);
    REQUIRE(reports.size() < 400);
    CHECK(memory.live_bytes == 0);

    for (size_t stop = 0; stop < reports.size(); ++stop) {
        size_t n_calls = 0;
        const auto cancel = [&](uint64_t, uint64_t) { return n_calls++ < stop; };
        const std::string message = error_message(
            [&] { Model::load(table, &memory, checkpoint, config, cancel); }, Status::kCancelled);
        CHECK(n_calls == stop + 1);
        REQUIRE(memory.live_bytes == 0);
        CHECK_THAT(message, ContainsSubstring("cancelled by the host"));
    }
}

TEST_CASE("loading without memory is a status") {
    TemporaryFolder folder;
    TestCheckpoint(kTinyV3, "BF16").write(folder);
    const Checkpoint checkpoint(folder.path());
    const ModelConfig config = read_model_config(checkpoint.config());
    const BackendTable table = memory_table(true);
    CountedMemory memory;
    memory.limit_bytes = ModelOutline(checkpoint, config).weight_bytes() - 1;
    CHECK_THAT(error_message([&] { Model::load(table, &memory, checkpoint, config, {}); },
                             Status::kNoMemory),
               ContainsSubstring("are not to be had"));
    ++memory.limit_bytes;
    CHECK(Model::load(table, &memory, checkpoint, config, {}) != nullptr);
}

TEST_CASE("conversions of stored numbers are exact") {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
        const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
        const int exponent = static_cast<int>(bits >> 10 & 0x1f);
        const double mantissa = bits & 0x3ff;
        const float found = f16_to_float(static_cast<uint16_t>(bits));
        if (exponent == 31) {
            REQUIRE((mantissa == 0 ? std::isinf(found) : std::isnan(found)));
            REQUIRE(std::signbit(found) == (sign < 0));
            continue;
        }
        const double wanted = exponent == 0 ? std::ldexp(mantissa, -24)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
        REQUIRE(found == sign * wanted);
    }
    for (uint32_t bits = 0; bits < 0x100; ++bits) {
        const int exponent = static_cast<int>(bits >> 3 & 0xf);
        const double mantissa = bits & 7;
        const float found = f8_e4m3_to_float(static_cast<uint8_t>(bits));
        if ((bits & 0x7f) == 0x7f) {
            REQUIRE(std::isnan(found));
            continue;
        }
        const double wanted = exponent == 0 ? std::ldexp(mantissa, -9)
                                            : std::ldexp(8 + mantissa, exponent - 10);
        REQUIRE(found == ((bits & 0x80) != 0 ? -wanted : wanted));
    }
    // Ties go to the even neighbour: 1 + 2^-8 down to 1, 1 + 3 * 2^-8 up to 1 + 2^-6.
    CHECK(float_to_bf16(1.0F + 0x1p-8F) == 0x3f80);
    CHECK(float_to_bf16(1.0F + 0x3p-8F) == 0x3f82);
    CHECK(float_to_bf16(1.0F + 0x1.02p-8F) == 0x3f81);
    CHECK(float_to_bf16(-448.0F) == 0xc3e0);
}
