// If this fails, a config.json or a checkpoint that contradicts itself reaches arithmetic, or the
// message does not say what is wrong. After every refusal a good checkpoint still loads.
#include <cmath>
#include <new>
#include <string>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "hostile/heap_meter.h"
#include "model/estimate.h"
#include "model/model.h"
#include "unit/model_checkpoint.h"

using namespace fathom;
using namespace fathom::test;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::EndsWith;

namespace {

std::unique_ptr<Model> load(const TemporaryFolder& folder, CountedMemory& memory) {
    static const BackendTable table = memory_table(true);
    const Checkpoint checkpoint(folder.path());
    return Model::load(table, &memory, checkpoint, read_model_config(checkpoint.config()), {});
}

void check_good_one_loads() {
    TemporaryFolder folder;
    CountedMemory memory;
    TestCheckpoint(kTinyV3, "F8_E4M3").write(folder);
    CHECK(load(folder, memory) != nullptr);
    CHECK(memory.live_bytes == 0);
}

/// The message with which a checkpoint is refused, before any memory is taken for it where the
/// headers tell; nothing is left behind, and a good one loads afterwards.
std::string refusal(const TestCheckpoint& bad, Status status = Status::kFormat,
                    uint64_t n_allocations = 0) {
    TemporaryFolder folder;
    CountedMemory memory;
    bad.write(folder);
    const std::string message = error_message([&] { load(folder, memory); }, status);
    CHECK(memory.n_allocations == n_allocations);
    CHECK(memory.live_bytes == 0);
    check_good_one_loads();
    return message;
}

struct BadConfig {
    const char* key;
    const char* value;
    const char* wanted;  // the end of the message
};

}  // namespace

TEST_CASE("hostile config: numbers outside their ranges") {
    for (const BadConfig& bad : {
             BadConfig{"num_hidden_layers", "0", "number 0, wanted an integer from 1 to 1024"},
             {"num_hidden_layers", "1025", "wanted an integer from 1 to 1024"},
             {"num_hidden_layers", "2147483648", "wanted an integer from 1 to 1024"},
             {"num_hidden_layers", "-1", "wanted an integer from 1 to 1024"},
             {"hidden_size", "0", "wanted an integer from 1 to 1048576"},
             {"hidden_size", "1048577", "wanted an integer from 1 to 1048576"},
             {"hidden_size", "\"24\"", "wanted an integer from 1 to 1048576"},
             {"vocab_size", "-32", "wanted an integer from 1 to 1048576"},
             {"intermediate_size", "0", "wanted an integer from 1 to 1048576"},
             {"num_attention_heads", "0", "wanted an integer from 1 to 4096"},
             {"num_attention_heads", "4097", "wanted an integer from 1 to 4096"},
             {"kv_lora_rank", "0", "wanted an integer from 1 to 32768"},
             {"q_lora_rank", "0", "wanted an integer from 1 to 32768"},
             {"qk_nope_head_dim", "8193", "wanted an integer from 1 to 8192"},
             {"qk_rope_head_dim", "0", "wanted an integer from 2 to 8192"},
             {"v_head_dim", "-6", "wanted an integer from 1 to 8192"},
             {"max_position_embeddings", "0", "wanted an integer from 1 to 1073741824"},
             {"n_routed_experts", "0", "wanted an integer from 1 to 8192"},
             {"num_experts_per_tok", "0", "wanted an integer from 1 to 8192"},
             {"n_shared_experts", "-1", "wanted an integer from 0 to 1024"},
             {"rms_norm_eps", "0", "wanted a number from 1e-30 to 0.1"},
             {"rms_norm_eps", "-1e-6", "wanted a number from 1e-30 to 0.1"},
             {"rope_theta", "1", "wanted a number from 1.001 to 1e+12"},
             {"rope_theta", "1e13", "wanted a number from 1.001 to 1e+12"},
             {"routed_scaling_factor", "0", "wanted a number from 1e-06 to 1e+06"},
             {"tie_word_embeddings", "1", "wanted true or false"},
         }) {
        const std::string message = config_error(with(kTinyV3, bad.key, bad.value));
        CHECK_THAT(message, ContainsSubstring(concat("config.json: ", bad.key, ": found ")));
        CHECK_THAT(message, EndsWith(bad.wanted));
    }
    // The other side of the limits that a small checkpoint can reach.
    CHECK(config_error(with(kTinyV3, "n_shared_experts", "0")) == "accepted");
    CHECK(config_error(with(kTinyV3, "num_hidden_layers", "1024")) == "accepted");
    CHECK(config_error(with(kTinyV3, "qk_rope_head_dim", "2")) == "accepted");
    CHECK(config_error(with(kTinyV3, "hidden_size", "1048576")) == "accepted");
}

