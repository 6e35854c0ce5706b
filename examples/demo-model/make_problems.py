"""Writes the held-out test set: 1,000 calculations and 1,000 texts, none of them in training."""
import argparse
import json
import os
import random

import data


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--out", default="problems")
    args.add_argument("-n", type=int, default=1000)
    args = args.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name, make in (("arithmetic", data.arithmetic), ("json", data.extraction)):
        rng, seen = random.Random(31337), set()
        with open(f"{args.out}/{name}.jsonl", "w", encoding="utf-8") as f:
            while len(seen) < args.n:
                p = make(rng, "test")
                if p.user in seen:
                    continue
                seen.add(p.user)
                line = dict(kind=p.kind, user=p.user, thinking=p.mode == data.THINK,
                            answer=p.answer, completion=p.completion)
                f.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
