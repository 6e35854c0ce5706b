#!/usr/bin/env python3
"""Writes inputs and float64 results of single operators to tests/golden/operators/.

    python3 tests/reference/make_operator_cases.py [--out FOLDER]

One safetensors file per operator. A tensor is called CASE.NAME; inputs are F32 (and exact in it),
results F64, sizes and ids I32. Numbers come from fixture_weights.normal, so they never change.
"""

import argparse
import os

import numpy as np

import operators as op
import safetensors_io as st
from fixture_weights import normal
from make_fixtures import GOLDEN

SEED = 3

# dn, dr, rope_theta, YaRN dictionary of the published models.
_YARN = {"factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1}
PUBLISHED_ROPE = {
    "v2-lite": (128, 64, 10000.0, {**_YARN, "mscale": 0.707, "mscale_all_dim": 0.707}),
    "v3": (128, 64, 10000.0, {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0}),
    "kimi-k2": (128, 64, 50000.0, {**_YARN, "factor": 32, "beta_fast": 1, "mscale": 1.0,
                                   "mscale_all_dim": 1.0}),
    "moonlight": (128, 64, 50000.0, None),
    "glm47-flash": (192, 64, 1000000.0, None),
}


def drawn(name, shape, size=1.0):
    """F32 numbers as float64."""
    return (size * normal(SEED, name, shape)).astype(np.float32).astype(np.float64)


def rms_norm_cases():
    x = drawn("rms x", (6, 48))
    x[1] *= 2.0 ** -10  # here eps decides
    x[2] *= 2.0 ** 12
    x[3] = 0.0
    x[4, 1:] = 0.0      # a single number
    weight = 1.0 + drawn("rms weight", (48,), 0.125)
    tensors = {"x": ("F32", x), "weight": ("F32", weight)}
    for name, eps in (("eps6", 1e-6), ("eps5", 1e-5)):
        tensors[name + ".eps"] = ("F64", [eps])
        tensors[name + ".y"] = ("F64", op.rms_norm(x, weight, eps))
    return tensors


def swiglu_cases():
    gate, up = drawn("swiglu gate", (64,), 3.0), drawn("swiglu up", (64,))
    gate[:8] = [0.0, -0.0, 20.0, -20.0, 88.0, -88.0, 2.0 ** -20, -2.0 ** -20]
    return {"gate": ("F32", gate), "up": ("F32", up), "y": ("F64", op.swiglu(gate, up))}


def rope_cases():
    """Angles at far positions need more than float32: position * theta is taken in float64."""
    positions = np.array([0, 1, 63, 64, 4095, 4096, 100000])
    tensors = {"positions": ("I32", positions)}
    for name, (dn, dr, base, yarn) in PUBLISHED_ROPE.items():
        theta = op.inverse_frequencies(dr, base, yarn)
        x = drawn(f"rope {name}", (len(positions), dr))
        tensors[name + ".dn"] = ("I32", [dn])
        tensors[name + ".inv_freq"] = ("F64", theta)
        tensors[name + ".cos_sin_multiplier"] = ("F64", [op.rope_multiplier(yarn)])
        tensors[name + ".softmax_scale"] = ("F64", [op.softmax_scale(dn, dr, yarn)])
        tensors[name + ".x"] = ("F32", x)
        tensors[name + ".y"] = ("F64", op.rope(x, positions, theta))
    return tensors


def router_config(n_experts, k, groups, norm, scale):
    return {"n_routed_experts": n_experts, "num_experts_per_tok": k, "n_group": groups[0],
            "topk_group": groups[1], "norm_topk_prob": norm, "routed_scaling_factor": scale,
            "topk_method": "group_limited_greedy" if groups[0] > 1 else "greedy"}


def router_cases(cases, has_bias):
    """n rows per case, none of which stands closer than 1e-4 to a tie."""
    tensors = {}
    for name, (config, bias_mean) in cases.items():
        n_experts, rows, bias = config["n_routed_experts"], [], None
        if has_bias:
            bias = bias_mean + drawn(f"{name} bias", (n_experts,), 0.125)
        for attempt in range(1000):
            logits = drawn(f"{name} logits {attempt}", (1, n_experts), 1.5)
            if has_bias:
                result = op.router_v3(logits, bias, config)
            else:
                result = op.router_v2(logits, config)
            if result[2][0] > 1e-4:
                rows.append((logits, *result[:2]))
            if len(rows) == 6:
                break
        tensors[name + ".logits"] = ("F32", np.concatenate([row[0] for row in rows]))
        if has_bias:
            tensors[name + ".bias"] = ("F32", bias)
        for key in ("n_group", "topk_group", "num_experts_per_tok", "norm_topk_prob"):
            tensors[f"{name}.{key}"] = ("I32", [int(config[key])])
        tensors[name + ".routed_scaling_factor"] = ("F64", [config["routed_scaling_factor"]])
        tensors[name + ".indices"] = ("I32", np.concatenate([row[1] for row in rows]))
        tensors[name + ".weights"] = ("F64", np.concatenate([row[2] for row in rows]))
    return tensors


def router_v2_cases():
    return router_cases({
        "v2-lite": (router_config(64, 6, (1, 1), False, 1.0), 0),
        "v2": (router_config(160, 6, (8, 3), False, 16.0), 0),
        "normalised": (router_config(160, 6, (8, 3), True, 16.0), 0),  # then nothing is scaled
    }, has_bias=False)


def router_v3_cases():
    """all-negative: every biased score is below 0, so a mask of 0 would select masked experts."""
    return router_cases({
        "v3": (router_config(256, 8, (8, 4), True, 2.5), 0.0),
        "all-negative": (router_config(256, 8, (8, 4), True, 2.5), -2.0),
        "kimi-k2": (router_config(384, 8, (1, 1), True, 2.827), 0.0),
        "glm47-flash": (router_config(64, 4, (1, 1), True, 1.8), 0.0),
        "unnormalised": (router_config(64, 4, (1, 1), False, 1.8), 0.0),
    }, has_bias=True)


def mla_cases():
    """Queries and rope keys are past RoPE, latents past their norm. 70 keys cross a KV page."""
    shapes = {  # nh, dn, dr, dv, rkv, keys, queries (the last ones)
        "prefill": (2, 16, 8, 16, 24, 9, 9),
        "decode": (3, 16, 8, 16, 24, 70, 1),
        "chunk": (2, 16, 8, 16, 24, 70, 5),
        "wide-values": (2, 24, 8, 32, 24, 66, 2),
    }
    tensors = {}
    for name, (nh, dn, dr, dv, rkv, keys, queries) in shapes.items():
        inputs = {
            "q_nope": drawn(name + " q_nope", (queries, nh, dn)),
            "q_pe": drawn(name + " q_pe", (queries, nh, dr)),
            "latent": drawn(name + " latent", (keys, rkv)),
            "k_pe": drawn(name + " k_pe", (keys, dr)),
            "kv_b": drawn(name + " kv_b", (nh * (dn + dv), rkv), rkv ** -0.5),
        }
        scale, first = (dn + dr) ** -0.5, keys - queries
        arguments = (*inputs.values(), dv, scale, first)
        tensors.update({f"{name}.{key}": ("F32", value) for key, value in inputs.items()})
        tensors[name + ".scale"] = ("F64", [scale])
        tensors[name + ".first"] = ("I32", [first])
        tensors[name + ".y"] = ("F64", op.mla_naive(*arguments))
    return tensors


def fp8_cases():
    """All codes, and a product with ragged blocks in both directions: y = W x, W dequantised."""
    values = drawn("fp8 weight", (140, 132))
    values[:, 128:] *= 5.0  # the narrow last block has a scale of its own
    tensors = {"table.codes": ("U8", np.arange(256)), "table.values": ("F64", st.F8_E4M3_TABLE)}
    for name, power_of_two in (("v3", False), ("ue8m0", True)):
        codes, scales = st.quantise_blocks(values, power_of_two=power_of_two)
        weight = st.dequantise_blocks(st.decode("F8_E4M3", codes), scales.astype(np.float64))
        x = drawn(f"fp8 {name} x", (132,))
        tensors[name + ".weight"] = ("F8_E4M3", codes)
        tensors[name + ".weight_scale_inv"] = ("F32", scales)
        tensors[name + ".corner"] = ("F64", weight[124:, 124:])  # parts of all four blocks
        tensors[name + ".x"] = ("F32", x)
        tensors[name + ".y"] = ("F64", weight @ x)
    return tensors


CASES = {
    "rms_norm": rms_norm_cases, "swiglu": swiglu_cases, "rope": rope_cases,
    "router_v2": router_v2_cases, "router_v3": router_v3_cases, "mla": mla_cases,
    "fp8": fp8_cases,
}


def make(name, out):
    tensors = {}
    for key, (dtype, values) in CASES[name]().items():
        values = np.asarray(values)
        raw = values if values.dtype == np.uint8 else st.encode(dtype, values)
        tensors[key] = (dtype, raw)
    os.makedirs(out, exist_ok=True)
    st.write_safetensors(os.path.join(out, name + ".safetensors"), tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", default=os.path.join(GOLDEN, "operators"))
    arguments = parser.parse_args()
    for name in CASES:
        make(name, arguments.out)


if __name__ == "__main__":
    main()
