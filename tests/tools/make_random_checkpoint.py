#!/usr/bin/env python3
"""Writes a random BF16 checkpoint with DeepSeek-V2-Lite's shape and fewer layers, for benchmarks.

    python3 tests/tools/make_random_checkpoint.py OUT [--gigabytes 1.6 | --layers N] [--experts 64]
                                                  [--vocab 32768] [--tokenizer FOLDER] [--seed 0]

OUT becomes a folder as published: config.json, shards of at most 1 GB with their index and, with
--tokenizer, copies of that folder's tokenizer files. Layer 0 is dense, the others have experts.
Embedding and head of the real model (102,400 rows) are 0.84 GB by themselves, hence fewer rows by
default; a tokenizer needs at least as many as it has tokens. Weights are normal with a standard
deviation of cols^-0.5, so activations keep their size. Needs NumPy.
"""

import argparse
import json
import math
import os
import shutil
import struct

import numpy as np

HIDDEN, HEADS, NOPE, ROPE, VALUE, LATENT = 2048, 16, 128, 64, 128, 512
DENSE, EXPERT, SHARED_EXPERTS, TOP_K = 10944, 1408, 2, 6
SHARD_BYTES = 10**9
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")
POOL = 1 << 22  # normal values drawn once and reused at other offsets: drawing all takes minutes


def config(n_layers, n_experts, vocab):
    return {
        "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": False,
        "bos_token_id": 0, "eos_token_id": 1, "first_k_dense_replace": 1,
        "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": DENSE,
        "kv_lora_rank": LATENT, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
        "moe_intermediate_size": EXPERT, "moe_layer_freq": 1, "n_group": 1,
        "n_routed_experts": n_experts, "n_shared_experts": SHARED_EXPERTS,
        "norm_topk_prob": False, "num_attention_heads": HEADS, "num_experts_per_tok": TOP_K,
        "num_hidden_layers": n_layers, "num_key_value_heads": HEADS, "q_lora_rank": None,
        "qk_nope_head_dim": NOPE, "qk_rope_head_dim": ROPE, "rms_norm_eps": 1e-06,
        "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
                         "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096,
                         "type": "yarn"},
        "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax",
        "tie_word_embeddings": False, "topk_group": 1, "topk_method": "greedy",
        "torch_dtype": "bfloat16", "v_head_dim": VALUE, "vocab_size": vocab,
    }


def ffn_shapes(prefix, width):
    return {prefix + "gate_proj.weight": (width, HIDDEN),
            prefix + "up_proj.weight": (width, HIDDEN),
            prefix + "down_proj.weight": (HIDDEN, width)}


def layer_shapes(layer, n_experts):
    prefix = f"model.layers.{layer}."
    attention = prefix + "self_attn."
    shapes = {
        attention + "q_proj.weight": (HEADS * (NOPE + ROPE), HIDDEN),
        attention + "kv_a_proj_with_mqa.weight": (LATENT + ROPE, HIDDEN),
        attention + "kv_a_layernorm.weight": (LATENT,),
        attention + "kv_b_proj.weight": (HEADS * (NOPE + VALUE), LATENT),
        attention + "o_proj.weight": (HIDDEN, HEADS * VALUE),
    }
    if layer == 0:
        shapes.update(ffn_shapes(prefix + "mlp.", DENSE))
    else:
        for expert in range(n_experts):
            shapes.update(ffn_shapes(f"{prefix}mlp.experts.{expert}.", EXPERT))
        shapes[prefix + "mlp.gate.weight"] = (n_experts, HIDDEN)
        shapes.update(ffn_shapes(prefix + "mlp.shared_experts.", SHARED_EXPERTS * EXPERT))
    shapes[prefix + "input_layernorm.weight"] = (HIDDEN,)
    shapes[prefix + "post_attention_layernorm.weight"] = (HIDDEN,)
    return shapes


