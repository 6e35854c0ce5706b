#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "host/broken_folders.h"
#include "host/host_support.h"

using namespace library;

namespace {

constexpr uint64_t kContext = 512;

/// A V3 of some 25 million parameters, nearly all of them experts.
constexpr const char* kConfig = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
  "first_k_dense_replace": 1, "hidden_size": 512, "intermediate_size": 1024, "kv_lora_rank": 128,
  "max_position_embeddings": 4096, "moe_intermediate_size": 256, "n_group": 4,
  "n_routed_experts": 16, "n_shared_experts": 1, "num_attention_heads": 8,
  "num_experts_per_tok": 4, "num_hidden_layers": 4, "q_lora_rank": 192, "qk_nope_head_dim": 64,
  "qk_rope_head_dim": 32, "topk_group": 2, "v_head_dim": 64, "vocab_size": 2048})";

struct Tensor {
    std::string name;
    int64_t rows;
    int64_t columns;    // 0: a vector
    bool is_linear;     // FP8 where the checkpoint has it
};

void add_network(std::vector<Tensor>& tensors, const std::string& name, int64_t width) {
    tensors.push_back({name + ".gate_proj.weight", width, 512, true});
    tensors.push_back({name + ".up_proj.weight", width, 512, true});
    tensors.push_back({name + ".down_proj.weight", 512, width, true});
}

std::vector<Tensor> tensors_of_config() {
    std::vector<Tensor> all = {{"model.embed_tokens.weight", 2048, 512, false},
                               {"lm_head.weight", 2048, 512, false},
                               {"model.norm.weight", 512, 0, false}};
    for (int layer = 0; layer < 4; ++layer) {
        const std::string at = "model.layers." + std::to_string(layer) + ".";
        all.push_back({at + "input_layernorm.weight", 512, 0, false});
        all.push_back({at + "post_attention_layernorm.weight", 512, 0, false});
        all.push_back({at + "self_attn.q_a_proj.weight", 192, 512, true});
        all.push_back({at + "self_attn.q_a_layernorm.weight", 192, 0, false});
        all.push_back({at + "self_attn.q_b_proj.weight", 8 * 96, 192, true});
        all.push_back({at + "self_attn.kv_a_proj_with_mqa.weight", 160, 512, true});
        all.push_back({at + "self_attn.kv_a_layernorm.weight", 128, 0, false});
        all.push_back({at + "self_attn.kv_b_proj.weight", 8 * 128, 128, true});
        all.push_back({at + "self_attn.o_proj.weight", 512, 8 * 64, true});
        if (layer == 0) {
            add_network(all, at + "mlp", 1024);
            continue;
        }
        all.push_back({at + "mlp.gate.weight", 16, 512, false});
        all.push_back({at + "mlp.gate.e_score_correction_bias", 16, 0, false});
        add_network(all, at + "mlp.shared_experts", 256);
        for (int expert = 0; expert < 16; ++expert) {
            add_network(all, at + "mlp.experts." + std::to_string(expert), 256);
        }
    }
    return all;
}

