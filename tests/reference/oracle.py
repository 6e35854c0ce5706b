#!/usr/bin/env python3
"""Float64 oracle of the DeepSeek-V2/V3 family in NumPy: MLA and DeepSeekMoE from the formulas.

    python3 tests/reference/oracle.py CHECKPOINT --ids 1,2,3 [--greedy N] [--form absorbed]

Without --greedy it prints, per position, the five largest logits; with it, the N tokens that
follow. It is slow, holds every weight in float64, and is meant for the tiny fixtures.
"""

import argparse

import numpy as np

import operators as op
from oracle_config import load_config
from safetensors_io import Checkpoint

# The published code builds q_a_layernorm and kv_a_layernorm with the constructor's default and
# never passes rms_norm_eps, so models with 1e-5 elsewhere still use 1e-6 here. transformers
# 5.23.0 does the same; crosscheck_transformers.py holds us to it on Moonlight and GLM shapes.
LORA_NORM_EPS = 1e-6


class Cache:
    """KV cache of one layer: latents after their norm, rope keys after RoPE."""

    def __init__(self, latent, k_pe):
        self.latent = latent  # [m, rkv]
        self.k_pe = k_pe      # [m, dr]


class State:
    """One sequence. fork() is cheap: arrays are replaced by feed(), never written into."""

    def __init__(self, caches, n_past=0):
        self.caches = caches
        self.n_past = n_past

    def fork(self):
        return State([Cache(c.latent, c.k_pe) for c in self.caches], self.n_past)


