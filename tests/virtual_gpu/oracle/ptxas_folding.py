"""Compares the machine's arithmetic with ptxas': constants that it folds are in the machine code.

    ptxas_folding.py CUDA_HOME LIBCUDA [VALUES]

Writes a PTX module in which every kernel stores VALUES results of one operation on constants,
assembles it, reads from the disassembly those results that ptxas has computed itself, runs the same
PTX on the virtual GPU, and compares. Exit status 1 if anything differs or too little was folded.
"""
import ctypes
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

# Operation, its operands: r any word, b a small constant, L a table of lop3, h 16 bits, f a float,
# F a float to convert; and the kind of its result.
OPERATIONS = [
    ("prmt.b32", "rrr", "r"), ("bfi.b32", "rrbb", "r"), ("bfe.u32", "rbb", "r"),
    ("bfe.s32", "rbb", "r"), ("lop3.b32", "rrrL", "r"), ("shf.l.wrap.b32", "rrb", "r"),
    ("shf.r.clamp.b32", "rrb", "r"), ("popc.b32", "r", "r"), ("clz.b32", "r", "r"),
    ("brev.b32", "r", "r"), ("mul.hi.s32", "rr", "r"), ("mul.hi.u32", "rr", "r"),
    ("mul.lo.s32", "rr", "r"), ("mad.lo.s32", "rrr", "r"), ("add.s32", "rr", "r"),
    ("sub.s32", "rr", "r"), ("and.b32", "rr", "r"), ("or.b32", "rr", "r"), ("xor.b32", "rr", "r"),
    ("not.b32", "r", "r"), ("shl.b32", "rb", "r"), ("shr.s32", "rb", "r"), ("shr.u32", "rb", "r"),
    ("min.s32", "rr", "r"), ("max.s32", "rr", "r"), ("min.u32", "rr", "r"), ("max.u32", "rr", "r"),
    ("abs.s32", "r", "r"), ("neg.s32", "r", "r"), ("div.s32", "rr", "r"), ("div.u32", "rr", "r"),
    ("rem.s32", "rr", "r"), ("rem.u32", "rr", "r"), ("add.f32", "ff", "f"), ("sub.f32", "ff", "f"),
    ("mul.f32", "ff", "f"), ("add.rz.f32", "ff", "f"), ("add.rm.f32", "ff", "f"),
    ("mul.rp.f32", "ff", "f"), ("fma.rn.f32", "fff", "f"), ("fma.rm.f32", "fff", "f"),
    ("min.f32", "ff", "f"), ("max.f32", "ff", "f"), ("abs.f32", "f", "f"), ("neg.f32", "f", "f"),
    ("cvt.rni.s32.f32", "F", "r"), ("cvt.rzi.s32.f32", "F", "r"), ("cvt.rzi.u32.f32", "F", "r"),
    ("cvt.rn.f32.s32", "r", "f"), ("cvt.rn.f32.u32", "r", "f"), ("cvt.s32.s16", "h", "r"),
    ("cvt.u32.u8", "h", "r"), ("cvt.rn.bf16x2.f32", "ff", "r"), ("cvt.rn.f16x2.f32", "ff", "r"),
    ("div.rn.f32", "ff", "f"), ("rcp.rn.f32", "f", "f"), ("sqrt.rn.f32", "f", "f"),
]
FOLDED_MIN = 40  # Operations; ptxas 13.0 folds 44.


def bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def operand(kind, generator):
    word = generator.getrandbits(32)
    if kind == "r":
        return generator.choice([word, word & 0xFF, 0xFFFFFFFF, 0x80000000, word])
    if kind == "b":
        return generator.choice([generator.randrange(32), generator.randrange(70)])
    if kind == "L":
        return word & 0xFF
    if kind == "h":
        return word & 0xFFFF
    if kind == "F":
        return bits(generator.choice([0.5, 1.5, -2.5, 3e9, -1e10, 7.49, -0.5]))
    return bits(generator.choice([generator.uniform(-4, 4), generator.uniform(0.01, 300), 1.0, -0.0,
                                  1e-3, generator.uniform(-1, 1) * 1e30]))


def one_result(operation, values, place):
    """PTX that stores one result at place 'place' of the kernel's output."""
    name, kinds, result = operation
    lines, names = [], []
    for i, (kind, value) in enumerate(zip(kinds, values)):
        if kind in "Lb":
            names.append(str(value))
        elif kind == "h":
            lines.append(f"mov.b16 %h{i}, {value};")
            names.append(f"%h{i}")
        elif kind == "r":
            lines.append(f"mov.b32 %r{i}, {value};")
            names.append(f"%r{i}")
        else:
            lines.append(f"mov.b32 %f{i}, 0f{value:08X};")
            names.append(f"%f{i}")
    target = "%f9" if result == "f" else "%r9"
    lines.append(f"{name} {target}, {', '.join(names)};")
    kind = "f32" if result == "f" else "u32"
    lines.append(f"st.global.{kind} [%rd1+{4 * place}], {target};")
    return lines