/// Writes the checkpoint; the scales come first, and all other numbers are zeros that lie in a
/// hole of the file.
void write_checkpoint(const host::Folder& folder, const std::string& type) {
    std::string header = "{";
    std::string scales;
    uint64_t end = 0;
    const auto add = [&](const std::string& name, const std::string& dtype,
                         const std::string& shape, uint64_t bytes) {
        if (end != 0) header += ",";
        header.append("\"").append(name).append(R"(":{"dtype":")").append(dtype);
        header.append(R"(","shape":[)").append(shape).append(R"(],"data_offsets":[)");
        header.append(std::to_string(end)).append(",");
        end += bytes;
        header.append(std::to_string(end)).append("]}");
    };
    const std::vector<Tensor> tensors = tensors_of_config();
    for (const Tensor& tensor : tensors) {
        if (type != "F8_E4M3" || !tensor.is_linear) continue;
        const int64_t blocks[] = {(tensor.rows + 127) / 128, (tensor.columns + 127) / 128};
        for (int64_t i = 0; i < blocks[0] * blocks[1]; ++i) {
            scales.append("\0\0\x80\x3f", 4);  // 1.0
        }
        add(tensor.name + "_scale_inv", "F32",
            std::to_string(blocks[0]) + "," + std::to_string(blocks[1]),
            static_cast<uint64_t>(4 * blocks[0] * blocks[1]));
    }
    for (const Tensor& tensor : tensors) {
        const bool quantised = type == "F8_E4M3" && tensor.is_linear;
        const std::string other = type == "F8_E4M3" ? "BF16" : type;
        const uint64_t width = quantised ? 1 : other == "F32" ? 4 : 2;
        std::string shape = std::to_string(tensor.rows);
        if (tensor.columns != 0) shape.append(",").append(std::to_string(tensor.columns));
        const int64_t n = tensor.rows * (tensor.columns == 0 ? 1 : tensor.columns);
        add(tensor.name, quantised ? type : other, shape, width * static_cast<uint64_t>(n));
    }
    header += "}";
    std::string beginning(8, '\0');
    for (size_t i = 0; i < 8; ++i) beginning[i] = static_cast<char>(header.size() >> (8 * i));
    const uint64_t file_bytes = 8 + header.size() + end;
    folder.write_sparse("model.safetensors", beginning + header + scales, file_bytes);
    folder.write("config.json", kConfig);
}

/// Fills the KV cache, and every buffer of a step on the way: all rows, all logits, every thread.
void use_all_memory(fathom_model* model) {
    const Session session = new_session(model);
    const Prompt prompt = raw_prompt(host::fixture_prompt(kContext - 8));
    fathom_generate_options options = at_most(8);
    options.flags |= FATHOM_GENERATE_PROMPT_LOGPROBS;
    options.logprobs = 1;
    const Stream stream = generate(session.get(), prompt.get(), options);
    REQUIRE(drain(stream.get()).ids.size() == 8);
}

void check_memory(const std::string& type, int32_t n_threads) {
    const host::ScratchFolder scratch;
    write_checkpoint(host::Folder(scratch.path()), type);
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = n_threads;
    options.max_batch_rows = 256;
    options.max_sequences = 4;
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.context = kContext;
    const std::string folder = scratch.path();
    const fathom_source source = source_of(folder);
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    REQUIRE(fathom_model_estimate(&options, &source, &model_options, &plan, nullptr) == FATHOM_OK);
    {
        // What the first model of a process brings with it is not the second one's: code, threads'
        // stacks, the allocator's own.
        const Engine engine = new_engine(options);
        use_all_memory(load(engine.get(), fixture("v3-f32"), model_options).get());
    }
    const Engine engine = new_engine(options);
    const uint64_t before = host::status_kib("VmRSS") << 10;
    const Model model = load(engine.get(), folder, model_options);
    use_all_memory(model.get());
    const double taken = static_cast<double>((host::status_kib("VmRSS") << 10) - before);
    const auto promised = static_cast<double>(plan.total_bytes);
    CAPTURE(type, n_threads, taken, promised, plan.weight_bytes, plan.workspace_bytes,
            plan.kv_cache_bytes);
    CHECK(taken < 1.02 * promised);
    CHECK(taken > 0.98 * promised);
}

void run_child(const std::string& test_case) {
    if (host::kSanitized) SKIP("a sanitizer's shadow memory is resident, too");
    std::string output;
    const int code = host::in_fresh_process(test_case, &output);
    INFO(output);
    REQUIRE(code == 0);
}

}  // namespace

// Breaks when a host that plans its memory by the estimate finds the system take another amount.
TEST_CASE("host estimate within 2 percent of what the system counts: F32", "[host]") {
    run_child("child: memory of F32");
}
TEST_CASE("host estimate within 2 percent of what the system counts: BF16", "[host]") {
    run_child("child: memory of BF16");
}
TEST_CASE("host estimate within 2 percent of what the system counts: FP8", "[host]") {
    run_child("child: memory of FP8");
}

TEST_CASE("child: memory of F32", "[.child]") { check_memory("F32", 2); }
TEST_CASE("child: memory of BF16", "[.child]") { check_memory("BF16", 1); }
TEST_CASE("child: memory of FP8", "[.child]") { check_memory("F8_E4M3", 2); }
