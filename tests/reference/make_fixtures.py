#!/usr/bin/env python3
"""Writes the tiny checkpoints of tests/golden/ and what the oracle expects of them.

    python3 tests/reference/make_fixtures.py [--out FOLDER] [NAME ...]
    python3 tests/reference/make_fixtures.py --search NAME ...

The first form is deterministic. The second looks for prompts along which no router and no greedy
choice is close to a tie, and stores seed and prompts in fixture_prompts.json. It is needed only
after the weights or the specifications changed.
"""

import argparse
import json
import os
import tempfile

import numpy as np

import safetensors_io as st
from fixture_specs import FIXTURES, N_VOCAB, published_config, tensor_shapes
from fixture_weights import normal, tensor_values
from oracle import Model, greedy

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden")
PROMPTS = os.path.join(HERE, "fixture_prompts.json")

N_PROMPT = 24
N_PROMPT_SAVED = 4   # logits are kept for the last positions of the prompt
N_DECODE = 32
N_LONG = 130         # crosses the 64-token KV page twice
MIN_DISTINCT = 16    # greedy tokens; a short cycle would test little

# Margins, in router score (see operators.py) and in logits relative to the best one. They are some
# times what BF16 products move: test_oracle.py repeats every run with rounded inputs.
MIN_ROUTER_MARGIN = {"F32": 0.01, "F16": 0.01, "BF16": 0.015, "F8_E4M3": 0.015}
MIN_LOGIT_MARGIN = 0.01


def bf16_round(x):
    return st.decode("BF16", st.encode_bf16(x))


def is_quantised(name, shape):
    """Linear weights of attention and FFN are; embeddings, head, norms and routers are not."""
    return len(shape) == 2 and name.endswith("_proj.weight") or "_with_mqa" in name


def stored_tensors(name, seed):
    """{tensor name: (dtype, raw)} of the checkpoint."""
    config, storage = published_config(name), FIXTURES[name][1]
    ue8m0 = config.get("quantization_config", {}).get("scale_fmt") == "ue8m0"
    tensors = {}
    for tensor, shape in tensor_shapes(config).items():
        values = tensor_values(seed, tensor, shape, config)
        if tensor.endswith("e_score_correction_bias"):
            tensors[tensor] = ("F32", st.encode("F32", values))
        elif storage == "F8_E4M3" and is_quantised(tensor, shape):
            codes, scales = st.quantise_blocks(values, power_of_two=ue8m0)
            tensors[tensor] = ("F8_E4M3", codes)
            tensors[tensor + "_scale_inv"] = ("F32", scales)
        else:
            dtype = "BF16" if storage == "F8_E4M3" else storage
            tensors[tensor] = (dtype, st.encode(dtype, values))
    return tensors


