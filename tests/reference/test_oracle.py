#!/usr/bin/env python3
"""Tests of the oracle itself: python3 tests/reference/test_oracle.py (NumPy only, seconds)."""

import os
import tempfile
import unittest
from unittest import mock

import numpy as np

import make_fixtures
import make_operator_cases
import operators as op
import oracle
import safetensors_io as st
from fixture_specs import FIXTURES
from make_fixtures import GOLDEN, N_VOCAB, bf16_round
from oracle_config import normalise_config


def expected_of(name):
    file = st.SafetensorsFile(os.path.join(GOLDEN, name, "expected.safetensors"))
    return {key: file.read(key) for key in file.header}


def relative_l2(found, wanted):
    """Largest over the rows."""
    return (np.linalg.norm(found - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)).max()


def replay(model, expected):
    """Logits of the saved prompt positions and of all decode steps, in one pass."""
    tokens = np.concatenate([expected["prompt"], expected["greedy"]])
    logits = model.feed(model.start(), tokens)[0]
    return logits[len(expected["prompt"]) - len(expected["logits_prompt"]):]


def wanted_rows(expected):
    return np.concatenate([expected["logits_prompt"], expected["logits_decode"]])


class Codecs(unittest.TestCase):
    def test_f8_e4m3_values(self):
        """If it fails, FP8 weights are read wrongly. Points of the OCP 8-bit specification."""
        table = st.F8_E4M3_TABLE
        points = {0x00: 0.0, 0x01: 2.0 ** -9, 0x07: 7 * 2.0 ** -9, 0x08: 2.0 ** -6, 0x38: 1.0,
                  0x39: 1.125, 0x77: 240.0, 0x78: 256.0, 0x7E: 448.0, 0x81: -2.0 ** -9,
                  0xB8: -1.0, 0xFE: -448.0}
        for code, value in points.items():
            self.assertEqual(table[code], value, hex(code))
        self.assertEqual(list(np.flatnonzero(np.isnan(table))), [0x7F, 0xFF])
        self.assertTrue(np.signbit(table[0x80]))
        self.assertTrue((np.diff(table[:0x7F]) > 0).all())

    def test_f8_e4m3_rounding(self):
        """If it fails, quantised fixtures are not what a quantiser would write."""
        codes = np.array([c for c in range(256) if c & 0x7F != 0x7F], dtype=np.uint8)
        np.testing.assert_array_equal(st.encode_f8_e4m3(st.F8_E4M3_TABLE[codes]), codes)
        ties = {1.0625: 0x38, 1.1875: 0x3A, 2.0 ** -10: 0x00, 3 * 2.0 ** -10: 0x02, 432.0: 0x7E,
                1000.0: 0x7E, -1.0625: 0xB8}
        for value, code in ties.items():
            self.assertEqual(int(st.encode_f8_e4m3(np.array(value))), code, value)

    def test_bf16(self):
        """If it fails, BF16 weights are read or rounded wrongly."""
        codes = np.arange(65536, dtype=np.uint16)
        codes = codes[(codes & 0x7F80) != 0x7F80]
        np.testing.assert_array_equal(st.encode_bf16(st.decode("BF16", codes)), codes)
        one = 0x3F80
        self.assertEqual(int(st.encode_bf16(np.array(1.0 + 2.0 ** -8))), one)  # tie, to even
        self.assertEqual(int(st.encode_bf16(np.array(1.0 + 3 * 2.0 ** -8))), one + 2)
        above = 1.0 + 2.0 ** -8 + 2.0 ** -40  # float32 in between would make it a tie
        self.assertEqual(int(st.encode_bf16(np.array(above))), one + 1)

    def test_ragged_blocks(self):
        """If it fails, the last rows or columns of an FP8 weight take another block's scale."""
        scales = np.array([[1.0, 2.0], [3.0, 4.0]])
        weight = st.dequantise_blocks(np.ones((130, 129)), scales)
        self.assertEqual([weight[127, 127], weight[127, 128], weight[128, 127], weight[129, 128]],
                         [1.0, 2.0, 3.0, 4.0])
        with self.assertRaises(ValueError):
            st.dequantise_blocks(np.ones((256, 129)), np.ones((3, 2)))

    def test_power_of_two_scales(self):
        """If it fails, the V3.1 fixture does not hold V3.1's kind of scales."""
        shard = st.Checkpoint(os.path.join(GOLDEN, "v31-ue8m0"))
        scales = [shard.where[n].read(n) for n in shard.where if n.endswith("_scale_inv")]
        for scale in scales:
            self.assertTrue((np.frexp(scale)[0] == 0.5).all())