class Model:
    """round_input, where given, is applied to the input of every weight product: it imitates a
    backend that multiplies in BF16, and tells how much error that arithmetic alone makes."""

    def __init__(self, folder, form="naive", round_input=None):
        self.config = load_config(folder)
        self.checkpoint = Checkpoint(folder, self.config["block_size"])
        self.attention = {"naive": op.mla_naive, "absorbed": op.mla_absorbed}[form]
        self.round_input = round_input or (lambda x: x)
        self.weights = {}
        c = self.config
        self.theta = op.inverse_frequencies(c["qk_rope_head_dim"], c["rope_theta"], c["yarn"])
        self.rope_multiplier = op.rope_multiplier(c["yarn"])
        self.scale = op.softmax_scale(c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["yarn"])
        self.margins = None  # a list while routing margins are being collected

    def weight(self, name):
        if name not in self.weights:
            self.weights[name] = self.checkpoint.read(name)
        return self.weights[name]

    def linear(self, x, name):
        return self.round_input(x) @ self.weight(name + ".weight").T

    def norm(self, x, name, eps=None):
        return op.rms_norm(x, self.weight(name + ".weight"), eps or self.config["rms_norm_eps"])

    # n_layers may reach over num_hidden_layers: the MTP layer keeps a cache of its own.
    def start(self):
        c = self.config
        n_layers = c["num_hidden_layers"] + c["num_nextn_predict_layers"]
        empty_latent = np.empty((0, c["kv_lora_rank"]))
        empty_k_pe = np.empty((0, c["qk_rope_head_dim"]))
        return State([Cache(empty_latent, empty_k_pe) for _ in range(n_layers)])

    def feed(self, state, ids):
        """Appends ids to the sequence -> (logits [n, vocab_size], hidden [n, H]).

        hidden is the output of the final norm, the input of lm_head and of the MTP layer.
        """
        positions = state.n_past + np.arange(len(ids))
        h = self.weight("model.embed_tokens.weight")[np.asarray(ids)]
        for layer in range(self.config["num_hidden_layers"]):
            h = self._layer(h, layer, state.caches[layer], positions)
        state.n_past += len(ids)
        hidden = self.norm(h, "model.norm")
        head = "model.embed_tokens" if self.config["tie_word_embeddings"] else "lm_head"
        return self.linear(hidden, head), hidden

    def _layer(self, h, layer, cache, positions):
        name = f"model.layers.{layer}."
        x = self.norm(h, name + "input_layernorm")
        h = h + self._attention(x, name + "self_attn.", cache, positions)
        x = self.norm(h, name + "post_attention_layernorm")
        if layer < self.config["first_k_dense_replace"]:
            return h + self._ffn(x, name + "mlp.")
        return h + self._moe(x, name + "mlp.")

    def _attention(self, x, name, cache, positions):
        c = self.config
        nh, dn, dv = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"]
        if c["q_lora_rank"] is None:
            q = self.linear(x, name + "q_proj")
        else:
            q_a = self.linear(x, name + "q_a_proj")
            q_a = self.norm(q_a, name + "q_a_layernorm", LORA_NORM_EPS)
            q = self.linear(q_a, name + "q_b_proj")
        q = q.reshape(len(x), nh, dn + c["qk_rope_head_dim"])
        kv_a = self.linear(x, name + "kv_a_proj_with_mqa")
        latent, k_pe = np.split(kv_a, [c["kv_lora_rank"]], axis=-1)
        latent = self.norm(latent, name + "kv_a_layernorm", LORA_NORM_EPS)
        q_pe = op.rope(q[..., dn:], positions, self.theta, self.rope_multiplier)
        k_pe = op.rope(k_pe, positions, self.theta, self.rope_multiplier)
        cache.latent = np.concatenate([cache.latent, self.round_input(latent)])
        cache.k_pe = np.concatenate([cache.k_pe, self.round_input(k_pe)])
        kv_b = self.weight(name + "kv_b_proj.weight")
        out = self.attention(q[..., :dn], q_pe, cache.latent, cache.k_pe, kv_b, dv, self.scale,
                             len(cache.latent) - len(x))
        return self.linear(out.reshape(len(x), nh * dv), name + "o_proj")

    def _ffn(self, x, name):
        gate = self.linear(x, name + "gate_proj")
        return self.linear(op.swiglu(gate, self.linear(x, name + "up_proj")), name + "down_proj")

    def _moe(self, x, name):
        indices, weights = self.route(x, name)
        y = np.zeros_like(x)
        for row in range(len(x)):
            for expert, weight in zip(indices[row], weights[row]):
                y[row] += weight * self._ffn(x[row], f"{name}experts.{expert}.")
        return y + self._ffn(x, name + "shared_experts.")

    def route(self, x, name):
        logits = x @ self.weight(name + "gate.weight").T  # never rounded: routers run in fp32
        if self.config["scoring_func"] == "softmax":
            indices, weights, margin = op.router_v2(logits, self.config)
        else:
            bias = self.weight(name + "gate.e_score_correction_bias")
            indices, weights, margin = op.router_v3(logits, bias, self.config)
        if self.margins is not None:
            self.margins.append(margin.min())
        return indices, weights

    def mtp_logits(self, state, next_ids, hidden):
        """Row i sees the hidden state of token t_i and the id of t_(i+1), and predicts t_(i+2).

        The embedding comes first in the concatenation. Its layer has a cache of its own in state,
        which must have been fed row by row from position 0 on.
        """
        layer = self.config["num_hidden_layers"]
        name = f"model.layers.{layer}."
        cache = state.caches[layer]
        positions = len(cache.latent) + np.arange(len(next_ids))
        embedding = self.weight(name + "embed_tokens.weight")[np.asarray(next_ids)]
        joined = np.concatenate([self.norm(embedding, name + "enorm"),
                                 self.norm(hidden, name + "hnorm")], axis=-1)
        h = self._layer(self.linear(joined, name + "eh_proj"), layer, cache, positions)
        h = self.norm(h, name + "shared_head.norm")
        return self.linear(h, name + "shared_head.head")


def greedy(model, state, logits, n_tokens, n_vocab=None):
    """logits of the last fed token -> (ids [n], logits [n, vocab]); row i follows ids[i].

    Only ids below n_vocab are chosen: rows above it are padding that no tokenizer can name.
    """
    ids, rows = [], []
    for _ in range(n_tokens):
        ids.append(int(np.argmax(logits[:n_vocab])))
        logits = model.feed(state, ids[-1:])[0][-1]
        rows.append(logits)
    return np.array(ids), np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("checkpoint")
    parser.add_argument("--ids", required=True, help="token ids, separated by commas")
    parser.add_argument("--greedy", type=int, default=0, metavar="N", help="generate N tokens")
    parser.add_argument("--form", choices=("naive", "absorbed"), default="naive")
    arguments = parser.parse_args()
    model = Model(arguments.checkpoint, arguments.form)
    state = model.start()
    ids = [int(text) for text in arguments.ids.split(",")]
    logits, _ = model.feed(state, ids)
    if arguments.greedy:
        tokens, _ = greedy(model, state, logits[-1], arguments.greedy)
        print(",".join(str(token) for token in tokens))
        return
    for position, row in enumerate(logits):
        best = np.argsort(-row)[:5]
        print(position, ids[position], " ".join(f"{i}:{row[i]:.9f}" for i in best))


if __name__ == "__main__":
    main()
