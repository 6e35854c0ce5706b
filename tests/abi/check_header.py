#!/usr/bin/env python3
"""Checks that fathom.h compiles alone, as every C and C++ a host may use, that its functions have
shapes that every language can call, and that the C programs of README.md and of the header compile.
Usage: check_header.py [COMPILER...]"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join(ROOT, "include", "fathom", "fathom.h")
README = os.path.join(ROOT, "README.md")

C_FLAGS = "-pedantic-errors -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Werror"
CXX_FLAGS = "-pedantic-errors -Wall -Wextra -Wshadow -Wconversion -Werror"
# Everything but what forbids C itself, a layout with holes, or C++ older than the one asked for.
CLANG_FLAGS = ("-Weverything -Wno-padded -Wno-c++98-compat -Wno-c++98-compat-pedantic "
               "-Wno-unsafe-buffer-usage -Wno-unknown-warning-option")
PARAMETERS_MAX = 8  # purego passes no more in registers.


def compile_text(compiler, standard, flags, text):
    """What the compiler says against a program, or nothing."""
    language = "c++" if "++" in standard else "c"
    with tempfile.NamedTemporaryFile("w", suffix=".c", delete=False) as file:
        file.write(text)
    try:
        run = subprocess.run([compiler, "-x", language, f"-std={standard}", "-fsyntax-only",
                              f"-I{ROOT}/include", *flags, file.name],
                             capture_output=True, text=True, check=False)
    finally:
        os.unlink(file.name)
    return run.stderr.strip() if run.returncode else ""


def compile_alone(compiler, standard):
    """Includes the header twice, nothing before it, and touches every macro by preprocessing."""
    flags = (CXX_FLAGS if "++" in standard else C_FLAGS).split()
    if "clang" in compiler:
        flags += CLANG_FLAGS.split()
    text = "#include <fathom/fathom.h>\n#include <fathom/fathom.h>\n"
    said = compile_text(compiler, standard, flags, text)
    if said:
        yield f"{compiler} -std={standard}: {said}"


def programs(header, readme):
    """The programs that a reader copies first, as (where, text)."""
    for text in re.findall(r"^```c\n(.*?)^```", readme, re.M | re.S):
        yield "README.md", text
    for text in re.findall(r"@code\n(.*?)@endcode", header, re.S):
        body = re.sub(r"^ \* ?", "", text, flags=re.M)
        yield "fathom.h", ("#include <fathom/fathom.h>\n#include <stdio.h>\n#include <string.h>\n"
                           "void whole(const char* folder, const char* text);\n"
                           "void whole(const char* folder, const char* text) {\n" + body + "}\n")


def compile_programs(compiler, found):
    for where in ("README.md", "fathom.h"):
        if where not in [place for place, _ in found]:
            yield f"{where} shows no C program"
    for where, text in found:
        said = compile_text(compiler, "c99", ["-Wall", "-pedantic-errors", "-Werror"], text)
        if said:
            yield f"the program in {where}: {compiler}: {said}"


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
        header = file.read()
    with open(README, encoding="utf-8") as file:
        shown = list(programs(header, file.read()))
    findings = list(lint(header))
    done = 0
    for compiler in compilers:
        if not shutil.which(compiler):
            findings.append(f"{compiler} is not installed")
            continue
        for standard in ("c99", "c11", "c17", "c++11", "c++14", "c++17", "c++20"):
            findings += compile_alone(compiler, standard)
            done += 1
        findings += compile_programs(compiler, shown)
    for finding in findings:
        print(f"fathom.h: {finding}")
    print(f"header: {len(findings)} findings, compiled {done} ways, {len(shown)} programs")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