TEST_CASE("hostile config: values that contradict each other") {
    for (const BadConfig& bad : {
             BadConfig{"num_experts_per_tok", "5", "wanted at most n_routed_experts (4)"},
             {"num_experts_per_tok", "3",
              "wanted at most the 2 experts in topk_group (1) of n_group (2) groups"},
             {"n_group", "3", "wanted a divisor of n_routed_experts (4)"},
             {"n_group", "4",
              "wanted at most the 1 experts in topk_group (1) of n_group (4) groups"},
             {"topk_group", "3", "wanted at most n_group (2)"},
             {"first_k_dense_replace", "3", "wanted at most num_hidden_layers (2)"},
             {"qk_rope_head_dim", "5", "wanted an even number: RoPE rotates pairs"},
             {"num_key_value_heads", "1", "wanted num_attention_heads (2)"},
         }) {
        CHECK_THAT(config_error(with(kTinyV3, bad.key, bad.value)), EndsWith(bad.wanted));
    }
    CHECK_THAT(config_error(with(with(kTinyV3, "n_group", "4"), "num_experts_per_tok", "1")),
               EndsWith("at least 2 experts: a group's score is the sum of its two best"));
    // A default can contradict what is written, too.
    CHECK_THAT(config_error(with(kTinyV3, "n_group", "")),
               EndsWith("absent, which means 8, wanted a divisor of n_routed_experts (4)"));
    // 1,021 layers of 8,192 experts would be eight million tensors.
    const std::string many = with(with(kTinyV3, "num_hidden_layers", "1024"), "n_routed_experts",
                                  "8192");
    CHECK_THAT(config_error(many), ContainsSubstring("wanted at most 131072 experts"));
}

TEST_CASE("hostile config: YaRN") {
    const auto yarn = [](std::string_view more) {
        const std::string text =
            concat(R"({"type": "yarn", "original_max_position_embeddings": 64)", more, "}");
        return config_error(with(kTinyV3, "rope_scaling", text));
    };
    CHECK_THAT(yarn(""), EndsWith("factor: missing, wanted a number from 1 to 1e+06"));
    CHECK_THAT(yarn(R"(, "factor": 0.5)"), EndsWith("wanted a number from 1 to 1e+06"));
    CHECK_THAT(yarn(R"(, "factor": 4, "beta_fast": 0)"), ContainsSubstring("beta_fast"));
    CHECK_THAT(yarn(R"(, "factor": 4, "beta_fast": 1, "beta_slow": 2)"),
               EndsWith("wanted beta_fast not below beta_slow"));
    CHECK_THAT(yarn(R"(, "factor": 4, "mscale": -1)"), ContainsSubstring("mscale"));
    CHECK_THAT(yarn(R"(, "factor": 4, "truncate": false)"), ContainsSubstring("truncate"));
    CHECK(yarn(R"(, "factor": 1)") == "accepted");
    CHECK_THAT(config_error(with(kTinyV3, "rope_scaling", "[]")),
               EndsWith("wanted an object or null"));
}

TEST_CASE("hostile config: another thing than an object") {
    for (const char* text : {"[]", "3", "\"deepseek_v3\"", "null", "{}"}) {
        CHECK(config_error(text) != "accepted");
    }
}

