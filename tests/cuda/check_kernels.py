#!/usr/bin/env python3
"""Holds the compiled kernels to what their speed rests on: check_kernels.py CUOBJDUMP CUBIN...

No kernel spills registers (for sm_80, more than one), and those of a decode step keep enough bytes
in flight on a multiprocessor for memory to be busy: 40 KB, by the loads that a warp has under way
and the warps that fit. Prints one line a kernel that fails, and the smallest figures.
"""

import re
import subprocess
import sys

REGISTERS = 65536  # of a multiprocessor
WARPS = 64
SHARED = 164 * 1024  # the least of the architectures with a large L2: sm_80
WANTED = 40 * 1024
SPILLS_BEFORE_HOPPER = 2  # one register, once, outside every loop

# Kernel, threads a block, bytes that a block has under way, shared memory that the launch adds.
# linear and ffn: 4 loads of 16 bytes a lane for each of two rows. attend: two tiles of 16 tokens.
DECODE = [
    (r"_linear_1$", 128, 128 * 4 * 2 * 16, 0),
    (r"_ffn_(up|down)_1$", 128, 128 * 4 * 2 * 16, 0),
    (r"_linear_tensor_\d$", 256, 256 * 4 * 2 * 16, 0),
    (r"_ffn_tensor_up$", 256, 256 * 2 * 4 * 16, 0),
    (r"_ffn_tensor_down$", 256, 256 * 4 * 2 * 16, 0),
    (r"bf16_attend_512$", 256, 2 * 16 * 576 * 2, 3 * 16 * 576 * 2),
]


def usage(cuobjdump, cubin):
    """Yields kernel, registers, stack, shared bytes."""
    text = subprocess.run([cuobjdump, "-res-usage", cubin], capture_output=True, text=True,
                          check=True).stdout
    pattern = r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)"
    for name, registers, stack, shared, local in re.findall(pattern, text):
        yield name, int(registers), int(stack) + int(local), int(shared)


def spills(cuobjdump, cubin, name):
    """Loads and stores of local memory in a kernel's machine code. A stack alone proves nothing: it
    may be where the compiler keeps the state of diverging branches."""
    text = subprocess.run([cuobjdump, "-sass", "-fun", name, cubin], capture_output=True,
                          text=True, check=True).stdout
    return len(re.findall(r"\b(?:STL|LDL)\b", text))


def in_flight(registers, shared, threads, bytes_a_block):
    """Bytes that a multiprocessor has under way with as many blocks as fit."""
    warps = threads // 32
    a_warp = (registers * 32 + 255) // 256 * 256
    blocks = min(REGISTERS // (a_warp * warps), WARPS // warps, 32)
    if shared:
        blocks = min(blocks, SHARED // (shared + 1024))
    return blocks * bytes_a_block


def main():
    if len(sys.argv) < 3:
        print(__doc__.split("\n")[0], file=sys.stderr)
        return 2
    bad = 0
    seen = 0
    least = None
    for cubin in sys.argv[2:]:
        for name, registers, stack, shared in usage(sys.argv[1], cubin):
            seen += 1
            found = spills(sys.argv[1], cubin, name) if stack != 0 else 0
            if found > (0 if ".90a." in cubin else SPILLS_BEFORE_HOPPER):
                print(f"{cubin}: {name}: {found} accesses of local memory: registers spill")
                bad += 1
            for pattern, threads, bytes_a_block, extra in DECODE:
                if re.search(pattern, name):
                    found = in_flight(registers, shared + extra, threads, bytes_a_block)
                    least = min(least or (found, name), (found, name))
                    if found < WANTED:
                        print(f"{cubin}: {name}: {found} bytes in flight, wanted {WANTED}; "
                              f"{registers} registers, {shared + extra} bytes shared")
                        bad += 1
    print(f"{seen} kernels, {bad} findings; least in flight of a decode kernel: {least}")
    return 1 if bad or not seen or least is None else 0


if __name__ == "__main__":
    sys.exit(main())
