#!/usr/bin/env python3
"""Compares the oracle with Hugging Face transformers on every fixture that is not FP8.

    python3 tests/reference/crosscheck_transformers.py [NAME ...]

Needs torch and transformers (README.md names the versions); nothing else in tests/ does. Both
read the same folder; transformers computes in float32 with eager attention and eager experts.
Printed per fixture: the largest difference in log-probability over all vocabulary rows and all
saved positions (those of the MTP layer included), and whether the greedy tokens are the same.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile

import numpy as np
import torch
import transformers

import safetensors_io as st
from fixture_specs import FIXTURES, N_VOCAB
from make_fixtures import GOLDEN, N_DECODE, N_PROMPT_SAVED

LIMIT = 1e-4  # float32 rounding over a few layers; measured figures are in README.md


def load(folder):
    """transformers knows Kimi-K2 as DeepSeek-V3 only, so model_type is changed in a copy."""
    with tempfile.TemporaryDirectory() as copy:
        for name in os.listdir(folder):
            if name != "expected.safetensors":
                shutil.copy(os.path.join(folder, name), copy)
        path = os.path.join(copy, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        if config["model_type"] == "kimi_k2":
            config["model_type"] = "deepseek_v3"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(config, file)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            copy, dtype=torch.float32, attn_implementation="eager",
            experts_implementation="eager")
        return model.eval()


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mtp_logits(model, folder, expected):
    """transformers looks for its MTP layer under the number 61, so it is filled by hand here."""
    config = model.config
    mtp = transformers.modeling_layers.MtpModel(model, 1).eval()
    checkpoint = st.Checkpoint(folder)
    prefix = f"model.layers.{config.num_hidden_layers}."

    def tensor(name):
        return torch.from_numpy(checkpoint.read(prefix + name)).float()

    state = {}
    for name in mtp.layers[0].state_dict():
        if name.startswith("mtp_block.mlp.experts."):
            experts = [f"mlp.experts.{e}." for e in range(config.n_routed_experts)]
            parts = ("gate_proj", "up_proj") if "gate_up" in name else ("down_proj",)
            state[name] = torch.stack([
                torch.cat([tensor(f"{e}{part}.weight") for part in parts]) for e in experts])
        else:
            source = name.replace("mtp_block.", "").replace("post_norm", "shared_head.norm")
            state[name] = tensor(source)
    mtp.layers[0].load_state_dict(state)
    ids = torch.from_numpy(expected["prompt"].astype(np.int64))[None]
    next_ids = torch.cat([ids[:, 1:], torch.tensor([[int(expected["greedy"][0])]])], dim=1)
    positions = torch.arange(ids.shape[1])[None]
    with torch.no_grad():
        hidden = model.model(ids).last_hidden_state
        hidden = mtp.forward_layer(0, hidden, positions, None, input_ids=next_ids)
        return model.lm_head(hidden)[0, -N_PROMPT_SAVED:].double().numpy()


def compare(name):
    """-> (largest log-probability difference, greedy tokens equal)"""
    folder = os.path.join(GOLDEN, name)
    file = st.SafetensorsFile(os.path.join(folder, "expected.safetensors"))
    expected = {key: file.read(key) for key in file.header}
    model = load(folder)
    tokens = np.concatenate([expected["prompt"], expected["greedy"]]).astype(np.int64)
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens)[None]).logits[0].double().numpy()
        long = torch.from_numpy(expected["long_prompt"].astype(np.int64))[None]
        long_logits = model(long).logits[0, -1:].double().numpy()
    first = len(expected["prompt"]) - N_PROMPT_SAVED
    ours = np.concatenate([expected["logits_prompt"], expected["logits_decode"],
                           expected["logits_long"]])
    theirs = np.concatenate([logits[first:], long_logits])
    chosen = logits[len(expected["prompt"]) - 1:-1, :N_VOCAB].argmax(axis=-1)
    assert len(chosen) == N_DECODE
    if "logits_mtp" in expected:
        ours = np.concatenate([ours, expected["logits_mtp"]])
        theirs = np.concatenate([theirs, mtp_logits(model, folder, expected)])
    difference = np.abs(log_softmax(ours) - log_softmax(theirs)).max()
    return difference, bool((chosen == expected["greedy"]).all())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    names = arguments.names or [n for n, spec in FIXTURES.items() if spec[1] != "F8_E4M3"]
    failed = False
    for name in names:
        difference, same = compare(name)
        failed |= difference > LIMIT or not same
        print(f"{name:16} {difference:.1e} greedy {'equal' if same else 'DIFFERENT'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
