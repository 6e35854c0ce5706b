#!/usr/bin/env python3
"""Prints 'passed failed skipped' of the test cases that a log speaks of: Catch2, unittest, and the
last lines of the bindings' test.sh."""

import re
import sys

# What ctest puts before each line of a test's output.
PREFIX = re.compile(r"^\d+: ", re.M)

LAST_LINE = re.compile(r"^(?:bindings|conformance|go|gateway|rust|java): (\d+) passed, (\d+) failed"
                       r"(?:, (\d+) skipped)?", re.M)


def count(text):
    passed = failed = skipped = 0
    text = PREFIX.sub("", text)
    for n in re.findall(r"^All tests passed \(.* in (\d+) test cases?\)", text, re.M):
        passed += int(n)
    for line in re.findall(r"^test cases:(.*)$", text, re.M):
        parts = {name: int(n) for n, name in re.findall(r"(\d+) (passed|failed|skipped)", line)}
        passed += parts.get("passed", 0)
        failed += parts.get("failed", 0)
        skipped += parts.get("skipped", 0)
    for n, rest in re.findall(r"^Ran (\d+) tests? in [^\n]*\n\n(OK|FAILED)[^\n]*", text, re.M):
        passed += int(n)
    for line in re.findall(r"^(?:OK|FAILED) \(([^)]*)\)$", text, re.M):
        parts = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", line)}
        bad = parts.get("failures", 0) + parts.get("errors", 0)
        passed -= bad + parts.get("skipped", 0)
        failed += bad
        skipped += parts.get("skipped", 0)
    for good, bad, left_out in LAST_LINE.findall(text):
        passed += int(good)
        failed += int(bad)
        skipped += int(left_out or 0)
    return passed, failed, skipped


def main():
    with open(sys.argv[1], encoding="utf-8", errors="replace") as file:
        print(*count(file.read()))


if __name__ == "__main__":
    main()
