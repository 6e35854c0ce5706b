#!/usr/bin/env python3
"""Writes the SentencePiece vocabulary inside a GGUF as a .model: IN.gguf OUT.model

The GGUF keeps pieces, scores and types; the rest of the model is what Llama 2 was trained with:
BPE, byte fallback, identity normaliser, a space put before the text, runs of spaces kept. The
protobuf is written by hand, field by field, as sentencepiece_model.proto numbers them.
"""

import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}


class Reader:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def scalar(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        size = self.scalar("Q")
        self.at += size
        return self.data[self.at - size : self.at]

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner = self.scalar("I")
            return [self.value(inner) for _ in range(self.scalar("Q"))]
        return self.scalar(SCALARS[kind])


def metadata(data):
    reader = Reader(data)
    if data[:4] != b"GGUF":
        raise ValueError("no GGUF")
    reader.at = 8
    reader.scalar("Q")
    out = {}
    for _ in range(reader.scalar("Q")):
        key = reader.text().decode()
        out[key] = reader.value(reader.scalar("I"))
    return out


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def chunk(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def convert(data):
    fields = metadata(data)
    out = bytearray()
    for piece, score, kind in zip(fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.scores"],
                                  fields["tokenizer.ggml.token_type"]):
        body = chunk(1, piece) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind)
        out += chunk(1, body)
    trainer = number(3, 2) + number(35, 1)  # model_type = BPE, byte_fallback
    trainer += number(40, fields.get("tokenizer.ggml.unknown_token_id", 0))
    trainer += number(41, fields.get("tokenizer.ggml.bos_token_id", 1))
    trainer += number(42, fields.get("tokenizer.ggml.eos_token_id", 2))
    normalizer = chunk(1, b"identity")
    normalizer += number(3, 1) + number(4, 0) + number(5, 1)  # dummy prefix, spaces kept, escaped
    return bytes(out) + chunk(2, trainer) + chunk(3, normalizer)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    with open(sys.argv[2], "wb") as file:
        file.write(convert(data))


if __name__ == "__main__":
    main()
