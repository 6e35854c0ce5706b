"""Random weights of the tiny checkpoints: reproducible to the bit, and kind to comparison.

Only the raw 64-bit words of PCG64 are used, whose stream NumPy guarantees, and only exact
arithmetic follows: no library's idea of a normal distribution or of exp() enters a weight.

Fully random routers would stand at the edge of a decision at many tokens, and a backend that
multiplies in BF16 would rightly choose other experts there. So tokens belong to 16 classes (id mod
16), a class has a direction in the embedding, and the router reads it: per layer and class a row of
expert scores is drawn that decides clearly. The random rest of embedding and router stays.
"""

import zlib

import numpy as np

import operators as op

N_CLASSES = 16
CLASS_ENTRY = 4.0  # size of a class direction's entries in the embedding
CLASS_SEEN = 2.8   # what is left of it, about, behind the norm in front of the router
ROW_MARGIN = 0.25  # by how much a drawn row of expert scores must decide


def normal(seed, name, shape):
    """Close to N(0, 1): the sum of the four 16-bit parts of a random word, centred and scaled."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(name.encode())])
    words = np.random.PCG64(sequence).random_raw(int(np.prod(shape)))
    total = sum((words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return ((total.astype(np.float64) - 131070.0) / 37837.0).reshape(shape)


def class_directions(seed, hidden):
    """[16, hidden]: signs on a stretch of its own per class, so the directions are orthogonal."""
    width = hidden // N_CLASSES
    signs = np.where(normal(seed, "class signs", (hidden,)) < 0, -1.0, 1.0)
    directions = np.zeros((N_CLASSES, hidden))
    for i in range(N_CLASSES):
        directions[i, i * width:(i + 1) * width] = signs[i * width:(i + 1) * width]
    return directions


def router_bias(seed, name, config):
    """Around -0.5, so that many biased scores are negative: whoever masks the experts of other
    groups with 0 instead of -inf then picks them."""
    return (-0.5 + 0.15 * normal(seed, name, (config["n_routed_experts"],))).astype(np.float32)


def router_rows(seed, name, config, bias):
    """[16, E] expert logits of each class; a row is drawn again until it decides clearly."""
    rows = np.empty((N_CLASSES, config["n_routed_experts"]))
    for i in range(N_CLASSES):
        for attempt in range(1000):
            row = 1.6 * normal(seed, f"{name} class {i} attempt {attempt}", (1, rows.shape[1]))
            if bias is None:
                margin = op.router_v2(row, config)[2][0]
            else:
                margin = op.router_v3(row, bias, config)[2][0] * 2.5
            if margin >= ROW_MARGIN:
                break
        else:
            raise RuntimeError(f"{name}: no clear row for class {i}")
        rows[i] = row[0]
    return rows


def router_weight(seed, name, config, bias):
    hidden = config["hidden_size"]
    rows = router_rows(seed, name, config, bias)
    width = hidden // N_CLASSES
    weight = rows.T @ class_directions(seed, hidden) / (width * CLASS_SEEN)
    return weight + 0.25 * normal(seed, name, weight.shape) / np.sqrt(hidden)


def embedding(seed, name, shape):
    noise = 0.8 * normal(seed, name, shape)
    return noise + CLASS_ENTRY * class_directions(seed, shape[1])[np.arange(shape[0]) % N_CLASSES]


# Standard deviation of a product with unit input. Attention scores get a spread of about 1, so that
# the softmax is neither flat nor one-hot; a sublayer adds about a third of what is there, which
# keeps the error of BF16 products clearly under the 1e-2 that a backend is allowed. Latents are
# made small on purpose: only then does the eps of their norm (1e-6 or 1e-5) show.
GAINS = {
    "q_proj": 0.7, "q_a_proj": 0.05, "q_b_proj": 0.7, "kv_a_proj_with_mqa": 1.0, "kv_b_proj": 1.0,
    "o_proj": 0.7, "gate_proj": 1.0, "up_proj": 1.0, "down_proj": 0.6, "eh_proj": 1.0,
    "lm_head": 2.5, "head": 2.5,
}
LATENT_GAIN = 0.05


def tensor_values(seed, name, shape, config):
    """float64 values of one tensor, before they are rounded to the storage type."""
    kind = name.split(".")[-2]
    if name.endswith("e_score_correction_bias"):
        return router_bias(seed, name, config).astype(np.float64)
    if kind == "gate":
        has_bias = config["model_type"] != "deepseek_v2"
        bias_name = name.replace("weight", "e_score_correction_bias")
        bias = router_bias(seed, bias_name, config).astype(np.float64) if has_bias else None
        return router_weight(seed, name, config, bias)
    if kind == "embed_tokens":
        return embedding(seed, "embed_tokens", shape)  # the MTP layer holds a copy
    if kind in ("lm_head", "head"):
        return GAINS["lm_head"] * normal(seed, "lm_head", shape) / np.sqrt(shape[1])
    if kind.endswith("norm"):
        return 1.0 + 0.1 * normal(seed, name, shape)
    values = GAINS[kind] * normal(seed, name, shape) / np.sqrt(shape[1])
    if kind == "kv_a_proj_with_mqa":
        values[:config["kv_lora_rank"]] *= LATENT_GAIN
    if kind == "down_proj" and ".experts." in name:
        values /= max(1.0, config["routed_scaling_factor"] / 1.5)
    return values
