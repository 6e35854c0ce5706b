"""The operators of DeepSeek-V2 and -V3, one function each, in float64, as the papers write them.

Shapes: n rows (tokens), nh heads, dn/dr/dv the no-rope, rope and value widths of a head, rkv the
width of the latent. Weights are [out, in] as stored, y = x W^T. Nothing here is fast on purpose.
"""

import math

import numpy as np


def rms_norm(x, weight, eps):
    return weight * x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)


def silu(x):
    return x / (1.0 + np.exp(-x))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def swiglu(gate, up):
    return silu(gate) * up


# RoPE and YaRN

def yarn_mscale(factor, mscale):
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def yarn_range(dr, base, scaling):
    """(low, high): the pair indices between which YaRN goes over from theta to theta / factor."""
    original = scaling["original_max_position_embeddings"]

    def pair_with(rotations):
        return dr * math.log(original / (2 * math.pi * rotations)) / (2 * math.log(base))

    low = max(math.floor(pair_with(scaling.get("beta_fast", 32))), 0)
    high = min(math.ceil(pair_with(scaling.get("beta_slow", 1))), dr - 1)
    return low, high + 0.001 if low == high else high


def inverse_frequencies(dr, base, scaling=None):
    """theta_i for the dr/2 pairs; scaling is the YaRN dictionary or None."""
    pair = np.arange(dr // 2)
    theta = float(base) ** (-2.0 * pair / dr)
    if scaling is None:
        return theta
    low, high = yarn_range(dr, base, scaling)
    ramp = np.clip((pair - low) / (high - low), 0.0, 1.0)
    return theta / scaling["factor"] * ramp + theta * (1.0 - ramp)


def rope_multiplier(scaling):
    """Factor on cos and sin. 1 in every shipped model, as mscale equals mscale_all_dim."""
    if scaling is None:
        return 1.0
    factor = scaling["factor"]
    return (yarn_mscale(factor, scaling.get("mscale", 1.0))
            / yarn_mscale(factor, scaling.get("mscale_all_dim", 0.0)))


def softmax_scale(dn, dr, scaling):
    """The trap that costs most: YaRN's mscale_all_dim enters squared, at every position."""
    scale = (dn + dr) ** -0.5
    if scaling is not None:
        scale *= yarn_mscale(scaling["factor"], scaling.get("mscale_all_dim", 0.0)) ** 2
    return scale


def rope(x, positions, theta, multiplier=1.0):
    """Rotates the interleaved pairs (x[2i], x[2i+1]) of [n, ..., dr] by position * theta_i."""
    angle = positions[:, None] * theta  # [n, dr/2]
    angle = angle.reshape(angle.shape[:1] + (1,) * (x.ndim - 2) + angle.shape[1:])
    cos, sin = np.cos(angle) * multiplier, np.sin(angle) * multiplier
    even, odd = x[..., 0::2], x[..., 1::2]
    result = np.empty_like(x)
    result[..., 0::2] = even * cos - odd * sin
    result[..., 1::2] = even * sin + odd * cos
    return result


# Multi-head latent attention. Query row i stands at position first + i and sees keys 0..first + i.

def causal_softmax(scores, first):
    """scores [nh, n, m]"""
    n, m = scores.shape[1:]
    hidden = np.arange(m)[None, :] > first + np.arange(n)[:, None]
    return softmax(np.where(hidden, -np.inf, scores))


def mla_naive(q_nope, q_pe, latent, k_pe, kv_b, dv, scale, first):
    """q_nope [n, nh, dn], q_pe [n, nh, dr], latent [m, rkv], k_pe [m, dr] -> [n, nh, dv].

    Keys and values of every head are decompressed: [k_nope | v] = kv_b latent.
    """
    nh, dn = q_nope.shape[1:]
    kv = (latent @ kv_b.T).reshape(len(latent), nh, dn + dv)
    scores = np.einsum("nhd,mhd->hnm", q_nope, kv[..., :dn])
    scores = scores + np.einsum("nhd,md->hnm", q_pe, k_pe)
    p = causal_softmax(scale * scores, first)
    return np.einsum("hnm,mhd->nhd", p, kv[..., dn:])


def mla_absorbed(q_nope, q_pe, latent, k_pe, kv_b, dv, scale, first):
    """The same sum in another order: kv_b is folded into the query and into the output."""
    nh, dn = q_nope.shape[1:]
    weights = kv_b.reshape(nh, dn + dv, -1)
    q_latent = np.einsum("nhd,hdr->nhr", q_nope, weights[:, :dn])
    scores = np.einsum("nhr,mr->hnm", q_latent, latent)
    scores = scores + np.einsum("nhd,md->hnm", q_pe, k_pe)
    p = causal_softmax(scale * scores, first)
    mixed = np.einsum("hnm,mr->nhr", p, latent)
    return np.einsum("nhr,hdr->nhd", mixed, weights[:, dn:])


# Routers. Both return (indices [n, k], weights [n, k], margin [n]); the order within k is by
# falling score. margin is the smallest distance in score between a choice (of groups or experts)
# and its runner-up, so a fixture can assert that rounding cannot turn it over. Softmax scores are
# compared by their logarithm there, as their size depends on the number of experts.

def _top(scores, k):
    order = np.argsort(-scores, axis=-1, kind="stable")
    return order[:, :k]


def _gap(scores, k):
    """k-th best minus next best; infinite when nothing else could be chosen."""
    ordered = -np.sort(-scores, axis=-1)
    if k >= scores.shape[-1]:
        return np.full(len(scores), np.inf)
    return ordered[:, k - 1] - ordered[:, k]


def _keep_groups(scores, group_scores, topk_group, fill):
    """Fills the scores of all experts outside the topk_group best groups."""
    n, n_group = group_scores.shape
    keep = np.zeros((n, n_group), dtype=bool)
    np.put_along_axis(keep, _top(group_scores, topk_group), True, axis=1)
    keep = np.repeat(keep, scores.shape[1] // n_group, axis=1)
    return np.where(keep, scores, fill)


def router_v2(logits, config):
    """softmax; greedy or group_limited_greedy with the group's max; normalise OR scale."""
    k = config["num_experts_per_tok"]
    scores = softmax(logits)
    choice, margin = scores, np.full(len(logits), np.inf)
    if config["topk_method"] == "group_limited_greedy":
        groups = scores.reshape(len(scores), config["n_group"], -1).max(axis=-1)
        margin = _gap(np.log(groups), config["topk_group"])
        choice = _keep_groups(scores, groups, config["topk_group"], 0.0)
    indices = _top(choice, k)
    with np.errstate(divide="ignore"):
        margin = np.minimum(margin, _gap(np.log(choice), k))
    weights = np.take_along_axis(choice, indices, axis=1)
    if config["norm_topk_prob"] and k > 1:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    else:
        weights = weights * config["routed_scaling_factor"]
    return indices, weights, margin


def router_v3(logits, bias, config):
    """sigmoid; the bias only selects; groups by their top-2 sum; normalise AND scale."""
    k = config["num_experts_per_tok"]
    scores = sigmoid(logits)
    choice, margin = scores + bias, np.full(len(logits), np.inf)
    if config["n_group"] > 1:
        members = -np.sort(-choice.reshape(len(choice), config["n_group"], -1), axis=-1)
        groups = members[..., :2].sum(axis=-1)
        margin = _gap(groups, config["topk_group"])
        choice = _keep_groups(choice, groups, config["topk_group"], -np.inf)
    indices = _top(choice, k)
    margin = np.minimum(margin, _gap(choice, k))
    weights = np.take_along_axis(scores, indices, axis=1)
    if config["norm_topk_prob"]:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    return indices, weights * config["routed_scaling_factor"], margin
