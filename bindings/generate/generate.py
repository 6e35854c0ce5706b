#!/usr/bin/env python3
"""Writes the raw layers of the bindings from include/fathom/fathom.h, or checks them.

    python3 bindings/generate/generate.py            # write all
    python3 bindings/generate/generate.py go         # write one
    python3 bindings/generate/generate.py --check    # fail when a file differs; write nothing

An emitter is a file beside this one with a function emit(header) that returns {path: text}, paths
from the root of the repository. It is given what header.py read, depends on nothing else and says
in each file that it is generated. Rust is not among them: its raw layer is bindgen's, and
bindings/rust/test.sh compares it.
"""

import argparse
import difflib
import importlib.util
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
sys.dont_write_bytecode = True

import header as header_parser  # noqa: E402

ROOT = header_parser.ROOT
EMITTERS = ("go", "java")
MARK = "generated"  # Every generated file says so near its beginning.
MARK_LINES = 5
SHOWN_LINES = 20


class EmitError(Exception):
    """An emitter breaks the agreement above."""


def load_emitter(name, folder=FOLDER):
    """The module FOLDER/name.py under a name of its own, so that it hides nothing of Python's."""
    path = os.path.join(folder, name + ".py")
    if not os.path.exists(path):
        raise EmitError(f"{path}: no such emitter")
    spec = importlib.util.spec_from_file_location("fathom_emitter_" + name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "emit", None)):
        raise EmitError(f"{path}: it has no function emit(header)")
    return module


def emitted(name, header, folder=FOLDER):
    """What the emitter wants to be in the tree, checked."""
    files = load_emitter(name, folder).emit(header)
    if not files:
        raise EmitError(f"{name}.py: it emits nothing")
    for path, text in files.items():
        if os.path.isabs(path) or ".." in path.split("/") or not path.startswith("bindings/"):
            raise EmitError(f"{name}.py: '{path}' is not a path under bindings/")
        if not any(MARK in line.lower() for line in text.split("\n")[:MARK_LINES]):
            raise EmitError(f"{name}.py: {path} does not say in its first {MARK_LINES} lines that "
                            f"it is {MARK}")
    return files


def read(path):
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def differences(files, root=ROOT):
    """One text for each file that differs from what is in the tree."""
    for path, wanted in sorted(files.items()):
        found = read(os.path.join(root, path))
        if found is None:
            yield f"{path}: not there"
        elif found != wanted:
            lines = list(difflib.unified_diff(found.splitlines(), wanted.splitlines(),
                                              path, "as fathom.h wants it", lineterm=""))
            more = len(lines) - SHOWN_LINES
            rest = [f"... and {more} lines more"] if more > 0 else []
            yield "\n".join([f"{path}: differs"] + lines[:SHOWN_LINES] + rest)


def write(files, root=ROOT):
    """Writes what differs, and nothing else, so that build systems see no change in vain."""
    for path, text in sorted(files.items()):
        at = os.path.join(root, path)
        if read(at) != text:
            os.makedirs(os.path.dirname(at), exist_ok=True)
            with open(at, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    parser.add_argument("emitters", nargs="*", help=f"of {', '.join(EMITTERS)}; all without")
    arguments = parser.parse_args()
    try:
        header = header_parser.load()
        files = {}
        for name in arguments.emitters or EMITTERS:
            files.update(emitted(name, header))
    except (header_parser.HeaderError, EmitError) as error:
        print(f"generate: {error}", file=sys.stderr)
        return 1
    if not arguments.check:
        write(files)
        return 0
    found = list(differences(files))
    for text in found:
        print(text)
    if found:
        print("run python3 bindings/generate/generate.py and look at what changed")
    print(f"generate: {len(files)} files compared, {len(found)} differ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
