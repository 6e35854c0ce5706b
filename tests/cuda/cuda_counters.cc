// If this fails, a decode step moves more bytes than its weights and its context are, or takes more
// kernels than it should: the model still answers right, and slower than the card allows.

#include <charconv>

#include "cuda/shape_model.h"
#include "cuda/virtual_driver.h"

using namespace cuda_test;
using fathom::BackendError;
using fathom::BackendOptions;
using fathom::DType;

namespace {

/// A number of a section, the first of its name after `mark`.
double counter(const std::string& json, const std::string& section, const std::string& mark,
               const std::string& name) {
    size_t at = json.find(fathom::concat("\"name\": \"", section, "\""));
    REQUIRE(at != std::string::npos);
    at = json.find("\"" + mark + "\"", at);
    REQUIRE(at != std::string::npos);
    at = json.find("\"" + name + "\": ", at);
    REQUIRE(at != std::string::npos);
    double value = 0;
    const char* begin = json.c_str() + at + name.size() + 4;
    std::from_chars(begin, json.c_str() + json.size(), value);
    return value;
}

struct StepCounts {
    double reads;           // bytes that memory must deliver in the step
    double weight_sectors;  // requested of weights
    double weight_ideal;
    double kernels;
};

/// The second of two equal decode steps of `n_rows` sequences that are `n_tokens` long.
StepCounts decode_step(const fathom::ModelConfig& config, DType dtype, int32_t n_rows,
                       int32_t n_tokens) {
    const std::string section = fathom::concat("step ", fathom::dtype_name(dtype), " ", n_rows);
    const fathom::BackendTable& table = cuda_backend();
    BackendOptions options{};
    options.driver_folder = VirtualDriver::instance().folder();
    void* device = nullptr;
    void* executor = nullptr;
    BackendError error{};
    REQUIRE(table.open(&options, &device, &error) == 0);
    StepCounts counts{};
    {
        const ShapeModel model(table, device, config, dtype);
        const int32_t pages_each = (n_tokens + 63) / 64;
        const fathom::Limits limits{n_rows, n_rows, n_rows, n_rows * pages_each, DType::kBF16};
        REQUIRE(table.prepare(device, &model.plan(), &limits, &executor, &error) == 0);
        std::vector<int32_t> pages, token, position, logit_row;
        std::vector<fathom::SequenceRows> sequences;
        for (int32_t i = 0; i < n_rows * pages_each; ++i) pages.push_back(i);
        for (int32_t row = 0; row < n_rows; ++row) {
            token.push_back(row * 37 % config.vocab_size);
            position.push_back(n_tokens - 1);
            logit_row.push_back(row);
            sequences.push_back({row, 1, pages.data() + row * pages_each, pages_each, 0});
        }
        const fathom::Batch batch{
            n_rows,       n_rows,          n_rows,           0,
            token.data(), position.data(), sequences.data(), logit_row.data()};
        for (const auto& [memory, bytes] : model.memory()) {
            VirtualDriver::instance().name(memory, "weights");
        }
        REQUIRE(table.run(executor, &batch, &error) == 0);
        VirtualDriver::instance().section(section.c_str());
        REQUIRE(table.run(executor, &batch, &error) == 0);
        VirtualDriver::instance().section("rest");
        const std::string json = VirtualDriver::instance().text("counters");
        counts.reads = 32 * counter(json, section, "total", "step_reads");
        counts.kernels = counter(json, section, "name", "kernels_run");
        counts.weight_sectors = counter(json, section, "weights", "sectors");
        counts.weight_ideal = counter(json, section, "weights", "ideal_sectors");
        table.release(executor);
    }
    table.close(device);
    return counts;
}

/// Bytes of weights that one token reads: attention, `n_routed` experts and the shared one, router.
double weights_of_layer(const fathom::ModelConfig& config, double n_routed, double bytes) {
    const double hidden = config.hidden_size, heads = config.num_attention_heads;
    const double rkv = config.kv_lora_rank;
    const double head = config.qk_nope_head_dim + config.qk_rope_head_dim;
    const double attention = hidden * (heads * head + rkv + config.qk_rope_head_dim) +
                             heads * rkv * config.v_head_dim + heads * config.v_head_dim * hidden;
    const double expert = 3.0 * hidden * config.moe_intermediate_size;
    // The transposed keys and the router are BF16 whatever the rest is.
    return bytes * (attention + expert * (n_routed + config.n_shared_experts)) +
           2.0 * (heads * rkv * config.qk_nope_head_dim + hidden * config.n_routed_experts);
}

}  // namespace

TEST_CASE("cuda: a decode step reads its weights and its context once", "[cuda][counters]") {
    for (const DType dtype : {DType::kBF16, DType::kF8E4M3}) {
        for (const int32_t n_rows : {1, 16}) {
            const CleanDriver driver("compute=80,seed=0,check=0");  // The context is all zeros.
            const fathom::ModelConfig config = v2_lite_config(1, 8);
            const int32_t n_tokens = n_rows == 1 ? 1024 : 192;
            const StepCounts counts = decode_step(config, dtype, n_rows, n_tokens);
            const double bytes = static_cast<double>(fathom::dtype_bytes(dtype));
            // Sixteen tokens of six experts each choose all eight.
            const double n_routed =
                n_rows == 1 ? config.num_experts_per_tok : config.n_routed_experts;
            const double wanted =
                weights_of_layer(config, n_routed, bytes) +
                2.0 * config.vocab_size * config.hidden_size +
                2.0 * n_rows * n_tokens * (config.kv_lora_rank + config.qk_rope_head_dim);
            CAPTURE(fathom::dtype_name(dtype), n_rows);
            WARN(fathom::dtype_name(dtype)
                 << ", batch " << n_rows << ": read " << counts.reads / wanted
                 << " of weights and context, weights' sectors "
                 << counts.weight_sectors / counts.weight_ideal << " of ideal, " << counts.kernels
                 << " kernels for a layer, embedding and head");
            CHECK(counts.reads >= 0.99 * wanted);
            CHECK(counts.reads <= (n_rows == 1 ? 1.03 : 1.05) * wanted);
            CHECK(counts.weight_sectors <= 1.02 * counts.weight_ideal);
            // Nine for the layer; embedding, first norm, gathering of rows and head.
            if (n_rows == 1) CHECK(counts.kernels <= 9 + 4);
        }
    }
}
