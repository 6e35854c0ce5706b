#!/usr/bin/env python3
"""Checks what a built libfathom.so shows to a host: check_library.py LIBRARY [OBJECT_FOLDER]

Exports, imports, needed libraries, thread-local storage, relocations and the version of glibc that
it asks for. With OBJECT_FOLDER also that no object of ours (as opposed to the C++ runtime or a
library linked in) ends the process, prints, or has a static object with a destructor.
"""

import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

NEEDED = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libdl.so.2"}

GLIBC_FLOOR = (2, 31)  # What is promised; src/abi/glibc_floor.c is how it is kept.

# Imports that no host wants to see, and the reason where one is there all the same.
BANNED = {
    "abort", "exit", "_exit", "_Exit", "quick_exit", "__assert_fail", "atexit", "raise", "kill",
    "setenv", "putenv", "unsetenv", "signal", "sigaction", "bsd_signal", "sigaltstack", "setlocale",
    "fork", "execve", "system", "popen", "printf", "puts", "putchar", "perror", "getenv",
    "secure_getenv", "strtod", "strtof", "socket", "connect", "bind", "getaddrinfo", "umask",
    "chdir", "setrlimit", "fesetenv", "fesetround", "rand", "srand",
}
ALLOWED = {
    "abort": "libstdc++ and libgcc, after std::terminate or a broken unwind table; none of our own "
             "objects calls it (checked below)",
    "__assert_fail": "libstdc++'s std::to_chars for floating point; its assertions state what its "
                     "own tables guarantee. None of our own objects calls it",
    "getenv": "libstdc++'s emergency pool reads GLIBCXX_TUNABLES at load in newer versions",
    "secure_getenv": "the same",
}
# What an object of ours must not call. std::terminate is not among them: the compiler puts it into
# every noexcept function that calls one which is not; tests/tidy.py sees it written out.
BANNED_IN_OBJECTS = BANNED | {
    "_ZSt4cout", "_ZSt4cerr", "_ZSt4clog", "stdout", "stderr", "__cxa_atexit",
    "__cxa_thread_atexit", "fprintf", "fputs",
}
OBJECTS_MIN = 50  # Fewer are not the library: the folder is wrong or its layout has changed.
# (file name pattern, symbol): why that object may.
OBJECTS_ALLOWED = {}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_exports(library):
    out = run("nm", "-D", "--defined-only", library)
    names = {m.group(1) for m in re.finditer(r"^\w+ [A-Za-z] ([^@\s]+)", out, re.M)}
    names -= {"FATHOM_1.0"}
    with open(os.path.join(HERE, "symbols.txt"), encoding="utf-8") as file:
        wanted = set(file.read().split())
    for name in sorted(names - wanted):
        yield f"exports {name}, which tests/abi/symbols.txt does not list"
    for name in sorted(wanted - names):
        yield f"does not export {name}, which tests/abi/symbols.txt lists"


def check_imports(library):
    out = run("nm", "-D", "--undefined-only", library)
    for name in re.findall(r"^\s+[Uw] ([^@\s]+)", out, re.M):
        if name in BANNED and name not in ALLOWED:
            yield f"imports {name}"
        if re.search(r"protobuf|absl|sentencepiece|utf8proc|pcre2|GLIBCXX", name):
            yield f"imports {name}: a part that should be linked in is not"


def check_dynamic(library):
    out = run("readelf", "-dW", library)
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", out):
        if name not in NEEDED:
            yield f"needs {name}; allowed: {', '.join(sorted(NEEDED))}"
    soname = re.search(r"\(SONAME\).*\[(.*)\]", out)
    if not soname or soname.group(1) != "libfathom.so.1":
        yield f"SONAME is {soname and soname.group(1)}, wanted libfathom.so.1"
    for flag in ("STATIC_TLS", "TEXTREL", "(RPATH)", "(RUNPATH)"):
        if flag in out:
            yield f"has {flag}: it cannot be loaded everywhere"
    for flag in ("NOW", "NODELETE", "SYMBOLIC"):
        if not re.search(rf"\bFLAGS.*\b{flag}\b|\({flag}\)", out):
            yield f"lacks {flag}"
    stack = re.search(r"GNU_STACK.*\s([RWE]+)\s+0x\w+$", run("readelf", "-lW", library), re.M)
    if not stack or "E" in stack.group(1):
        yield "has an executable stack"


def glibc_imports(library):
    """Pairs of a glibc version, as numbers, and a name imported in that version."""
    out = run("nm", "-D", "--undefined-only", library)
    return [(tuple(map(int, version.split("."))), name)
            for name, version in re.findall(r"^\s+[Uw] ([^@\s]+)@GLIBC_([\d.]+)", out, re.M)]


def check_glibc(library):
    for version, name in glibc_imports(library):
        if version > GLIBC_FLOOR:
            yield (f"imports {name} of glibc {'.'.join(map(str, version))}; the floor is "
                   f"{'.'.join(map(str, GLIBC_FLOOR))}: see src/abi/glibc_floor.c")


def check_objects(folder):
    """Our objects by what they call; the libraries linked in are archives and do not count."""
    n_objects = 0
    for root, _, names in os.walk(folder):
        if not re.search(r"/(src|kernels)/", root + "/") or "/cli/" in root + "/":
            continue
        for name in (n for n in names if n.endswith(".o")):
            path = os.path.join(root, name)
            n_objects += 1
            for symbol in re.findall(r"^\s+U (\S+)", run("nm", "-u", path), re.M):
                if symbol in BANNED_IN_OBJECTS and (name, symbol) not in OBJECTS_ALLOWED:
                    yield f"{os.path.relpath(path, folder)} calls {symbol}"
            # The linker keeps one copy of a weak symbol, and it may be the one that was compiled
            # for a processor that this machine is not.
            if name.startswith("isa_"):
                for symbol in re.findall(r"^\w* +[WVu] (\S+)", run("nm", path), re.M):
                    yield f"{os.path.relpath(path, folder)} has the weak symbol {symbol}"
    if n_objects < OBJECTS_MIN:
        yield f"{folder} has {n_objects} objects of ours, wanted at least {OBJECTS_MIN} to look at"


def main():
    library = sys.argv[1]
    findings = []
    for check in (check_exports, check_imports, check_dynamic, check_glibc):
        findings += check(library)
    if len(sys.argv) > 2:
        findings += check_objects(sys.argv[2])
    for finding in findings:
        print(f"{os.path.basename(library)}: {finding}")
    top = max(version for version, _ in glibc_imports(library))
    print(f"library: {len(findings)} findings, {os.path.getsize(library)} bytes, needs glibc "
          f"{'.'.join(map(str, top))}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
