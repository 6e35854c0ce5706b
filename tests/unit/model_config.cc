// If this fails, a published model is loaded with wrong hyper-parameters and answers nonsense, or a
// wrong config.json is accepted and its numbers reach arithmetic.
#include "model/config.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "model/deepseek.h"
#include "unit/model_support.h"

using namespace fathom;
using namespace fathom::test;
using Catch::Matchers::ContainsSubstring;

TEST_CASE("config of published models") {
    const ModelConfig lite = parse_config(kV2Lite);
    CHECK(lite.architecture == Architecture::kDeepseekV2);
    CHECK(lite.q_lora_rank == 0);
    CHECK(lite.topk_method == TopkMethod::kGreedy);
    CHECK_FALSE(lite.has_router_bias());
    CHECK(lite.yarn->mscale_all_dim == 0.707);
    CHECK_FALSE(lite.has_experts(0));
    CHECK(lite.has_experts(1));

    const ModelConfig v2 = parse_config(kV2);
    CHECK(v2.q_lora_rank == 1536);
    CHECK(v2.topk_method == TopkMethod::kGroupLimitedGreedy);
    CHECK(v2.n_group == 8);
    CHECK(v2.topk_group == 3);
    CHECK(v2.routed_scaling_factor == 16.0);

    const ModelConfig v3 = parse_config(kV3);
    CHECK(v3.has_router_bias());
    CHECK(v3.norm_topk_prob);
    CHECK(v3.first_k_dense_replace == 3);

    const ModelConfig moonlight = parse_config(kMoonlight);
    CHECK_FALSE(moonlight.yarn.has_value());
    CHECK(moonlight.rope_theta == 50000);
    CHECK(moonlight.rms_norm_eps == 1e-5);

    const ModelConfig kimi = parse_config(kKimiK2);
    CHECK(kimi.model_type == "kimi_k2");
    CHECK(kimi.yarn->beta_fast == 1);

    const ModelConfig glm = parse_config(kGlm47Flash);
    CHECK(glm.topk_method == TopkMethod::kNoauxTc);
    CHECK(glm.rope_theta == 1e6);
    CHECK_FALSE(glm.yarn.has_value());
    CHECK(glm.v_head_dim == 256);
}

TEST_CASE("config keys that are absent have the defaults of the published classes") {
    CHECK(parse_config(with(kV3, "scoring_func", "")).topk_method == TopkMethod::kNoauxTc);
    CHECK(parse_config(with(kV3, "topk_method", "")).topk_method == TopkMethod::kNoauxTc);
    CHECK(parse_config(with(kV2Lite, "topk_method", "")).topk_method == TopkMethod::kGreedy);
    CHECK(parse_config(with(kV3, "norm_topk_prob", "")).norm_topk_prob);
    CHECK_FALSE(parse_config(with(kV2, "norm_topk_prob", "")).norm_topk_prob);
    CHECK(parse_config(with(kV3, "q_lora_rank", "")).q_lora_rank == 1536);
    CHECK(parse_config(with(kGlm47Flash, "q_lora_rank", "")).q_lora_rank == 768);
    CHECK(parse_config(with(kV3, "n_group", "")).n_group == 8);
    CHECK(parse_config(with(kV3, "routed_scaling_factor", "")).routed_scaling_factor == 2.5);
    CHECK(parse_config(with(kV3, "first_k_dense_replace", "")).first_k_dense_replace == 3);
    CHECK(parse_config(with(kGlm47Flash, "rms_norm_eps", "")).rms_norm_eps == 1e-5);
    CHECK(parse_config(with(kMoonlight, "rope_theta", "")).rope_theta == 10000);
    CHECK(parse_config(with(kV3, "num_key_value_heads", "")).num_attention_heads == 128);
    // Greedy chooses among all experts, whatever the groups say.
    CHECK(parse_config(with(kV2Lite, "n_group", "8")).n_group == 1);
    // A model of dense layers alone has no experts.
    const ModelConfig dense = parse_config(with(kV2Lite, "n_routed_experts", "null"));
    CHECK(dense.n_routed_experts == 0);
    CHECK_FALSE(dense.has_experts(26));
    const ModelConfig all_dense = parse_config(with(kV2Lite, "first_k_dense_replace", "27"));
    CHECK(all_dense.n_routed_experts == 0);
}

TEST_CASE("config rope in its three spellings") {
    const char* const kInner = R"("factor": 40, "original_max_position_embeddings": 4096})";
    const std::string rope_type = concat(R"({"rope_type": "yarn", )", kInner);
    CHECK(parse_config(with(kV3, "rope_scaling", rope_type)).yarn->factor == 40);
    const std::string parameters =
        concat(R"({"rope_theta": 12345, "rope_type": "yarn", )", kInner);
    // transformers 5 writes rope_parameters and no rope_scaling; where both are, it reads these.
    const ModelConfig v5 = parse_config(with(kV3, "rope_parameters", parameters));
    CHECK(v5.rope_theta == 12345);
    CHECK(v5.yarn->mscale_all_dim == 0);
    CHECK(v5.yarn->beta_fast == 32);
    CHECK_FALSE(
        parse_config(with(kV3, "rope_scaling", R"({"type": "default"})")).yarn.has_value());
    CHECK_THAT(config_error(with(kV3, "rope_scaling", R"({"type": "linear", "factor": 2})")),
               ContainsSubstring("rope_scaling.type: found linear; this library supports default "
                                 "and yarn"));
    CHECK_THAT(config_error(with(kV3, "rope_scaling", R"({"type": "yarn", "factor": 40})")),
               ContainsSubstring("rope_scaling.original_max_position_embeddings: missing"));
    CHECK_THAT(config_error(with(kV3, "rope_parameters", R"({"full_attention": {}})")),
               ContainsSubstring("rope_parameters.full_attention: found an object"));
    CHECK_THAT(config_error(with(kV3, "rope_interleave", "false")),
               ContainsSubstring("rope_interleave"));
    CHECK_THAT(config_error(with(kGlm47Flash, "partial_rotary_factor", "0.5")),
               ContainsSubstring("partial_rotary_factor: found 0.5"));
}