def all_shapes(n_layers, n_experts, vocab):
    shapes = {"model.embed_tokens.weight": (vocab, HIDDEN)}
    for layer in range(n_layers):
        shapes.update(layer_shapes(layer, n_experts))
    shapes["model.norm.weight"] = (HIDDEN,)
    shapes["lm_head.weight"] = (vocab, HIDDEN)
    return shapes


def total_bytes(shapes):
    return sum(2 * math.prod(shape) for shape in shapes.values())


def layers_within(gigabytes, n_experts, vocab):
    """The most layers that keep the checkpoint within the size; at least one of each kind."""
    n_layers = 2
    while total_bytes(all_shapes(n_layers + 1, n_experts, vocab)) <= gigabytes * 1e9:
        n_layers += 1
    return n_layers


def shards(shapes):
    """Tensors in order, cut into groups of at most SHARD_BYTES."""
    groups, size = [{}], 0
    for name, shape in shapes.items():
        n_bytes = 2 * math.prod(shape)
        if size + n_bytes > SHARD_BYTES and groups[-1]:
            groups.append({})
            size = 0
        groups[-1][name] = shape
        size += n_bytes
    return groups


def to_bf16(values):
    """float32 -> uint16, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


class Values:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.pool = self.random.standard_normal(POOL, dtype=np.float32)

    def write(self, file, shape):
        if len(shape) == 1:
            file.write(to_bf16(np.ones(shape, dtype=np.float32)).tobytes())
            return
        scaled = to_bf16(self.pool * np.float32(shape[1] ** -0.5))
        left = math.prod(shape)
        while left > 0:
            begin = int(self.random.integers(POOL))
            part = scaled[begin:begin + left]
            file.write(part.tobytes())
            left -= len(part)


def write_shard(path, shapes, values):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            values.write(file, shape)


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_checkpoint(out, shapes, seed):
    values, weight_map = Values(seed), {}
    groups = shards(shapes)
    for number, group in enumerate(groups, start=1):
        name = f"model-{number:05}-of-{len(groups):06}.safetensors"
        write_shard(os.path.join(out, name), group, values)
        weight_map.update(dict.fromkeys(group, name))
    write_json(os.path.join(out, "model.safetensors.index.json"),
               {"metadata": {"total_size": total_bytes(shapes)}, "weight_map": weight_map})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("out", help="folder; must not exist or be empty")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--gigabytes", type=float, default=1.6, help="most 10^9 bytes (default 1.6)")
    size.add_argument("--layers", type=int, help="number of layers instead")
    parser.add_argument("--experts", type=int, default=64, help="routed experts (default 64)")
    parser.add_argument("--vocab", type=int, default=32768, help="rows of embedding and head")
    parser.add_argument("--tokenizer", help="folder whose tokenizer files are copied")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.experts < TOP_K:
        parser.error(f"--experts {arguments.experts}: a token uses {TOP_K}")
    if arguments.layers is not None and arguments.layers < 1:
        parser.error(f"--layers {arguments.layers}: wanted at least 1")
    n_layers = arguments.layers or layers_within(arguments.gigabytes, arguments.experts,
                                                 arguments.vocab)
    os.makedirs(arguments.out, exist_ok=True)
    if os.listdir(arguments.out):
        parser.error(f"{arguments.out} is not empty")
    shapes = all_shapes(n_layers, arguments.experts, arguments.vocab)
    write_json(os.path.join(arguments.out, "config.json"),
               config(n_layers, arguments.experts, arguments.vocab))
    write_checkpoint(arguments.out, shapes, arguments.seed)
    for name in TOKENIZER_FILES if arguments.tokenizer else ():
        source = os.path.join(arguments.tokenizer, name)
        if os.path.exists(source):
            shutil.copy(source, arguments.out)
    print(f"{arguments.out}: {n_layers} layers, {len(shapes)} tensors, "
          f"{total_bytes(shapes) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
