#!/usr/bin/env python3
"""Draws as one SVG what cpu_bench printed: how near to the machine's limits it comes.

    bin/cpu_bench bf16 > bench.txt; bin/cpu_bench f8 >> bench.txt; bin/cpu_bench f32 >> bench.txt
    python3 tests/bench/report.py bench.txt docs/cpu-bench.svg

Every bar is the median of the rounds of one run, its whisker the least and the most; the dashed
lines are what the project asks for.
"""

import json
import sys

MEASURES = (("decode / bandwidth", "decode: weights read, of the bandwidth of the same run", 0.80),
            ("prefill / peak", "prefill of 512: multiply-adds, of the peak of the same run", 0.50))
WIDTH, LEFT, BAR, GAP = 720, 70, 26, 12
COLOURS = ("#2f6f9f", "#b5762a")


def read(path):
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith('{"bench":"cpu"'):
                row = json.loads(line)
                rows[row["dtype"], row["measure"]] = row
    if not rows:
        sys.exit(f"{path}: found no line of cpu_bench, wanted its JSON lines")
    return rows


def draw(rows):
    dtypes = list(dict.fromkeys(dtype for dtype, _ in rows))
    scale = WIDTH - LEFT - 130
    bars, lines, parts, y = [], [], [], 0

    def text(x, at, words, anchor="start", weight="normal"):
        parts.append(f'<text x="{x:.0f}" y="{at:.0f}" text-anchor="{anchor}" '
                     f'font-weight="{weight}">{words}</text>')

    for (measure, title, wanted), colour in zip(MEASURES, COLOURS):
        y += 30
        text(LEFT, y, title, weight="bold")
        y += 14
        top = y
        for dtype in dtypes:
            row = rows[dtype, measure]
            rate = rows[dtype, "decode" if measure.startswith("decode") else "prefill 512"]
            low, mid, high = (LEFT + scale * row[key] for key in ("min", "median", "max"))
            middle = y + BAR / 2
            bars.append(f'<rect x="{LEFT}" y="{y}" width="{mid - LEFT:.1f}" height="{BAR}" '
                         f'fill="{colour}"/>')
            parts.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222"/>')
            text(LEFT - 8, middle + 5, dtype, "end")
            label = f'{100 * row["median"]:.0f} %, {rate["median"]:.0f} tok/s'
            x = max(mid, high) + 8
            parts.append(f'<rect x="{x - 3:.0f}" y="{y}" width="{7.5 * len(label):.0f}" '
                         f'height="{BAR}" fill="white"/>')
            text(x, middle + 5, label)
            y += BAR + GAP
        x = LEFT + scale * wanted
        lines.append(f'<path d="M{x:.1f} {top - 6}V{y}" stroke="#222" stroke-dasharray="4 3"/>')
        text(x + 4, y + 6, f"asked: {100 * wanted:.0f} %")
    height = y + 24
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="13">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
            + "\n".join(bars + lines + parts) + "\n</svg>\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(read(sys.argv[1])))


if __name__ == "__main__":
    main()