def module(n_values):
    generator = random.Random(5)
    text = [".version 9.0", ".target sm_90a", ".address_size 64"]
    for number, operation in enumerate(OPERATIONS):
        text += [f".visible .entry k{number}(.param .u64 p) {{",
                 ".reg .b32 %r<10>; .reg .f32 %f<10>; .reg .b16 %h<10>; .reg .b64 %rd<2>;",
                 "ld.param.u64 %rd1, [p];"]
        for place in range(n_values):
            values = [operand(kind, generator) for kind in operation[1]]
            text += one_result(operation, values, place)
        text += ["ret;", "}"]
    return "\n".join(text) + "\n"


def immediate(text, registers):
    """The value of an operand of SASS, None if it is not known."""
    if re.match(r"^-?0x[0-9a-f]+$", text):
        return int(text, 16) & 0xFFFFFFFF
    if text in ("RZ", "URZ"):
        return 0
    try:
        return bits(float(text.replace("INF", "inf").replace("QNAN", "nan")))
    except ValueError:
        return registers.get(text)


def moved(opcode, operands, registers):
    """What an instruction puts into its register, if it only moves a constant."""
    if opcode.startswith("HFMA2") and len(operands) >= 5 and operands[1] in ("-RZ", "RZ"):
        try:
            halves = [struct.unpack("<H", struct.pack("<e", float(x)))[0] for x in operands[3:5]]
        except (ValueError, OverflowError):
            return None
        return halves[0] << 16 | halves[1]
    if opcode.startswith("IMAD"):
        is_move = operands[1] == "RZ" and operands[2] == "RZ"
        return immediate(operands[3], registers) if is_move else None
    return immediate(operands[1], registers)


def folded_results(sass):
    """The stores of constants in one kernel's disassembly: {place: value}."""
    registers, results = {}, {}
    for line in sass.splitlines():
        m = re.search(r"\*/\s+(?:@\S+\s+)?(\S+)\s+(.*?);", line)
        if not m:
            continue
        opcode, operands = m.group(1), [x.strip() for x in m.group(2).split(",")]
        if opcode.startswith(("IMAD.MOV", "MOV", "UMOV", "HFMA2", "IMAD.U32")):
            registers[operands[0]] = moved(opcode, operands, registers)
        elif opcode.startswith("STG"):
            offset = re.search(r"\+(0x[0-9a-f]+)\]", operands[0])
            value = immediate(operands[1], registers)
            if value is not None:
                results[int(offset.group(1), 16) // 4 if offset else 0] = value
        else:
            registers[operands[0]] = None
    return results


def folded(home, ptx, folder):
    source, cubin = os.path.join(folder, "o.ptx"), os.path.join(folder, "o.cubin")
    with open(source, "w", encoding="ascii") as file:
        file.write(ptx)
    subprocess.run([os.path.join(home, "bin/ptxas"), "-arch=sm_90a", "-O3", source, "-o", cubin],
                   check=True)
    sass = subprocess.run([os.path.join(home, "bin/cuobjdump"), "-sass", cubin], check=True,
                          capture_output=True, text=True).stdout
    parts = re.split(r"Function : k(\d+)\s", sass)
    return {int(number): folded_results(text) for number, text in zip(parts[1::2], parts[2::2])}


class VirtualGpu:
    """As much of the driver API as it takes to run the module."""

    def __init__(self, path, ptx):
        self.cuda = ctypes.CDLL(path)
        context, self.module = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)
        self.call("cuModuleLoadData", ctypes.byref(self.module), ptx.encode())

    def call(self, name, *arguments):
        result = getattr(self.cuda, name)(*arguments)
        if result != 0:
            raise RuntimeError(f"{name} returned {result}")

    def run(self, name, n_values):
        function, place = ctypes.c_void_p(), ctypes.c_uint64()
        self.call("cuModuleGetFunction", ctypes.byref(function), self.module, name.encode())
        self.call("cuMemAlloc_v2", ctypes.byref(place), ctypes.c_size_t(4 * n_values))
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(place))
        self.call("cuLaunchKernel", function, 1, 1, 1, 1, 1, 1, 0, None, arguments, None)
        out = (ctypes.c_uint32 * n_values)()
        self.call("cuMemcpyDtoH_v2", out, place, ctypes.c_size_t(4 * n_values))
        return list(out)


def main():
    home, library = sys.argv[1], sys.argv[2]
    n_values = int(sys.argv[3]) if len(sys.argv) > 3 else 24
    ptx = module(n_values)
    with tempfile.TemporaryDirectory() as folder:
        wanted = folded(home, ptx, folder)
    gpu = VirtualGpu(library, ptx)
    agreed, differing, operations = 0, [], 0
    for number, operation in enumerate(OPERATIONS):
        found = gpu.run(f"k{number}", n_values)
        results = wanted.get(number, {})
        operations += bool(results)
        for place, value in results.items():
            if found[place] == value:
                agreed += 1
            else:
                differing.append(f"{operation[0]} result {place}: ptxas {value:#010x}, "
                                 f"machine {found[place]:#010x}")
    print("\n".join(differing))
    left = [OPERATIONS[n][0] for n in range(len(OPERATIONS)) if not wanted.get(n)]
    print(f"folded by ptxas: {operations} of {len(OPERATIONS)} operations; {agreed} values agree, "
          f"{len(differing)} differ; not folded: {', '.join(left)}")
    return 1 if differing or operations < FOLDED_MIN else 0


if __name__ == "__main__":
    sys.exit(main())
