#!/usr/bin/env python3
"""Has C compilers confirm what header.py read: layout_probe.py [COMPILER...]

A program made from the dataclasses prints nothing when every size, offset, alignment, constant and
function type is what the compiler makes of fathom.h itself, and names each that is not.
"""

import os
import shutil
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, FOLDER)
sys.dont_write_bytecode = True

import header as header_parser  # noqa: E402

BEGIN = """\
#include <fathom/fathom.h>
#include <stddef.h>
#include <stdio.h>

static int wrong;

static void compare(const char* what, long long read, long long compiled) {
    if (read == compiled) return;
    ++wrong;
    printf("%s: header.py read %lld, the compiler has %lld\\n", what, read, compiled);
}

int main(void) {
"""
END = "    return wrong != 0;\n}\n"


def typed(function, name):
    """A pointer to a function of this type: the compiler refuses an address of another."""
    types = ", ".join(p.type for p in function.parameters) or "void"
    return f"{function.returns} (*{name})({types})"


def program(header):
    lines = []

    def compare(what, read, compiled):
        lines.append(f'    compare("{what}", {read}, (long long){compiled});\n')

    for struct in header.structs:
        compare(f"sizeof {struct.name}", struct.size, f"sizeof({struct.name})")
        compare(f"alignof {struct.name}", struct.alignment, f"_Alignof({struct.name})")
        for field in struct.fields:
            member = f"{struct.name}.{field.name}"
            compare(f"offset of {member}", field.offset, f"offsetof({struct.name}, {field.name})")
            compare(f"size of {member}", field.size,
                    f"sizeof((({struct.name}*)0)->{field.name})")
            if not field.type.startswith("char["):
                lines.append(f"    {{ {field.type}* of_field = &(({struct.name}*)0)->{field.name};"
                             " (void)of_field; }\n")
    for macro in header.macros:
        compare(macro.name, macro.value, macro.name)
        lines.append(f"    _Static_assert(_Generic({macro.name}, {macro.type}: 1, default: 0), "
                     f'"{macro.name} is no {macro.type}");\n')
    for function in header.functions:
        lines.append(f"    {{ {typed(function, 'of_type')} = {function.name}; (void)of_type; }}\n")
    for callback in header.callbacks.values():
        lines.append(f"    {{ {typed(callback, 'of_type')} = ({callback.name})0; "
                     f"{callback.name} same = of_type; (void)same; }}\n")
    return BEGIN + "".join(lines) + END


def stubs(header):
    """Definitions to link with, made from header.py's reading, so no library is needed."""
    lines = ["#include <fathom/fathom.h>\n"]
    for function in header.functions:
        types = ", ".join(f"{p.type} a{i}" for i, p in enumerate(function.parameters)) or "void"
        used = "".join(f"(void)a{i}; " for i in range(len(function.parameters)))
        result = "" if function.returns == "void" else "return 0; "
        lines.append(f"{function.returns} {function.name}({types}) {{ {used}{result}}}\n")
    return "".join(lines)


def differences(header, compiler="gcc"):
    """What the compiler sees otherwise, as text; empty when nothing."""
    with tempfile.TemporaryDirectory() as folder:
        sources = []
        for name, text in (("layout.c", program(header)), ("stubs.c", stubs(header))):
            sources.append(os.path.join(folder, name))
            with open(sources[-1], "w", encoding="utf-8") as file:
                file.write(text)
        binary = os.path.join(folder, "layout")
        built = subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror",
                                f"-I{header_parser.ROOT}/include", *sources, "-o", binary],
                               capture_output=True, text=True, check=False)
        if built.returncode:
            return built.stderr
        return subprocess.run([binary], capture_output=True, text=True, check=False).stdout


def main():
    header = header_parser.load()
    compilers = sys.argv[1:] or ["gcc"]
    found = 0
    for compiler in compilers:
        text = differences(header, compiler) if shutil.which(compiler) else "is not installed\n"
        if text:
            print(f"{compiler}: {text}", end="")
            found += 1
    n_fields = sum(len(struct.fields) for struct in header.structs)
    print(f"layout: {len(header.structs)} structs, {n_fields} fields, {len(header.macros)} "
          f"constants, {len(header.functions)} functions; {found} of {len(compilers)} compilers "
          "disagree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
