#!/usr/bin/env python3
"""Unpacks the reference tokenizers that lie beside the repository: unpack_shared.py SHARED OUT

Makes OUT/<name>/tokenizer.json and copies of the small files beside it, for each tokenizer in
SHARED/tokenizers. Without that folder it says so and succeeds: the tests then report themselves as
skipped. Files that are there already are left alone.
"""

import gzip
import os
import sys

NAMES = ["deepseek-v2", "deepseek-v2.5", "deepseek-v3", "deepseek-r1", "deepseek-v3.1"]
VOCABULARY = "ggml-vocab-llama-spm.gguf"


def write(path, data):
    temporary = path + ".part"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def unpack(source, target):
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)):
        plain = name[: -len(".gz")] if name.endswith(".gz") else name
        goal = os.path.join(target, plain)
        path = os.path.join(source, name)
        if not os.path.isfile(path) or os.path.exists(goal):
            continue
        if name.endswith(".gz"):
            with gzip.open(path) as file:
                write(goal, file.read())
        else:
            with open(path, "rb") as file:
                write(goal, file.read())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tokenizers = os.path.join(sys.argv[1], "tokenizers")
    if not os.path.isdir(tokenizers):
        print(f"SKIPPED: no {tokenizers}; the golden tests of tokenizers and dialects will not run")
        return
    for name in NAMES:
        unpack(os.path.join(tokenizers, name), os.path.join(sys.argv[2], name))
    for name in ("sentencepiece", "llama.cpp-vocabs", "chat-templates"):
        unpack(os.path.join(tokenizers, name), os.path.join(sys.argv[2], name))
    folder = os.path.join(sys.argv[2], "llama-spm")
    if not os.path.exists(os.path.join(folder, "tokenizer.model")):
        os.makedirs(folder, exist_ok=True)
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import gguf_vocab_to_sentencepiece

        with open(os.path.join(tokenizers, "llama.cpp-vocabs", VOCABULARY), "rb") as file:
            write(os.path.join(folder, "tokenizer.model"),
                  gguf_vocab_to_sentencepiece.convert(file.read()))


if __name__ == "__main__":
    main()