class Formulas(unittest.TestCase):
    def test_yarn_figures(self):
        """If it fails, YaRN differs from shared/reference/deepseek-architecture.md, 3.4."""
        rope = make_operator_cases.PUBLISHED_ROPE

        def bounds(name):
            return op.yarn_range(64, rope[name][2], rope[name][3])

        self.assertEqual(bounds("v2-lite"), (10, 23))
        self.assertEqual(bounds("v3"), (10, 23))
        self.assertEqual(bounds("kimi-k2"), (19, 20))
        scale = {name: op.softmax_scale(dn, dr, yarn) for name, (dn, dr, _, yarn) in rope.items()}
        self.assertAlmostEqual(scale["v2-lite"], 0.114721, places=6)
        self.assertAlmostEqual(scale["v3"], 0.135234, places=6)
        self.assertEqual(scale["glm47-flash"], 1 / 16)
        self.assertEqual(op.rope_multiplier(rope["v2-lite"][3]), 1.0)

    def test_equal_yarn_bounds(self):
        """If it fails, equal bounds divide by zero instead of making a step."""
        yarn = {"factor": 4, "original_max_position_embeddings": 8, "beta_fast": 32}
        self.assertEqual(op.yarn_range(64, 10.0 ** 30, yarn), (0, 1))
        yarn["original_max_position_embeddings"] = 6  # less than a turn: both bounds are 0
        self.assertEqual(op.yarn_range(64, 10000.0, yarn), (0, 0.001))
        self.assertTrue(np.isfinite(op.inverse_frequencies(64, 10000.0, yarn)).all())

    def test_config_spellings(self):
        """If it fails, one of the three spellings of YaRN in config.json is read differently."""
        base = make_fixtures.published_config("v3-f32")
        scaling = dict(base["rope_scaling"])
        renamed = {k: v for k, v in scaling.items() if k != "type"}
        new = {k: v for k, v in base.items() if k not in ("rope_scaling", "rope_theta")}
        variants = [
            base,
            {**base, "rope_scaling": {**renamed, "rope_type": "yarn"}},
            {**new, "rope_parameters": {**renamed, "rope_type": "yarn", "rope_theta": 10000}},
        ]
        frequencies = []
        for variant in variants:
            config = normalise_config(variant)
            frequencies.append(op.inverse_frequencies(16, config["rope_theta"], config["yarn"]))
        np.testing.assert_array_equal(frequencies[0], frequencies[1])
        np.testing.assert_array_equal(frequencies[0], frequencies[2])
        with self.assertRaises(ValueError):
            normalise_config({**base, "rope_scaling": {"type": "linear", "factor": 2}})


class Fixtures(unittest.TestCase):
    def assert_same_file(self, found, wanted):
        """Bytes of weights and ids; results to 1e-10: BLAS, exp and pow differ in the last bits
        between NumPy releases and machines, and a far position multiplies that by 100,000."""
        if os.path.basename(found) != "expected.safetensors" and "operators" not in found:
            with open(found, "rb") as a, open(wanted, "rb") as b:
                self.assertTrue(a.read() == b.read(), wanted)
            return
        a, b = st.SafetensorsFile(found), st.SafetensorsFile(wanted)
        self.assertEqual(a.header, b.header)
        for name in a.header:
            tolerance = 1e-10 if a.header[name]["dtype"] == "F64" else 0
            np.testing.assert_allclose(a.raw(name)[1], b.raw(name)[1], rtol=tolerance,
                                       atol=tolerance, err_msg=f"{wanted}: {name}")

    def assert_same_folder(self, found, wanted):
        self.assertEqual(sorted(os.listdir(found)), sorted(os.listdir(wanted)))
        for file in os.listdir(found):
            self.assert_same_file(os.path.join(found, file), os.path.join(wanted, file))

    def test_maker_reproduces_them(self):
        """If it fails, the committed fixtures are not what the maker makes."""
        prompts = make_fixtures.load_prompts()
        self.assertEqual(sorted(prompts), sorted(FIXTURES))
        with tempfile.TemporaryDirectory() as out:
            for name in FIXTURES:
                make_fixtures.make(name, out, prompts[name])  # asserts the margins, too
                self.assert_same_folder(os.path.join(out, name), os.path.join(GOLDEN, name))

    def test_maker_reproduces_operator_cases(self):
        """If it fails, the committed operator cases are not what the maker makes."""
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "operators")
            for name in make_operator_cases.CASES:
                make_operator_cases.make(name, out)
            self.assert_same_folder(out, os.path.join(GOLDEN, "operators"))

    def test_naive_equals_absorbed(self):
        """If it fails, one of the two forms of MLA is wrong. Chunks of 1 and 7 are fed as well."""
        for name in FIXTURES:
            expected = expected_of(name)
            model = oracle.Model(os.path.join(GOLDEN, name), "absorbed")
            self.assertLess(relative_l2(replay(model, expected), wanted_rows(expected)), 1e-12)
            state, prompt = model.start(), expected["prompt"]
            model.feed(state, prompt[:1])
            for begin in range(1, len(prompt), 7):
                logits = model.feed(state, prompt[begin:begin + 7])[0]
            self.assertLess(relative_l2(logits[-1:], expected["logits_prompt"][-1:]), 1e-12)

    def test_bf16_products_stay_within_the_bar(self):
        """If it fails, 1e-2 cannot be asked of a backend that multiplies in BF16."""
        for name in FIXTURES:
            expected = expected_of(name)
            model = oracle.Model(os.path.join(GOLDEN, name), round_input=bf16_round)
            rows = replay(model, expected)
            self.assertLess(relative_l2(rows, wanted_rows(expected)), 6e-3, name)
            first = len(expected["logits_prompt"]) - 1
            chosen = rows[first:-1, :N_VOCAB].argmax(axis=-1)
            np.testing.assert_array_equal(chosen, expected["greedy"], name)

    def test_padded_vocabulary_matters(self):
        """If it fails, a sampler that does not mask padded rows passes the V3 fixture."""
        expected = expected_of("v3-bf16")
        rows = np.concatenate([expected["logits_prompt"][-1:], expected["logits_decode"]])
        self.assertEqual(rows.shape[1], 288)
        self.assertTrue((rows.argmax(axis=-1) >= int(expected["n_vocab"][0])).any())


