#!/usr/bin/env python3
"""Predicts from counters how long a step takes on an H100 SXM. PREDICTED, NOT MEASURED.

    predict_time.py COUNTERS.json [--section NAME]

For each section: the largest of what device memory must deliver, the shared memory's wavefronts,
the tensor cores' products and the issue slots, over all 132 multiprocessors as if work were spread
evenly, plus a microsecond a kernel that depends on the one before. A lower bound: stalls, caches
and occupancy are not in it.
"""
import argparse
import json

BYTES_A_SECOND = 3.35e12
MULTIPROCESSORS = 132
CLOCK = 1.755e9           # Hz, boost of the SXM card.
ISSUES_A_CLOCK = 4        # Warp instructions a multiprocessor.
WAVEFRONTS_A_CLOCK = 1    # Of 128 bytes, a multiprocessor.
FLOPS_A_SECOND = 989e12   # Dense BF16; an upper bound for mma.sync, which reaches about 62 % of it.
SECONDS_A_NODE = 1e-6


def times(section):
    total = section["total"]
    rate = MULTIPROCESSORS * CLOCK
    written = total["unique_sectors"] - total["unique_reads"]
    return {
        "memory": 32 * (total["step_reads"] + written) / BYTES_A_SECOND,
        "shared": total["wavefronts"] / (rate * WAVEFRONTS_A_CLOCK),
        "products": total["flops"] / FLOPS_A_SECOND,
        "issue": total["warp_instructions"] / (rate * ISSUES_A_CLOCK),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("counters")
    parser.add_argument("--section")
    options = parser.parse_args()
    with open(options.counters, encoding="utf-8") as file:
        devices = json.load(file)["devices"]
    print("predicted, not measured; microseconds each time the section ran")
    print(f"{'device':6} {'section':20} {'memory':>9} {'shared':>9} {'products':>9} {'issue':>9} "
          f"{'nodes':>6} {'in all':>9} {'x memory':>8}")
    for device in devices:
        for section in device["sections"]:
            if options.section not in (None, section["name"]) or not section["kernels_run"]:
                continue
            n = max(section["times"], 1)
            parts = {name: 1e6 * value / n for name, value in times(section).items()}
            nodes = section["kernels_run"] / n
            all_us = max(parts.values()) + nodes * SECONDS_A_NODE * 1e6
            ratio = all_us / parts["memory"] if parts["memory"] else float("inf")
            print(f"{device['device']:<6} {section['name'] or '(none)':20} "
                  + " ".join(f"{value:9.2f}" for value in parts.values())
                  + f" {nodes:6.1f} {all_us:9.2f} {ratio:8.2f}")


if __name__ == "__main__":
    main()
