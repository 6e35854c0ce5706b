"""The tiny checkpoints: their config.json, the shapes of their tensors, and their storage types.

Head sizes, ranks and expert counts are small; everything that changes the arithmetic (router kind,
YaRN constants, eps, scales, config spelling) is that of the published model.
"""

import copy

_COMMON = {
    "attention_bias": False, "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
    "hidden_size": 48, "intermediate_size": 80, "moe_intermediate_size": 16, "moe_layer_freq": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 3,
    "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "kv_lora_rank": 32,
    "first_k_dense_replace": 1, "n_routed_experts": 8, "n_shared_experts": 1,
    "num_experts_per_tok": 3, "vocab_size": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000,
    "max_position_embeddings": 163840, "tie_word_embeddings": False,
}


def _yarn(**changes):
    scaling = {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096,
               "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}
    scaling.update(changes)
    return scaling


V2_LITE = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "q_lora_rank": None,
    "n_shared_experts": 2, "n_group": 1, "topk_group": 1, "scoring_func": "softmax",
    "topk_method": "greedy", "norm_topk_prob": False, "routed_scaling_factor": 1.0,
    "rope_scaling": _yarn(mscale=0.707, mscale_all_dim=0.707),
}
# 16 is DeepSeek-V2's scale; an original length of 64 brings all YaRN pairs into a short prompt.
V2_GROUPS = {
    "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "q_lora_rank": 24,
    "n_shared_experts": 2, "n_group": 4, "topk_group": 2, "scoring_func": "softmax",
    "topk_method": "group_limited_greedy", "norm_topk_prob": False, "routed_scaling_factor": 16.0,
    "max_position_embeddings": 2560,
    "rope_scaling": _yarn(original_max_position_embeddings=64),
}
V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": 24,
    "n_routed_experts": 9, "n_group": 3, "topk_group": 2, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1, "rope_scaling": _yarn(),
}
# Several 128x128 blocks and a ragged last one in both directions: 160, 144, 240, 272 are no
# multiples of 128. kv_b has 80 rows a head, so blocks cut through heads and through [k | v].
V3_FP8 = {
    **V3, "hidden_size": 160, "intermediate_size": 272, "moe_intermediate_size": 24,
    "num_attention_heads": 3, "num_key_value_heads": 3, "q_lora_rank": 144, "kv_lora_rank": 144,
    "v_head_dim": 48, "num_hidden_layers": 2, "num_nextn_predict_layers": 0,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                            "weight_block_size": [128, 128]},
}
V31 = copy.deepcopy(V3_FP8)
V31["quantization_config"]["scale_fmt"] = "ue8m0"
MOONLIGHT = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": None,
    "num_hidden_layers": 2, "n_shared_experts": 2, "n_group": 1, "topk_group": 1,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True,
    "routed_scaling_factor": 2.446, "num_nextn_predict_layers": 0, "rope_theta": 50000,
    "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "rope_scaling": None,
}
KIMI_K2 = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "kimi_k2", "q_lora_rank": 24,
    "num_hidden_layers": 2, "n_group": 1, "topk_group": 1, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 2.827,
    "num_nextn_predict_layers": 0, "rope_theta": 50000, "max_position_embeddings": 131072,
    "rope_scaling": _yarn(factor=32, beta_fast=1, beta_slow=1),
}
# The real head sizes 192/64/256, as no other model has values wider than keys. scoring_func,
# moe_layer_freq and rope_scaling are absent, as published; rope_parameters is transformers 5.
GLM47_FLASH = {
    "architectures": ["Glm4MoeLiteForCausalLM"], "model_type": "glm4_moe_lite", "q_lora_rank": 24,
    "num_hidden_layers": 2, "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256,
    "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc", "norm_topk_prob": True,
    "routed_scaling_factor": 1.8, "num_nextn_predict_layers": 0, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 202752, "partial_rotary_factor": 1.0,
    "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
}

GLM47_HALF_HEADS = {**GLM47_FLASH, "qk_nope_head_dim": 96, "qk_rope_head_dim": 32,
                    "v_head_dim": 128}

