"""Reads and writes safetensors files with NumPy alone, and holds the number codecs.

The oracle must not share code with anything it judges, so neither the safetensors package nor a
half-precision library is used. BF16 and F8_E4M3 have no NumPy type: they travel as raw uint16 and
uint8 and are decoded here. Everything is decoded to float64, in which every stored value is exact.
"""

import json
import os
import struct

import numpy as np

RAW_TYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"), "F8_E4M3": np.dtype("u1"), "U8": np.dtype("u1"),
    "I32": np.dtype("<i4"), "I64": np.dtype("<i8"),
}


def f8_e4m3_table():
    """All 256 values of OCP FP8 E4M3 (the finite-only form, "fn"), straight from its definition.

    Sign bit, 4 exponent bits with bias 7, 3 mantissa bits; exponent 0 is subnormal; there are no
    infinities and S.1111.111 is the only NaN, so the largest value is 448.
    """
    table = np.empty(256)
    for code in range(256):
        sign = -1.0 if code & 0x80 else 1.0
        exponent, mantissa = (code >> 3) & 15, code & 7
        if exponent == 15 and mantissa == 7:
            table[code] = np.nan
        elif exponent == 0:
            table[code] = sign * mantissa * 2.0 ** -9
        else:
            table[code] = sign * (8 + mantissa) * 2.0 ** (exponent - 10)
    return table


F8_E4M3_TABLE = f8_e4m3_table()


def encode_f8_e4m3(values):
    """Rounds to the nearest E4M3 code, ties to the even code; magnitudes above 448 become 448."""
    values = np.asarray(values, dtype=np.float64)
    positive = F8_E4M3_TABLE[:127]  # 0 .. 448, ascending
    magnitude = np.minimum(np.abs(values), 448.0)
    upper = np.clip(np.searchsorted(positive, magnitude), 1, 126)
    lower = upper - 1
    to_lower = magnitude - positive[lower]
    to_upper = positive[upper] - magnitude
    take_lower = (to_lower < to_upper) | ((to_lower == to_upper) & (lower % 2 == 0))
    code = np.where(take_lower, lower, upper).astype(np.uint8)
    return code | np.where(np.signbit(values), 0x80, 0).astype(np.uint8)


def encode_bf16(values):
    """Rounds float64 to BF16, to nearest even, in one step (not through float32).

    Scaling by the power of two of the 8-bit significand makes np.rint the rounding; subnormals
    are handled because the exponent is clamped to that of the smallest normal number.
    """
    values = np.asarray(values, dtype=np.float64)
    _, exponent = np.frexp(values)
    step = np.ldexp(1.0, np.maximum(exponent, -125) - 8)
    rounded = (np.rint(values / step) * step).astype(np.float32)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def decode(dtype, raw):
    """Stored numbers to float64 (exact), integers unchanged."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if dtype == "F8_E4M3":
        return F8_E4M3_TABLE[raw]
    if dtype in ("F16", "F32", "F64"):
        return raw.astype(np.float64)
    return raw


def encode(dtype, values):
    """float64 to stored numbers; integers are only given their stored width."""
    if dtype == "BF16":
        return encode_bf16(values)
    if dtype == "F8_E4M3":
        return encode_f8_e4m3(values)
    return np.asarray(values).astype(RAW_TYPES[dtype])


def write_safetensors(path, tensors, metadata=None):
    """tensors: {name: (dtype, raw array as encode() returns it)}; the order given is kept."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, raw) in tensors.items():
        if raw.dtype != RAW_TYPES[dtype]:
            raise ValueError(f"{name}: {dtype} needs {RAW_TYPES[dtype]}, found {raw.dtype}")
        header[name] = {"dtype": dtype, "shape": list(raw.shape),
                        "data_offsets": [offset, offset + raw.nbytes]}
        offset += raw.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for _, raw in tensors.values():
            file.write(np.ascontiguousarray(raw).tobytes())


class SafetensorsFile:
    """One file; tensors are read when asked for."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self.header = json.loads(file.read(length))
        self.metadata = self.header.pop("__metadata__", {})
        self.data_start = 8 + length

    def raw(self, name):
        """-> (dtype, raw array)"""
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        dtype = RAW_TYPES[entry["dtype"]]
        shape = entry["shape"]
        if end - begin != dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"{self.path}: tensor '{name}': {end - begin} bytes for {shape}")
        with open(self.path, "rb") as file:
            file.seek(self.data_start + begin)
            raw = np.frombuffer(file.read(end - begin), dtype=dtype)
        return entry["dtype"], raw.reshape(shape)

    def read(self, name):
        return decode(*self.raw(name))


class Checkpoint:
    """A published folder: model.safetensors, or shards named by model.safetensors.index.json."""

    def __init__(self, folder, block_size=(128, 128)):
        self.block_size = block_size
        self.where = {}
        index = os.path.join(folder, "model.safetensors.index.json")
        if os.path.exists(index):
            with open(index, encoding="utf-8") as file:
                names = sorted(set(json.load(file)["weight_map"].values()))
        else:
            names = ["model.safetensors"]
        for name in names:
            shard = SafetensorsFile(os.path.join(folder, name))
            for tensor in shard.header:
                self.where[tensor] = shard

    def __contains__(self, name):
        return name in self.where

    def raw(self, name):
        return self.where[name].raw(name)

    def read(self, name):
        """float64 values; block scales, which may lie in another shard, are applied."""
        values = self.where[name].read(name)
        scale_name = name + "_scale_inv"
        if scale_name in self.where:
            values = dequantise_blocks(values, self.where[scale_name].read(scale_name),
                                       self.block_size)
        return values


def dequantise_blocks(values, scale_inv, block_size=(128, 128)):
    """w[r][c] = values[r][c] * scale_inv[r / 128][c / 128]. "inv" or not, it multiplies.

    The last block of a row or column may be ragged (576 rows are 4.5 blocks).
    """
    rows, columns = values.shape
    wanted = (-(-rows // block_size[0]), -(-columns // block_size[1]))
    if scale_inv.shape != wanted:
        raise ValueError(f"scale shape {scale_inv.shape}, weight {values.shape} needs {wanted}")
    row_block = np.arange(rows) // block_size[0]
    column_block = np.arange(columns) // block_size[1]
    return values * scale_inv[row_block[:, None], column_block[None, :]]


def quantise_blocks(values, block_size=(128, 128), power_of_two=False):
    """-> (codes uint8, scale_inv float32): amax / 448 per block; ue8m0 rounds it up to 2^n."""
    rows, columns = values.shape
    shape = (-(-rows // block_size[0]), -(-columns // block_size[1]))
    scale_inv = np.empty(shape, dtype=np.float32)
    for i in range(shape[0]):
        for j in range(shape[1]):
            block = values[i * block_size[0]:(i + 1) * block_size[0],
                           j * block_size[1]:(j + 1) * block_size[1]]
            scale = np.abs(block).max() / 448.0
            if power_of_two:
                mantissa, exponent = np.frexp(scale)
                scale = np.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)
            scale_inv[i, j] = scale
    row_block = np.arange(rows) // block_size[0]
    column_block = np.arange(columns) // block_size[1]
    scaled = values / scale_inv.astype(np.float64)[row_block[:, None], column_block[None, :]]
    return encode_f8_e4m3(scaled), scale_inv
