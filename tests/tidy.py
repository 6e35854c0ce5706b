#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not: python3 tests/tidy.py [--format]

Every finding is one line, 'path:line: what is wrong; what to do'. Exit status 1 if there is one.
With --format, files that deviate from .clang-format count as findings; otherwise they are reported.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Which folders a folder may include from; what those may include comes along.
LAYERS = {
    "base": [],
    "format": ["base"],
    "tokenizer": ["format"],
    "backend": ["base"],
    "model": ["backend", "format"],
    "dialect": ["tokenizer"],
    "grammar": ["tokenizer"],
    "engine": ["model", "dialect", "grammar"],
    "abi": ["engine"],
    "cli": [],
}
# The kernels live in a library of their own one day, so they see these headers and no others.
KERNEL_HEADERS = {
    "backend/ops.h", "backend/backend.h", "backend/plugin_abi.h",
    "base/tensor.h", "base/checked.h", "base/thread.h", "base/status.h",
}
# Third-party headers and the one file of each that may include them.
THIRD_PARTY = {
    "xxhash.h": "src/base/hash.cc",
    "pcre2.h": "src/tokenizer/",
    "utf8proc.h": "src/tokenizer/",
    "sentencepiece_processor.h": "src/tokenizer/",
    "rapidjson/": "src/format/",
    "nlohmann/": "src/cli/",
    "cuda.h": "kernels/cuda/cuda_api.h",
}
# Operating-system headers and where they may be. Prefixes end in '/'.
OS_HOMES = ["src/base/file.cc", "src/base/thread.", "src/backend/plugin.cc"]
# Stands in for functions of the C library itself, so it knows what they are made of.
LIBC_PART = "src/abi/glibc_floor.c"
OS_HEADERS = re.compile(
    r"^(fcntl|unistd|pthread|sched|dlfcn|signal|poll|spawn|termios|dirent)\.h$"
    r"|^(sys|linux|asm|arpa|netinet)/|^csignal$")
OS_EXTRA = {
    # A terminal or not, how wide it is, and Ctrl-C: the command is a program, not a guest.
    "src/cli/": {"unistd.h", "sys/ioctl.h", "csignal"},
    # The kernel is asked for permission to use AMX.
    "kernels/cpu/cpu_isa.cc": {"sys/syscall.h", "unistd.h", "asm/prctl.h"},
}
STD_HEADERS = set("""
algorithm any array atomic barrier bit bitset charconv chrono cinttypes climits cmath compare
concepts condition_variable cstddef cstdint cstdio cstdlib cstring ctime deque exception filesystem
functional future initializer_list iterator latch limits list map memory memory_resource mutex new
numbers numeric optional queue random ranges ratio semaphore set shared_mutex source_location span
stack stdexcept stop_token string string_view system_error thread tuple type_traits typeinfo
unordered_map unordered_set utility variant vector version
stdint.h stddef.h string.h stdlib.h stdio.h immintrin.h cpuid.h cfloat cerrno
""".split())