def write_checkpoint(folder, name, seed):
    os.makedirs(folder, exist_ok=True)
    write_json(os.path.join(folder, "config.json"), published_config(name))
    tensors, n_shards = stored_tensors(name, seed), FIXTURES[name][2]
    metadata = {"format": "pt"}
    if n_shards == 1:
        st.write_safetensors(os.path.join(folder, "model.safetensors"), tensors, metadata)
        return
    # Dealing tensors out in turn puts most scales into another shard than their weight, which
    # published shards do at their borders only.
    weight_map = {}
    for shard in range(n_shards):
        file = f"model-{shard + 1:05}-of-{n_shards:05}.safetensors"
        part = dict(list(tensors.items())[shard::n_shards])
        st.write_safetensors(os.path.join(folder, file), part, metadata)
        weight_map.update(dict.fromkeys(part, file))
    total = sum(raw.nbytes for _, raw in tensors.values())
    write_json(os.path.join(folder, "model.safetensors.index.json"),
               {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def write_json(path, value):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def expected_tensors(model, prompt, long_prompt):
    """Runs the oracle -> {tensor name: (dtype, raw)} of expected.safetensors."""
    state = model.start()
    logits, hidden = model.feed(state, prompt)
    ids, decode = greedy(model, state.fork(), logits[-1], N_DECODE, N_VOCAB)
    expected = {
        "prompt": ("I32", np.array(prompt)),
        "greedy": ("I32", ids),
        "n_vocab": ("I32", np.array([N_VOCAB])),
        "logits_prompt": ("F64", logits[-N_PROMPT_SAVED:]),
        "logits_decode": ("F64", decode),
        "long_prompt": ("I32", np.array(long_prompt)),
        "logits_long": ("F64", model.feed(model.start(), long_prompt)[0][-1:]),
    }
    if model.config["num_nextn_predict_layers"]:
        # Row i of the prompt is paired with the id that follows it; the last with greedy[0].
        next_ids = list(prompt[1:]) + [int(ids[0])]
        mtp = model.mtp_logits(state, next_ids, hidden)
        expected["logits_mtp"] = ("F64", mtp[-N_PROMPT_SAVED:])
    return {key: (dtype, st.encode(dtype, value)) for key, (dtype, value) in expected.items()}


def make(name, out, entry):
    folder = os.path.join(out, name)
    write_checkpoint(folder, name, entry["seed"])
    model = Model(folder)
    model.margins = []
    expected = expected_tensors(model, entry["prompt"], entry["long_prompt"])
    margin = min(model.margins)
    storage = FIXTURES[name][1]
    if margin < MIN_ROUTER_MARGIN[storage]:
        raise RuntimeError(f"{name}: router margin {margin}, wanted {MIN_ROUTER_MARGIN[storage]}")
    gap = min(logit_margin(row) for row in decisions(expected))
    if gap < MIN_LOGIT_MARGIN:
        raise RuntimeError(f"{name}: logit margin {gap}, wanted {MIN_LOGIT_MARGIN}")
    st.write_safetensors(os.path.join(folder, "expected.safetensors"), expected)
    return margin, gap


def decisions(expected):
    """The rows from which a greedy token was taken."""
    yield expected["logits_prompt"][1][-1]
    yield from expected["logits_decode"][1][:-1]


def logit_margin(row):
    second, best = np.sort(row[:N_VOCAB])[-2:]
    return (best - second) / abs(best)


# Search

class Walk:
    """A sequence while it is looked for; MTP routing of the prompt has to decide clearly too."""

    def __init__(self, model, min_margin):
        self.model, self.min_margin = model, min_margin
        self.state, self.ids, self.logits, self.hidden = model.start(), [], None, None

    def fork(self):
        walk = Walk(self.model, self.min_margin)
        walk.state, walk.ids = self.state.fork(), list(self.ids)
        walk.logits, walk.hidden = self.logits, self.hidden
        return walk

    def append(self, token, with_mtp):
        """False if some router stood close to a tie; the walk is then of no more use."""
        self.model.margins = []
        if with_mtp and self.ids and self.model.config["num_nextn_predict_layers"]:
            self.model.mtp_logits(self.state, [token], self.hidden)
        logits, self.hidden = self.model.feed(self.state, [token])
        self.logits = logits[-1]
        self.ids.append(token)
        return min(self.model.margins) >= self.min_margin

    def extend(self, draws, n_tokens):
        """-> a longer walk; each id is the first drawn one that is clearly routed."""
        walk = self
        while len(walk.ids) < len(self.ids) + n_tokens:
            trial = walk.fork()
            if trial.append(next(draws), with_mtp=True):
                walk = trial
        return walk


def drawn_ids(seed, name):
    for i in range(10 ** 9):
        words = np.abs(normal(seed, f"{name} ids {i}", (64,))) * 1000
        yield from (int(word) % N_VOCAB for word in words)


def decodes_clearly(walk, min_logit_margin):
    ids = set()
    for step in range(N_DECODE):
        token = int(np.argmax(walk.logits[:N_VOCAB]))
        ids.add(token)
        if logit_margin(walk.logits) < min_logit_margin or not walk.append(token, step == 0):
            return False
        if len(ids) + N_DECODE - 1 - step < MIN_DISTINCT:
            return False
    return True


def search(name, seed):
    storage = FIXTURES[name][1]
    n_fixed = N_PROMPT - 2
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(folder, name, seed)
        empty = Walk(Model(folder), MIN_ROUTER_MARGIN[storage])
        draws = drawn_ids(seed, name)
        for attempt in range(20000):
            if attempt % 100 == 0:
                fixed = empty.extend(draws, n_fixed)
            prompt = fixed.extend(draws, N_PROMPT - n_fixed)
            if decodes_clearly(prompt.fork(), MIN_LOGIT_MARGIN):
                long_prompt = empty.extend(draws, N_LONG)
                print(f"{name}: found at attempt {attempt}", flush=True)
                return {"seed": seed, "prompt": prompt.ids, "long_prompt": long_prompt.ids}
    raise RuntimeError(f"{name}: nothing found with seed {seed}")


def load_prompts():
    if not os.path.exists(PROMPTS):
        return {}
    with open(PROMPTS, encoding="utf-8") as file:
        return json.load(file)


def store_prompts(prompts):
    lines = []
    for name in sorted(prompts):
        entry = prompts[name]
        lines.append(f'  "{name}": {{\n    "seed": {entry["seed"]},\n'
                     f'    "prompt": {entry["prompt"]},\n'
                     f'    "long_prompt": {entry["long_prompt"]}\n  }}')
    with open(PROMPTS, "w", encoding="utf-8", newline="\n") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIXTURES))
    parser.add_argument("--out", default=GOLDEN)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--seed", type=int, default=1, help="of the weights, for --search")
    arguments = parser.parse_args()
    for name in arguments.names or FIXTURES:
        if arguments.search:
            prompts = load_prompts()
            prompts[name] = search(name, arguments.seed)
            store_prompts(prompts)
        margin, gap = make(name, arguments.out, load_prompts()[name])
        print(f"{name}: smallest margins: router {margin:.4f}, greedy {gap:.4f}", flush=True)


if __name__ == "__main__":
    main()