def half_split_rope(x, positions, theta, multiplier=1.0):
    half = x.shape[-1] // 2
    order = np.arange(2 * half).reshape(2, half).T.ravel()
    return ORIGINAL_ROPE(x[..., order], positions, theta, multiplier)[..., np.argsort(order)]


def keep_groups_with_zero(scores, group_scores, topk_group, fill):
    return np.where(np.isneginf(ORIGINAL_KEEP(scores, group_scores, topk_group, fill)), 0.0, scores)


def biased_weights(logits, bias, config):
    indices, weights, margin = ORIGINAL_V3(logits, bias, config)
    weights = np.take_along_axis(op.sigmoid(logits) + bias, indices, axis=1)
    return indices, weights / weights.sum(axis=-1, keepdims=True), margin


ORIGINAL_ROPE, ORIGINAL_KEEP, ORIGINAL_V3 = op.rope, op._keep_groups, op.router_v3
GROUPED = ("v2-groups-f32", "v3-f32")
YARN = ("v2-lite-f32", "v2-groups-f32", "v3-f32", "kimi-k2-f32")
SIGMOID = ("v3-f32", "moonlight-f32", "kimi-k2-f32", "glm47-flash-f32")


class Traps(unittest.TestCase):
    """Each known mistake must move the logits by ten times the fp32 bar of 1e-5 at least;
    if one of these fails, the fixtures would let that mistake pass."""

    def assert_noticed(self, names, change=lambda model: None, **patches):
        for name in names:
            expected = expected_of(name)
            model = oracle.Model(os.path.join(GOLDEN, name))
            change(model)
            with mock.patch.multiple(op, **patches) if patches else mock.MagicMock():
                rows = replay(model, expected)
            self.assertGreater(relative_l2(rows, wanted_rows(expected)), 1e-4, name)

    def test_mscale_squared(self):
        def change(model):
            c = model.config
            model.scale = (c["qk_nope_head_dim"] + c["qk_rope_head_dim"]) ** -0.5
        self.assert_noticed(YARN, change)

    def test_yarn_frequencies(self):
        def change(model):
            c = model.config
            model.theta = op.inverse_frequencies(c["qk_rope_head_dim"], c["rope_theta"])
        self.assert_noticed(YARN, change)

    def test_interleaved_rope(self):
        self.assert_noticed(("v2-lite-f32", "glm47-flash-f32"), rope=half_split_rope)

    def test_eps_of_latent_norms(self):
        for name in ("moonlight-f32", "glm47-flash-f32"):
            with mock.patch.object(oracle, "LORA_NORM_EPS", 1e-5):
                self.assert_noticed((name,))

    def test_group_limit(self):
        self.assert_noticed(GROUPED, lambda model: model.config.update(n_group=1,
                                                                       topk_method="greedy"))

    def test_masked_experts_are_minus_infinity(self):
        self.assert_noticed(("v3-f32",), _keep_groups=keep_groups_with_zero)

    def test_bias_only_selects(self):
        self.assert_noticed(SIGMOID, router_v3=biased_weights)

    def test_normalisation(self):
        def change(model):
            model.config["norm_topk_prob"] = not model.config["norm_topk_prob"]
        self.assert_noticed(SIGMOID + ("v2-lite-f32", "v2-groups-f32"), change)

    def test_routed_scale(self):
        self.assert_noticed(SIGMOID + ("v2-groups-f32",),
                            lambda model: model.config.update(routed_scaling_factor=1.0))

    def test_mtp_takes_the_embedding_first(self):
        expected = expected_of("v3-f32")
        model = oracle.Model(os.path.join(GOLDEN, "v3-f32"))
        eh_proj = "model.layers.3.eh_proj.weight"
        model.weights[eh_proj] = np.roll(model.weight(eh_proj), model.config["hidden_size"], 1)
        state = model.start()
        hidden = model.feed(state, expected["prompt"])[1]
        next_ids = np.append(expected["prompt"][1:], expected["greedy"][0])
        logits = model.mtp_logits(state, next_ids, hidden)[-4:]
        self.assertGreater(relative_l2(logits, expected["logits_mtp"]), 1e-4)


if __name__ == "__main__":
    unittest.main()
