"""Byte-level BPE of about 1,400 tokens, with the special tokens of DeepSeek-V3.1.

They have its order and its flags.

The pre-tokenizer is made so that what the model copies is spelt alike everywhere: a name is one
piece from its first capital on (its first word never takes a leading space), the groups of an id
(-48) and cents (.56) are pairs of digits, and every other digit stands alone.
"""
import argparse
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from tokenizers import normalizers, trainers

import data

VOCAB = 1500
FIRST = [data.BOS, data.EOS, data.PAD]
LAST = """<｜search▁begin｜> <｜search▁end｜> <think> </think> <｜fim▁hole｜> <｜fim▁begin｜> <｜fim▁end｜>
<｜User｜> <｜Assistant｜> <|EOT|> <｜tool▁calls▁begin｜> <｜tool▁calls▁end｜> <｜tool▁call▁begin｜>
<｜tool▁call▁end｜> <｜tool▁outputs▁begin｜> <｜tool▁outputs▁end｜> <｜tool▁output▁begin｜>
<｜tool▁output▁end｜> <｜tool▁sep｜>""".split()
# One alternation. A name is one piece from its first capital on; a full stop or comma takes the
# space after it when a capital or a digit follows, so that the next word starts without one.
PATTERN = (r"\p{Lu}\p{Ll}+(?: \p{Lu}\p{Ll}+)*| ?\p{Ll}+|\p{Lu}+|-\p{N}{2}|\.\p{N}{2}|\p{N}"
           r"|[.,:!?] (?=[\p{Lu}\p{N}])| ?[^\s\p{L}\p{N}]+|\s")
# For training alone: the words of a name apart, so that no merge reaches across the space.
NAME_WORD = r" \p{Lu}\p{Ll}+"


def splitter(*patterns):
    return pre_tokenizers.Sequence([
        *(pre_tokenizers.Split(Regex(p), "isolated") for p in patterns),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def texts(n):
    rng = random.Random(7)
    for _ in range(n):
        p = data.problem(rng, "train", (0.15, 0.80, 0.04, 0.01))
        yield p.user
        yield p.completion.replace(data.END_THINK, "\n")
    for _ in range(2 * n):  # Syllables and name parts get most of the merges.
        yield data.names.invented(rng) + " " + data.names.invented(rng)
    for name in data.names.FIRST + data.names.LAST:
        yield from [name + " " + name] * 16


def train(path, n):
    # The pairs of digits are in the vocabulary whatever the sample: each is wanted as one token.
    pairs = [mark + f"{i:02d}" for mark in "-." for i in range(100)]
    byte_tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = splitter(PATTERN, NAME_WORD)
    room = VOCAB - len(FIRST) - len(LAST) - len(pairs) - 20
    t.train_from_iterator(texts(n), trainers.BpeTrainer(
        vocab_size=room, initial_alphabet=byte_tokens, min_frequency=5, show_progress=False))
    learned = [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]
    learned = [m for m in learned if not any(c.isdigit() for c in "".join(m))]
    merges = [(mark, str(i)) for mark in "-." for i in range(10)]
    merges += [(mark + str(i), str(j)) for mark in "-." for i in range(10) for j in range(10)]
    merges += learned
    vocab = {token: i for i, token in enumerate(FIRST)}
    for token in byte_tokens + ["".join(m) for m in merges]:
        vocab.setdefault(token, len(vocab))
    for token in LAST:
        vocab[token] = len(vocab)
    plain = {k: v for k, v in vocab.items() if k not in LAST}
    t = Tokenizer(models.BPE(vocab=plain, merges=merges))
    document = json.loads(t.to_str())
    document["added_tokens"] = [
        dict(id=vocab[token], content=token, single_word=False, lstrip=False, rstrip=False,
             normalized=token not in FIRST, special=token in FIRST or token == "<|EOT|>")
        for token in FIRST + LAST]
    t = Tokenizer.from_str(json.dumps(document))
    t.normalizer = normalizers.Sequence([])
    t.pre_tokenizer = splitter(PATTERN)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    t.decoder = decoders.ByteLevel()
    t.save(path)
    return t


def report(t):
    rng, lengths = random.Random(99), {}
    for _ in range(3000):
        p = data.problem(rng, "dev", (0.5, 0.5, 0, 0), False)
        prompt, completion = t.encode(p.prompt).ids, t.encode(p.completion).ids
        assert t.decode(completion, skip_special_tokens=False) == p.completion
        lengths.setdefault(p.kind, []).append((len(prompt), len(completion)))
        if p.kind.startswith("json"):
            who = [v for k, v in json.loads(p.answer).items() if k in ("customer", "company")][0]
            spelt = str(t.encode(who).ids)[1:-1]
            assert spelt in str(prompt), (who, t.encode(p.prompt).tokens)
            assert spelt in str(completion), (who, t.encode(p.completion).tokens)
    for kind, pairs in sorted(lengths.items()):
        a, b = (sum(p[i] for p in pairs) / len(pairs) for i in (0, 1))
        print(f"{kind}: prompt {a:.0f}, completion {b:.0f}, most {max(x + y for x, y in pairs)}")
    counts = [len(t.encode(data.person(rng, "dev")).ids) for _ in range(500)]
    print("vocabulary", t.get_vocab_size(), "tokens in a full name: mean",
          sum(counts) / len(counts), "most", max(counts))


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", default="model/tokenizer.json")
    args.add_argument("--samples", type=int, default=20000)
    args = args.parse_args()
    report(train(args.out, args.samples))