TEST_CASE("config lists its dense layers as transformers 5 does") {
    const char* const kFour = R"(["dense", "dense", "sparse", "sparse"])";
    std::string four = with(with(kGlm47Flash, "num_hidden_layers", "4"), "mlp_layer_types", kFour);
    CHECK_THAT(config_error(four), ContainsSubstring("first_k_dense_replace: found number 1"));
    four = with(four, "first_k_dense_replace", "");
    CHECK(parse_config(four).first_k_dense_replace == 2);
    CHECK_THAT(config_error(with(four, "mlp_layer_types", R"(["dense", "sparse"])")),
               ContainsSubstring("wanted num_hidden_layers (4) entries"));
    CHECK_THAT(config_error(with(four, "mlp_layer_types", R"(["sparse", "dense", "x", "sparse"])")),
               ContainsSubstring("dense layers first"));
}

TEST_CASE("config of models that are not supported says why") {
    const std::string unknown = config_error(with(kV3, "model_type", "\"gemma3\""));
    CHECK_THAT(unknown, ContainsSubstring("config.json: model_type: found gemma3"));
    CHECK_THAT(unknown,
               ContainsSubstring("deepseek_v2, deepseek_v3, kimi_k2 and glm4_moe_lite"));
    for (const char* type : {"qwen2", "llama", "deepseek", "deepseek_v32", "deepseek_v4",
                             "deepseek_v41", "glm_moe_dsa"}) {
        const std::string text = with(kV3, "model_type", concat('"', type, '"'));
        try {
            parse_config(text);
            FAIL("accepted " << type);
        } catch (const Error& error) {
            CHECK(error.status() == Status::kUnsupported);
            CHECK_THAT(error.message(), ContainsSubstring("glm4_moe_lite: "));
        }
    }
    CHECK_THAT(config_error(with(kV3, "model_type", "")), ContainsSubstring("model_type: missing"));
    CHECK_THAT(config_error(with(kV3, "architectures", R"(["DeepseekV3ForTokenClassification"])")),
               ContainsSubstring("found DeepseekV3ForTokenClassification"));
    CHECK_THAT(config_error(with(kV3, "hidden_act", "\"gelu\"")), ContainsSubstring("gelu"));
    CHECK_THAT(config_error(with(kV3, "attention_bias", "true")),
               ContainsSubstring("attention_bias"));
    CHECK_THAT(config_error(with(kV3, "moe_layer_freq", "2")), ContainsSubstring("found 2"));
    CHECK_THAT(config_error(with(kV3, "scoring_func", "\"softmax\"")),
               ContainsSubstring("softmax with topk_method noaux_tc"));
    CHECK_THAT(config_error(with(kV3, "index_topk", "2048")), ContainsSubstring("indexer"));
}

TEST_CASE("config quantisation") {
    const auto fp8 = [](std::string_view inner) {
        return config_error(with(kV3, "quantization_config", inner));
    };
    const char* const kV31 =
        R"({"quant_method": "fp8", "weight_block_size": [128, 128], "scale_fmt": "ue8m0"})";
    CHECK(fp8(kV31) == "accepted");
    CHECK_THAT(fp8(R"({"quant_method": "fp8", "weight_block_size": [32, 32]})"),
               ContainsSubstring("wanted [128, 128]"));
    CHECK_THAT(fp8(R"({"quant_method": "fp8", "weight_block_size": [128, 128, 1]})"),
               ContainsSubstring("wanted [128, 128]"));
    CHECK_THAT(fp8(R"({"quant_method": "fp8"})"), ContainsSubstring("weight_block_size: missing"));
    CHECK_THAT(fp8(R"({"quant_method": "awq"})"), ContainsSubstring("quant_method: found awq"));
    CHECK_THAT(fp8(R"({"quant_method": "fp8", "fmt": "e5m2"})"), ContainsSubstring("e5m2"));
    CHECK(config_error(with(kV3, "quantization_config", "null")) == "accepted");
}

TEST_CASE("config becomes the shape that operators see") {
    const ModelConfig lite = parse_config(kV2Lite);
    const Rope rope = make_rope(lite);
    const ModelShape shape = deepseek_shape(lite, rope);
    CHECK(shape.scoring == Scoring::kSoftmax);
    CHECK(shape.group_score_top2 == 0);
    CHECK(shape.scale_when_normalised == 0);
    CHECK(shape.shared_intermediate == 2816);
    CHECK(shape.rope_inverse_frequency == rope.inverse_frequency.data());

    // V2 normalises only where there is more than one weight; V3's class does it always.
    const std::string normed = with(kV2Lite, "norm_topk_prob", "true");
    CHECK(deepseek_shape(parse_config(normed), rope).norm_topk_prob == 1);
    CHECK(deepseek_shape(parse_config(with(normed, "num_experts_per_tok", "1")), rope)
              .norm_topk_prob == 0);
    const ModelShape v3 = deepseek_shape(parse_config(kV3), rope);
    CHECK(v3.scoring == Scoring::kSigmoid);
    CHECK(v3.group_score_top2 == 1);
    CHECK(v3.scale_when_normalised == 1);
    CHECK(v3.n_group == 8);
    CHECK(v3.topk_group == 4);
}