# name -> (config, storage type, number of shards). FP8 stores what is not quantised as BF16.
FIXTURES = {
    "v2-lite-f32": (V2_LITE, "F32", 1),
    "v3-f32": (V3, "F32", 1),
    "v2-groups-f32": (V2_GROUPS, "F32", 1),
    "moonlight-f32": (MOONLIGHT, "F32", 1),
    "kimi-k2-f32": (KIMI_K2, "F32", 1),
    "glm47-flash-f32": (GLM47_HALF_HEADS, "F32", 1),
    "v2-lite-f16": (V2_LITE, "F16", 1),
    "v3-f16": (V3, "F16", 1),
    "v2-lite": (V2_LITE, "BF16", 1),
    "v2-groups": (V2_GROUPS, "BF16", 2),
    "v3-bf16": ({**V3, "vocab_size": 288}, "BF16", 1),
    "v3-fp8": (V3_FP8, "F8_E4M3", 3),
    "v31-ue8m0": (V31, "F8_E4M3", 1),
    "moonlight": (MOONLIGHT, "BF16", 1),
    "kimi-k2": (KIMI_K2, "BF16", 1),
    "glm47-flash": (GLM47_FLASH, "BF16", 2),
}
N_VOCAB = 256  # ids a tokenizer could name; v3-bf16 has 32 padded rows above them


def published_config(name):
    """The dictionary that becomes config.json."""
    changes, storage, _ = FIXTURES[name]
    config = {**_COMMON, **copy.deepcopy(changes)}
    config["torch_dtype"] = {"F32": "float32", "F16": "float16"}.get(storage, "bfloat16")
    if config["model_type"] == "glm4_moe_lite":
        del config["moe_layer_freq"], config["rope_theta"]
        config["dtype"] = config.pop("torch_dtype")  # transformers 5 renamed it
    if storage == "F16":  # the spelling of transformers 4.4x
        config["rope_scaling"]["rope_type"] = config["rope_scaling"].pop("type")
    return dict(sorted(config.items()))


def tensor_shapes(config):
    """{name: shape} in the order of a published checkpoint."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    shapes = {"model.embed_tokens.weight": (vocab, hidden)}
    n_layers = config["num_hidden_layers"]
    for layer in range(n_layers + config.get("num_nextn_predict_layers", 0)):
        prefix = f"model.layers.{layer}."
        shapes.update({prefix + k: v for k, v in _attention_shapes(config).items()})
        if layer < config["first_k_dense_replace"]:
            shapes.update(_ffn_shapes(prefix + "mlp.", config["intermediate_size"], hidden))
        else:
            shapes.update(_moe_shapes(prefix + "mlp.", config))
        shapes[prefix + "input_layernorm.weight"] = (hidden,)
        shapes[prefix + "post_attention_layernorm.weight"] = (hidden,)
        if layer >= n_layers:
            shapes.update({
                prefix + "embed_tokens.weight": (vocab, hidden),
                prefix + "enorm.weight": (hidden,), prefix + "hnorm.weight": (hidden,),
                prefix + "eh_proj.weight": (hidden, 2 * hidden),
                prefix + "shared_head.norm.weight": (hidden,),
                prefix + "shared_head.head.weight": (vocab, hidden)})
    shapes["model.norm.weight"] = (hidden,)
    shapes["lm_head.weight"] = (vocab, hidden)
    return shapes


def _attention_shapes(config):
    hidden, n_heads = config["hidden_size"], config["num_attention_heads"]
    dn, dr, dv = (config[k] for k in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"))
    rq, rkv = config["q_lora_rank"], config["kv_lora_rank"]
    shapes = {}
    if rq is None:
        shapes["self_attn.q_proj.weight"] = (n_heads * (dn + dr), hidden)
    else:
        shapes["self_attn.q_a_proj.weight"] = (rq, hidden)
        shapes["self_attn.q_a_layernorm.weight"] = (rq,)
        shapes["self_attn.q_b_proj.weight"] = (n_heads * (dn + dr), rq)
    shapes["self_attn.kv_a_proj_with_mqa.weight"] = (rkv + dr, hidden)
    shapes["self_attn.kv_a_layernorm.weight"] = (rkv,)
    shapes["self_attn.kv_b_proj.weight"] = (n_heads * (dn + dv), rkv)
    shapes["self_attn.o_proj.weight"] = (hidden, n_heads * dv)
    return shapes


def _ffn_shapes(prefix, width, hidden):
    return {prefix + "gate_proj.weight": (width, hidden),
            prefix + "up_proj.weight": (width, hidden),
            prefix + "down_proj.weight": (hidden, width)}


def _moe_shapes(prefix, config):
    hidden, width = config["hidden_size"], config["moe_intermediate_size"]
    shapes = {}
    for expert in range(config["n_routed_experts"]):
        shapes.update(_ffn_shapes(f"{prefix}experts.{expert}.", width, hidden))
    shapes[prefix + "gate.weight"] = (config["n_routed_experts"], hidden)
    if config["model_type"] != "deepseek_v2":
        shapes[prefix + "gate.e_score_correction_bias"] = (config["n_routed_experts"],)
    shared = config["n_shared_experts"] * width
    shapes.update(_ffn_shapes(prefix + "shared_experts.", shared, hidden))
    return shapes
