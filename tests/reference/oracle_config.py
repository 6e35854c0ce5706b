"""config.json of the DeepSeek family -> one plain dictionary with every key the oracle uses."""

import json
import os

MODEL_TYPES = ("deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe_lite")

REQUIRED = (
    "vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size",
    "num_hidden_layers", "num_attention_heads", "kv_lora_rank", "qk_rope_head_dim",
    "qk_nope_head_dim", "v_head_dim", "n_routed_experts", "n_shared_experts",
    "num_experts_per_tok", "first_k_dense_replace", "rms_norm_eps",
)


def load_config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return normalise_config(json.load(file))


def normalise_config(raw):
    model_type = raw["model_type"]
    if model_type not in MODEL_TYPES:
        raise ValueError(f"model_type {model_type!r}, wanted one of {MODEL_TYPES}")
    config = {key: raw[key] for key in REQUIRED}
    is_v2 = model_type == "deepseek_v2"
    config["model_type"] = model_type
    config["q_lora_rank"] = raw.get("q_lora_rank")
    config["n_group"] = raw.get("n_group") or 1
    config["topk_group"] = raw.get("topk_group") or 1
    # GLM-4.7-Flash leaves scoring_func out and means sigmoid; only the V2 family is softmax.
    config["scoring_func"] = raw.get("scoring_func", "softmax" if is_v2 else "sigmoid")
    config["topk_method"] = raw.get("topk_method", "greedy" if is_v2 else "noaux_tc")
    config["norm_topk_prob"] = raw.get("norm_topk_prob", not is_v2)
    config["routed_scaling_factor"] = raw.get("routed_scaling_factor", 1.0)
    config["num_nextn_predict_layers"] = raw.get("num_nextn_predict_layers", 0)
    config["tie_word_embeddings"] = raw.get("tie_word_embeddings", False)
    wanted = {"softmax": ("greedy", "group_limited_greedy"), "sigmoid": ("noaux_tc",)}
    if config["topk_method"] not in wanted.get(config["scoring_func"], ()):
        raise ValueError(f"router {config['scoring_func']} with {config['topk_method']}")
    if raw.get("moe_layer_freq", 1) != 1:
        raise ValueError("moe_layer_freq other than 1")
    config["rope_theta"], config["yarn"] = _rope(raw)
    quantisation = raw.get("quantization_config") or {}
    config["block_size"] = tuple(quantisation.get("weight_block_size", (128, 128)))
    return config


def _rope(raw):
    """-> (theta, YaRN dictionary or None).

    Three spellings exist: rope_scaling with "type" (DeepSeek), rope_scaling with "rope_type"
    (transformers 4.4x), and rope_parameters with rope_theta inside (transformers 5).
    """
    parameters = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = float(parameters.get("rope_theta", raw.get("rope_theta", 10000.0)))
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "yarn":
        raise ValueError(f"rope type {kind!r}, wanted 'default' or 'yarn'")
    return theta, parameters