TEST_CASE("hostile checkpoint: a tensor is missing") {
    for (const char* name :
         {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
          "model.layers.1.self_attn.kv_b_proj.weight",
          "model.layers.1.mlp.gate.e_score_correction_bias",
          "model.layers.1.mlp.experts.3.down_proj.weight"}) {
        TestCheckpoint bad(kTinyV3, "BF16");
        bad.remove(name);
        CHECK_THAT(refusal(bad), ContainsSubstring(concat("tensor '", name, "' is missing")));
    }
    // Fewer layers in the file than in the config.
    TestCheckpoint bad(kTinyV3, "BF16");
    bad.set_config(with(kTinyV3, "num_hidden_layers", "3"));
    CHECK_THAT(refusal(bad), ContainsSubstring("'model.layers.2."));
}

TEST_CASE("hostile checkpoint: shapes that the config does not need") {
    TestCheckpoint bad(kTinyV3, "BF16");
    bad.reshape("model.layers.1.mlp.gate.weight", {8, 24});
    CHECK_THAT(refusal(bad),
               EndsWith("/model.safetensors: tensor 'model.layers.1.mlp.gate.weight': shape "
                        "[8, 24], config needs [4, 24]"));
    for (const std::vector<int64_t>& shape : std::vector<std::vector<int64_t>>{
             {24, 32}, {32, 24, 1}, {768}, {}, {0, 24}, {31, 24}}) {
        TestCheckpoint wrong(kTinyV3, "BF16");
        wrong.reshape("model.embed_tokens.weight", shape);
        CHECK_THAT(refusal(wrong), EndsWith("config needs [32, 24]"));
    }
    TestCheckpoint vector(kTinyV3, "BF16");
    vector.reshape("model.norm.weight", {1, 24});
    CHECK_THAT(refusal(vector), EndsWith("shape [1, 24], config needs [24]"));
}

TEST_CASE("hostile checkpoint: types that lie") {
    TestCheckpoint integer(kTinyV3, "BF16");
    integer.retype("lm_head.weight", "I32");
    CHECK_THAT(refusal(integer, Status::kUnsupported),
               EndsWith("type I32, this library reads F32, F16 and BF16 here"));
    TestCheckpoint quantised(kTinyV3, "BF16");
    quantised.retype("model.layers.1.mlp.gate.weight", "F8_E4M3");
    CHECK_THAT(refusal(quantised, Status::kUnsupported), ContainsSubstring("type F8_E4M3"));
    TestCheckpoint bytes(kTinyV3, "BF16");
    bytes.retype("model.layers.1.self_attn.o_proj.weight", "I8");
    CHECK_THAT(refusal(bytes, Status::kUnsupported),
               EndsWith("type I8, this library reads F32, F16, BF16 and F8_E4M3 here"));
    TestCheckpoint mixed(kTinyV3, "BF16");
    mixed.retype("model.layers.1.mlp.experts.2.up_proj.weight", "F16");
    CHECK_THAT(refusal(mixed, Status::kUnsupported),
               EndsWith("type F16, but 'model.layers.1.mlp.experts.0.gate_proj.weight' of the same "
                        "network is BF16"));
}

TEST_CASE("hostile checkpoint: scales of FP8 weights") {
    const std::string weight = "model.layers.1.self_attn.o_proj.weight";
    const std::string scale = weight + "_scale_inv";
    TestCheckpoint missing(kTinyV3, "F8_E4M3");
    missing.remove(scale);
    CHECK_THAT(refusal(missing), EndsWith(concat("its scales '", scale, "' are missing")));
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{1}, {2, 1}, {1, 2}, {24, 12}}) {
        TestCheckpoint bad(kTinyV3, "F8_E4M3");
        bad.reshape(scale, shape);
        CHECK_THAT(refusal(bad), EndsWith("config needs [1, 1]"));
    }
    TestCheckpoint half(kTinyV3, "F8_E4M3");
    half.retype(scale, "BF16");
    CHECK_THAT(refusal(half, Status::kUnsupported), EndsWith("type BF16, scales are F32"));
    for (const float value : {0.0F, -1.0F, NAN, INFINITY}) {
        for (const std::string& name :
             {scale, std::string("model.layers.0.self_attn.kv_b_proj.weight_scale_inv")}) {
            TestCheckpoint bad(kTinyV3, "F8_E4M3");
            std::memcpy(bad.at(name).data.data(), &value, sizeof value);
            const std::string message = refusal(bad, Status::kFormat, 1);
            CHECK_THAT(message, ContainsSubstring(concat("tensor '", name, "': scale 0 is ")));
            CHECK_THAT(message, EndsWith("wanted a finite number above 0"));
        }
    }
}

