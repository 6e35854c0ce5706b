#!/usr/bin/env python3
"""Checks that fathom.h compiles alone, as every C and C++ a host may use, and that its functions
have shapes that every language can call. Usage: check_header.py [COMPILER...]"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(ROOT, "include", "fathom", "fathom.h")

C_FLAGS = "-pedantic-errors -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Werror"
CXX_FLAGS = "-pedantic-errors -Wall -Wextra -Wshadow -Wconversion -Werror"
# Everything but what forbids C itself, a layout with holes, or C++ older than the one asked for.
CLANG_FLAGS = ("-Weverything -Wno-padded -Wno-c++98-compat -Wno-c++98-compat-pedantic "
               "-Wno-unsafe-buffer-usage -Wno-unknown-warning-option")
PARAMETERS_MAX = 8  # purego passes no more in registers.


def compile_alone(compiler, standard):
    """Includes the header twice, nothing before it, and touches every macro by preprocessing."""
    language = "c++" if "++" in standard else "c"
    flags = (CXX_FLAGS if language == "c++" else C_FLAGS).split()
    if "clang" in compiler:
        flags += CLANG_FLAGS.split()
    text = "#include <fathom/fathom.h>\n#include <fathom/fathom.h>\n"
    with tempfile.NamedTemporaryFile("w", suffix=".c", delete=False) as file:
        file.write(text)
    try:
        run = subprocess.run([compiler, "-x", language, f"-std={standard}", "-fsyntax-only",
                              f"-I{ROOT}/include", *flags, file.name],
                             capture_output=True, text=True, check=False)
    finally:
        os.unlink(file.name)
    if run.returncode:
        yield f"{compiler} -std={standard}: {run.stderr.strip()}"


def lint(text):
    """What a binding generator or a foreign function interface stumbles over."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
    includes = set(re.findall(r"#\s*include\s*<([^>]+)>", code))
    if includes - {"stdint.h"}:
        yield f"includes {', '.join(sorted(includes))}; only <stdint.h> is wanted"
    if re.search(r"\benum\b|\bunion\b", code):
        yield "has an enum or a union: their size or layout differs between languages"
    structs = set(re.findall(r"\}\s*(fathom_\w+)\s*;", code))
    structs |= set(re.findall(r"typedef struct \w+ (fathom_\w+);", code))
    for m in re.finditer(r"^FATHOM_API\s+([^;]*?)\s*\b(fathom_\w+)\s*\(([^;]*?)\)\s*;", code,
                         re.M | re.S):
        result, name, inside = m.groups()
        parameters = [] if inside.strip() == "void" else inside.split(",")
        if len(parameters) > PARAMETERS_MAX:
            yield f"{name} has {len(parameters)} parameters; at most {PARAMETERS_MAX}"
        for part in [result] + parameters:
            words = set(re.findall(r"\w+", part))
            odd = words & {"bool", "_Bool", "size_t", "long", "int", "short", "unsigned", "wchar_t"}
            if odd or "..." in part:
                yield f"{name}: '{part.strip()}' has no fixed size in every language"
            if words & structs and "*" not in part:
                yield f"{name}: '{part.strip()}' passes a struct by value"
    for name, body in re.findall(r"typedef struct (fathom_\w+) \{(.*?)\} \w+;", code, re.S):
        if "struct_size" in body and not re.match(r"\s*uint32_t struct_size;", body):
            yield f"{name}: struct_size is not its first field"


def main():
    compilers = sys.argv[1:] or ["gcc", "clang-14"]
    with open(HEADER, encoding="utf-8") as file:
        findings = list(lint(file.read()))
    done = 0
    for compiler in compilers:
        if not shutil.which(compiler):
            findings.append(f"{compiler} is not installed")
            continue
        for standard in ("c99", "c11", "c17", "c++11", "c++14", "c++17", "c++20"):
            findings += compile_alone(compiler, standard)
            done += 1
    for finding in findings:
        print(f"fathom.h: {finding}")
    print(f"header: {len(findings)} findings, compiled {done} ways")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