LIBRARY = r"^(src/(?!cli/)|kernels/|include/)"
PRODUCT = r"^(src/|kernels/|include/)"
# (pattern, where, except where, what to use instead). Comments and strings are blanked before.
BANNED = [
    (r"\bstd::w?regex\b|<regex>", PRODUCT, None,
     "PCRE2 with limits: std::regex overflows the stack"),
    (r"(?<![\w.>:])(abort|_?exit|_Exit|quick_exit)\s*\(|\bstd::(abort|exit|terminate|quick_exit)\b",
     PRODUCT, None, "throw Error with fail(): a guest never ends its host"),
    (r"(?<![\w_])assert\s*\(|<cassert>|<assert\.h>", PRODUCT, None,
     "fail(Status::kInternal, ...) or static_assert"),
    (r"\b(setlocale|uselocale)\s*\(|\bstd::locale\b|<locale>", PRODUCT, None,
     "nothing: locale belongs to the host"),
    (r"\b(setenv|putenv|unsetenv|clearenv)\s*\(", PRODUCT, None, "an option struct"),
    (r"\b(secure_)?getenv\s*\(", LIBRARY, None,
     "an option struct; only the command reads variables"),
    (r"(?<![\w.>])(signal|sigaction|sigaltstack|set_terminate|atexit)\s*\(", PRODUCT, r"^src/cli/",
     "nothing: signals and exit belong to the host"),
    (r"<(iostream|sstream|fstream|iomanip)>|\bstd::(cout|cerr|clog|cin|endl)\b", PRODUCT, None,
     "concat(), std::to_chars and the log hook (src/cli: stdio)"),
    (r"(?<![\w.>:])(printf|fprintf|puts|fputs|putchar|perror)\s*\(|\bstd(out|err)\b", LIBRARY, None,
     "the log hook: a guest prints nothing"),
    (r"\b(strto(d|f|ld|l|ll|ul|ull)|ato(i|l|ll|f)|sscanf|std::sto\w+)\s*\(", PRODUCT,
     None, "std::from_chars: it knows no locale"),
    (r"\bstd::to_string\s*\(", LIBRARY, None, "concat(): std::to_string asks the locale"),
    (r"(?<![\w.>])s?rand\s*\(|\bstd::random_device\b", PRODUCT, None,
     "a generator keyed by request seed and position"),
    (r"\b(dlopen|dlsym|dlclose|dlmopen)\s*\(", PRODUCT, r"^src/backend/plugin\.cc$",
     "src/backend/plugin.cc, the one loader"),
    (r"\b(pread|openat|mmap|ftruncate|fopen|creat)\s*\(|(?<!\w)::(open|read|write)\s*\(",
     PRODUCT, r"^src/base/file\.cc$|^src/base/thread\.cc$|^src/cli/",
     "base/file.h, the one place for files"),
    (r"\bpthread_\w+|\bstd::j?thread\b|\bstd::async\b|\bstd::this_thread::\w+", PRODUCT,
     r"^src/base/thread\.(h|cc)$", "base/thread.h: blocked signals, known stack, counted threads"),
    (r"\b(gets|strcpy|strcat|sprintf|vsprintf|alloca)\s*\(", PRODUCT, None,
     "std::string or a span"),
    (r"\busing namespace (?!fathom\b)[\w:]+", PRODUCT, None, "the full name"),
    (r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(", r"^tests/", r"^tests/host/",
     "a condition to wait for: a test does not sleep"),
]
# Words that no comment may hold either.
WORDS = [
    (r"\bTODO\b(?!\(#\d+\))|\b(FIXME|XXX|HACK)\b",
     r"^(src|kernels|include|tests|bindings|examples|cmake)/", "TODO(#issue), or do it now"),
]

CODE = (".h", ".c", ".cc", ".inl", ".cu", ".cuh")
TEXT = CODE + (".py", ".sh", ".cmake", ".go", ".rs", ".java", ".txt", ".map")
LINES_MAX_FILE = 500
LINES_MAX_FUNCTION = 70
COLUMNS_MAX = 100
LINES_AIM_PRODUCT = 15000  # An aim: the number is printed beside it, never a finding.
HEADER = "include/fathom/fathom.h"  # It is the manual too, so its length is free.
DATA = r"^tests/golden/|^examples/demo-model/model/|^tests/hostile/data/"

SKIP_REASONS = r"reference data|[Ss]anitizer|processor"

Finding = collections.namedtuple("Finding", "path line message")


def blank(text):
    """The C++ text with comments and literals turned into spaces; line breaks stay."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\s\\]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def reachable(layer):
    """The layers that `layer` may include from, itself among them."""
    seen, todo = set(), [layer]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += LAYERS[name]
    return seen


def check_include(path, name, quoted):
    """What is wrong with one #include of a product file, or None."""
    if name == "fathom/fathom.h":
        ok = path.startswith(("src/abi/", "src/cli/"))
        return None if ok else "only src/abi and src/cli include fathom.h"
    for prefix, home in THIRD_PARTY.items():
        if name.startswith(prefix):
            return None if path.startswith(home) else f"<{name}> belongs to {home}"
    if not quoted:
        extra = {h for home, heads in OS_EXTRA.items() if path.startswith(home) for h in heads}
        if OS_HEADERS.match(name) and name not in extra:
            ok = path.startswith(tuple(OS_HOMES))
            return None if ok else f"<{name}>: system calls live in {', '.join(OS_HOMES)}"
        if name in STD_HEADERS or name in extra or name == "cerrno":
            return None
        return f"<{name}> is neither a C++ header nor a known library; add it to tests/tidy.py"
    folder = name.split("/")[0]
    if path.startswith("kernels/"):
        ok = name in KERNEL_HEADERS or folder in ("cpu", "cuda")
        return None if ok else f"kernels include {', '.join(sorted(KERNEL_HEADERS))} only"
    if folder in ("cpu", "cuda"):
        return "nothing includes kernels; they fill the table of backend/ops.h"
    layer = path.split("/")[1]
    if folder not in LAYERS:
        return f'"{name}": write the path from src/, as "{layer}/..."'
    if layer in LAYERS and folder not in reachable(layer):
        return f"{layer} does not include {folder}: dependencies go down only"
    return None


def check_includes(path, text):
    if not re.match(PRODUCT, path) or not path.endswith(CODE) or path == LIBC_PART:
        return
    for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', text, re.M):
        message = check_include(path, m.group(1) or m.group(2), m.group(1) is not None)
        if message:
            yield Finding(path, line_of(text, m.start()), message)


def check_include_sites(files):
    """Each third-party library is included by one file."""
    sites = collections.defaultdict(set)
    for path, text in files:
        if re.match(PRODUCT, path):
            for name in re.findall(r"#include <([^>]+)>", text):
                for prefix in THIRD_PARTY:
                    if name.startswith(prefix):
                        sites[prefix].add(path)
    for prefix, paths in sorted(sites.items()):
        if len(paths) > 1:
            yield Finding(sorted(paths)[1], 1, f"<{prefix}> has more than one include site: "
                          f"{', '.join(sorted(paths))}")


def check_banned(path, text):
    if not path.endswith(CODE) or path == LIBC_PART:
        return
    # Include lines are judged too, so only comments and literals go.
    code = blank(text)
    for pattern, where, unless, instead in BANNED:
        if re.match(where, path) and not (unless and re.match(unless, path)):
            for m in re.finditer(pattern, code):
                yield Finding(path, line_of(code, m.start()),
                              f"'{m.group().strip()}' is banned; use {instead}")


def check_words(path, text):
    for pattern, where, instead in WORDS:
        if re.match(where, path) and not path.endswith(("tidy.py", "test_tidy.py")):
            for m in re.finditer(pattern, text):
                yield Finding(path, line_of(text, m.start()),
                              f"'{m.group()}' is banned; use {instead}")


def functions(text):
    """Yields (line of the signature, number of lines) of each function body, outermost only."""
    directive = re.compile(r"^[ \t]*#(?:.*\\\n)*.*", re.M)
    code = directive.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), blank(text))
    stack = []  # (kind, position of the header)
    start = 0
    for m in re.finditer(r"[{};]", code):
        position = m.start()
        if m.group() == "{":
            header = code[start:position]
            inside = any(kind == "function" for kind, _ in stack)
            at = start + len(header) - len(header.lstrip())
            if not inside and re.search(r"\)[^()=]*$|\)\s*:.*$", header, re.S) \
                    and not re.search(r"=\s*$", header):
                stack.append(("function", at))
            else:
                stack.append(("scope", at))
            start = position + 1
        elif m.group() == "}":
            if stack:
                kind, at = stack.pop()
                start = position + 1
                if kind == "function" and re.match(r"\s*[,{]", code[position + 1:]):
                    start = at  # Not a body: a braced member of a constructor's list.
                elif kind == "function":
                    yield line_of(code, at), code.count("\n", at, position) + 1
        else:
            start = position + 1