TEST_CASE("hostile checkpoint: a norm weight that is not finite") {
    TestCheckpoint bad(kTinyV3, "F32");
    const float infinite = INFINITY;
    std::memcpy(bad.at("model.norm.weight").data.data() + 20, &infinite, 4);
    CHECK_THAT(refusal(bad, Status::kFormat, 1),
               EndsWith("tensor 'model.norm.weight': value 5 is not finite"));
}

TEST_CASE("hostile checkpoint: the file shrinks while it is read") {
    TemporaryFolder folder;
    CountedMemory memory;
    TestCheckpoint(kTinyV3, "BF16").write(folder);
    const Checkpoint checkpoint(folder.path());
    const BackendTable table = memory_table(true);
    folder.resize("model.safetensors", 12000);
    error_message(
        [&] {
            Model::load(table, &memory, checkpoint, read_model_config(checkpoint.config()), {});
        },
        Status::kIo);
    CHECK(memory.live_bytes == 0);
    check_good_one_loads();
}

TEST_CASE("hostile host: every allocation of a load fails once") {
    TemporaryFolder folder;
    TestCheckpoint(kTinyV3, "F8_E4M3").write(folder);
    const Checkpoint checkpoint(folder.path());
    const ModelConfig config = read_model_config(checkpoint.config());
    const BackendTable table = memory_table(true);
    CountedMemory memory;
    bool loaded = false;
    for (uint64_t n = 1; !loaded; ++n) {
        REQUIRE(n < 10000);
        bool failed = false;
        {
            const FailAllocation fail_one(n);
            try {
                Model::load(table, &memory, checkpoint, config, {});
                loaded = true;
            } catch (const std::bad_alloc&) {
                failed = true;
            }
        }
        REQUIRE(failed != loaded);
        REQUIRE(memory.live_bytes == 0);
    }
}

TEST_CASE("unknown tensors in a loaded layer are noted, elsewhere ignored") {
    TemporaryFolder folder;
    CountedMemory memory;
    TestCheckpoint extra(kTinyV3, "BF16");
    extra.add("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {2});
    extra.add("model.layers.2.eh_proj.weight", "BF16", {24, 48});  // multi-token prediction
    extra.add("model.mask_token", "BF16", {24});
    extra.add("model.layers.99999999999999999999.x", "BF16", {1});
    extra.write(folder);
    CHECK(load(folder, memory)->notes().empty());
    extra.add("model.layers.1.self_attn.indexer.wk.weight", "BF16", {4, 24});
    extra.write(folder);
    const std::unique_ptr<Model> model = load(folder, memory);
    REQUIRE(model->notes().size() == 1);
    CHECK_THAT(model->notes()[0], ContainsSubstring("'model.layers.1.self_attn.indexer.wk.weight': "
                                                    "not used by deepseek_v3"));
    for (int i = 0; i < 20; ++i) {
        extra.add(concat("model.layers.0.extra", i), "BF16", {1});
    }
    extra.write(folder);
    CHECK(load(folder, memory)->notes().size() == 9);
}

TEST_CASE("hostile checkpoint: a control character in a name does not reach a terminal") {
    TestCheckpoint bad(kTinyV3, "BF16");
    bad.add("model.layers.0.\x1b[2Jwiped", "BF16", {1});
    TemporaryFolder folder;
    CountedMemory memory;
    bad.write(folder);
    const std::unique_ptr<Model> model = load(folder, memory);
    REQUIRE(model->notes().size() == 1);
    CHECK(model->notes()[0].find('\x1b') == std::string::npos);
}