def check_sizes(path, text):
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        # A row of a Doxygen table and an address cannot be broken.
        if len(line) > COLUMNS_MAX and "http" not in line and not line.startswith(" * |"):
            yield Finding(path, number, f"{len(line)} columns; break the line at {COLUMNS_MAX}")
        if line != line.rstrip():
            yield Finding(path, number, "space at the end of the line; delete it")
        if "\t" in line and not path.endswith((".go", "Makefile")):
            yield Finding(path, number, "tab; use spaces")
    if text and not text.endswith("\n"):
        yield Finding(path, len(lines), "no line break at the end of the file; add it")
    if len(lines) - 1 > LINES_MAX_FILE and path != HEADER and path.endswith(CODE + (".py",)):
        yield Finding(path, 1, f"{len(lines) - 1} lines; split the file at {LINES_MAX_FILE}")
    if path.startswith("src/") and path.endswith(CODE):
        for number, length in functions(text):
            if length > LINES_MAX_FUNCTION:
                yield Finding(path, number, f"function of {length} lines; split it at "
                              f"{LINES_MAX_FUNCTION}")


def check_names(paths):
    """File names are unique in the tree, so that a name alone says which file is meant."""
    seen = collections.defaultdict(list)
    for path in paths:
        if path.endswith(CODE + (".py", ".sh", ".cmake")) and not re.match(r"^bindings/", path):
            seen[os.path.basename(path)].append(path)
    for name, places in sorted(seen.items()):
        if len(places) > 1:
            yield Finding(places[1], 1, f"the name {name} is taken by {places[0]}; rename one")


def check_token_path(readme, read_file):
    """The README lists the files that decide about a token, and the function in each.

    read_file(path) -> text, or None where there is no such file.
    """
    m = re.search(r"^#+[^\n]*path of a token[^\n]*\n(.*?)(?=^#|\Z)", readme, re.S | re.M | re.I)
    if not m:
        yield Finding("README.md", 1, "no section 'The path of a token'; give it one")
        return
    rows = re.findall(r"`((?:src|kernels|include)/[\w./-]+\.\w+)` \| `([\w:]+)`", m.group(1))
    line = line_of(readme, m.start())
    if not 1 <= len(rows) <= 12:
        yield Finding("README.md", line, f"the token path lists {len(rows)} files; 1 to 12")
    for path, function in rows:
        text = read_file(path)
        if text is None:
            yield Finding("README.md", line, f"the token path names {path}, which does not exist")
        elif not re.search(rf"\b{re.escape(function)}\(", text):
            yield Finding("README.md", line, f"the token path: {path} has no {function}")


def check_test_tags(header, cases):
    """A promise of fathom.h names the test that holds it: [T:part of a test case's name]."""
    tags = list(re.finditer(r"\[T:([^\]]*)\]", header))
    if not tags:
        yield Finding(HEADER, 1, "no [T:name] tag; the promises name their tests")
    for m in tags:
        name = re.sub(r"\s*\n\s*\*\s*", " ", m.group(1))
        if not any(name in case for case in cases):
            yield Finding(HEADER, line_of(header, m.start()), f"no test case '{name}'; name one")


def check_skips(path, text):
    """A skipped test is green, so only what cannot be had may be a reason for one."""
    if not path.startswith("tests/") or not path.endswith(CODE):
        return
    for m in re.finditer(r'\bSKIP\(\s*("[^"]*")?', text):
        if not re.search(SKIP_REASONS, m.group(1) or ""):
            yield Finding(path, line_of(text, m.start()), "skips a test; fail, or give a reason "
                          f"that names one of {SKIP_REASONS}")


def check_symbols(header, symbols, version_map):
    """fathom.h, the list of exported symbols and the linker's version script name the same set."""
    declared = set(re.findall(r"^FATHOM_API[^;(]*?\b(fathom_\w+)\s*\(", header, re.M))
    listed = set(symbols.split())
    mapped = set(re.findall(r"^\s+(fathom_\w+);", version_map, re.M))
    for path, names in (("tests/abi/symbols.txt", listed), ("src/abi/fathom.map", mapped)):
        for name in sorted(declared - names):
            yield Finding(path, 1, f"{name} is declared in fathom.h; add it")
        for name in sorted(names - declared):
            yield Finding(path, 1, f"{name} is not declared in fathom.h; remove it")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def all_paths():
    if shutil.which("git") and os.path.exists(os.path.join(ROOT, ".git")):
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout
        there = [p for p in set(out.split("\0")) if os.path.isfile(os.path.join(ROOT, p))]
        return sorted(there)
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in (".git", "build", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return sorted(found)


def check_format(paths):
    """The files that clang-format would change."""
    tool = shutil.which("clang-format-14")
    if not tool:
        print("tidy: clang-format-14 is not installed; formatting not checked")
        return
    code = [p for p in paths if p.endswith((".h", ".c", ".cc", ".inl"))]
    run = subprocess.run([tool, "--dry-run"] + code, cwd=ROOT, capture_output=True, text=True)
    first = {}
    warning = r"^([^:\n]+):(\d+):\d+: warning: code should be clang-formatted"
    for m in re.finditer(warning, run.stderr, re.M):
        first.setdefault(m.group(1), int(m.group(2)))
    for path, line in sorted(first.items()):
        yield Finding(path, line, "differs from .clang-format; run clang-format-14 -i")


def check_all():
    paths = [p for p in all_paths() if not re.match(DATA, p)]
    files = [(p, read(p)) for p in paths if p.endswith(TEXT) or os.path.basename(p) == "Makefile"]
    findings = list(check_names(paths)) + list(check_include_sites(files))
    for path, text in files:
        for check in (check_includes, check_banned, check_words, check_sizes, check_skips):
            findings += check(path, text)
    if "README.md" in paths:
        findings += check_token_path(
            read("README.md"),
            lambda p: read(p) if os.path.exists(os.path.join(ROOT, p)) else None)
    cases = [name for p, t in files if p.startswith("tests/")
             for name in re.findall(r'\bTEST_CASE\(\s*"([^"]*)"', t)]
    findings += check_test_tags(read(HEADER), cases)
    findings += check_symbols(read(HEADER), read("tests/abi/symbols.txt"),
                              read("src/abi/fathom.map"))
    product = sum(t.count("\n") for p, t in files if re.match(PRODUCT, p) and p.endswith(CODE))
    return paths, findings, product


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", action="store_true", help="deviations from .clang-format fail")
    strict = parser.parse_args().format
    paths, findings, product = check_all()
    formatting = list(check_format(paths))
    if strict:
        findings += formatting
    elif formatting:
        print(f"tidy: {len(formatting)} files differ from .clang-format (not counted)")
    for finding in sorted(findings):
        print(f"{finding.path}:{finding.line}: {finding.message}")
    print(f"tidy: {len(findings)} findings in {len(paths)} files; include + src + kernels: "
          f"{product} lines, aim {LINES_AIM_PRODUCT}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
