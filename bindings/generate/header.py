"""Reads include/fathom/fathom.h and fails on any declaration that it does not know.

The language emitters beside this file (go.py, java.py) write the raw layers from what parse()
returns, so a header that this file accepts is one that every language can call: scalars of fixed
size, pointers, handles, size-first structs, callbacks behind a typedef; no struct by value, no
enum, no variable arguments. Sizes and offsets are those of every 64-bit ABI with natural alignment;
layout_probe.py has a C compiler confirm them.

    from header import load
    header = load()
    for function in header.functions: print(function.name, [p.type for p in function.parameters])

Types are spelt one way: 'int32_t', 'const char*', 'fathom_stream* const*', 'char[96]'.
"""

import dataclasses
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, "include", "fathom", "fathom.h")

# Size and alignment of the scalars that the interface may use.
SCALARS = {"int32_t": 4, "uint32_t": 4, "int64_t": 8, "uint64_t": 8, "float": 4, "double": 8}
POINTER = 8
# What a constant may be about; the section "Status codes" needs no prefix.
GROUPS = ("ABI", "STRUCT", "DEVICE", "MODE", "CPU", "LOG", "KV", "ENCODE", "DECODE", "ROLE",
          "THINKING", "GENERATE", "EVENT", "FINISH")
STATUS_SECTION = "Status codes"
PARAMETERS_MAX = 8  # No more travel in registers through every foreign function interface.

# What stands before the first and behind the last declaration, white space apart.
OPENING = """#ifndef FATHOM_FATHOM_H_ #define FATHOM_FATHOM_H_ #include <stdint.h>
#if defined(__GNUC__) #define FATHOM_API __attribute__((visibility("default"))) #else
/** Marks an exported function. */ #define FATHOM_API #endif
#ifdef __cplusplus extern "C" { #endif"""
CLOSING = "#ifdef __cplusplus } #endif #endif /* FATHOM_FATHOM_H_ */"


class HeaderError(Exception):
    """A declaration that this file does not know: what, where, wanted."""


@dataclasses.dataclass(frozen=True)
class Macro:
    """A constant. group: 'STATUS' or one of GROUPS."""
    name: str
    type: str
    value: int
    group: str
    section: str
    doc: str
    line: int


@dataclasses.dataclass(frozen=True)
class Parameter:
    name: str
    type: str
    doc: str


@dataclasses.dataclass(frozen=True)
class Function:
    """doc is the text before @param; returns_doc that of @return; statuses those it names."""
    name: str
    returns: str
    parameters: tuple
    section: str
    doc: str
    returns_doc: str
    statuses: tuple
    line: int

    @property
    def fallible(self):
        return bool(self.parameters) and self.parameters[-1].type == "fathom_error**"


@dataclasses.dataclass(frozen=True)
class Callback:
    """A function pointer type. Its parameters are spelt as those of a function."""
    name: str
    returns: str
    parameters: tuple
    section: str
    doc: str
    returns_doc: str
    line: int


@dataclasses.dataclass(frozen=True)
class Field:
    """offset and size in bytes on 64-bit machines."""
    name: str
    type: str
    offset: int
    size: int
    doc: str


@dataclasses.dataclass(frozen=True)
class Struct:
    """sized: begins with struct_size. id: its FATHOM_STRUCT_* value, None when not sized."""
    name: str
    fields: tuple
    size: int
    alignment: int
    sized: bool
    id: int
    section: str
    doc: str
    line: int


@dataclasses.dataclass(frozen=True)
class Header:
    """Everything in the order of the file. handles: name to doc; callbacks: name to Callback."""
    macros: tuple
    handles: dict
    structs: tuple
    callbacks: dict
    functions: tuple

    def group(self, name):
        """The constants of one group, 'STATUS' for instance."""
        return tuple(macro for macro in self.macros if macro.group == name)

    def struct(self, name):
        return next(struct for struct in self.structs if struct.name == name)

    def function(self, name):
        return next(function for function in self.functions if function.name == name)


TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<trailing>/\*\*<.*?\*/)"
    r"|(?P<doc>/\*\*.*?\*/)"
    r"|(?P<section>/\* -+\n \* (?P<title>[^\n]+)\n \* -+ \*/)"
    r"|(?P<define>#define (?P<macro>\w+) (?P<value>[^\n]*)\n)"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<number>\d+)"
    r"|(?P<mark>[(){}\[\];,*])", re.S)
VALUE = re.compile(r"\(\((?P<type>u?int(?:32|64)_t)\)(?P<number>0x[0-9a-fA-F]+|-?\d+)\)")


def plain(comment):
    """The text of a doc comment: no stars, line breaks kept."""
    text = re.sub(r"^/\*\*<?|\*/$", "", comment)
    return "\n".join(re.sub(r"^\s*\*? ?", "", line).rstrip() for line in text.split("\n")).strip()


def joined(text):
    return " ".join(text.split())


def between(text):
    """The declarations, and the line that they begin at."""
    def pattern(known):
        return r"\s+".join(re.escape(part) for part in known.split())

    # The guard and its company are compared as a whole, so nothing can hide among them.
    head = re.match(r"/\*\*(?:.(?!\*/))*.\*/\s*" + pattern(OPENING), text, re.S)
    if not head:
        raise HeaderError("fathom.h: it does not begin as OPENING in header.py has it")
    tail = re.search(pattern(CLOSING) + r"\s*\Z", text)
    if not tail:
        raise HeaderError("fathom.h: it does not end as CLOSING in header.py has it")
    return text[head.end():tail.start()], text.count("\n", 0, head.end()) + 1


class Reader:
    """The tokens of the declarations, one at a time."""

    def __init__(self, text):
        body, line = between(text)
        self.tokens, self.at = [], 0
        position = 0
        while position < len(body):
            match = TOKEN.match(body, position)
            if not match:
                found = body[position:].split("\n")[0]
                raise HeaderError(f"fathom.h:{line}: '{found}' is nothing that header.py knows")
            if match.lastgroup != "space" or not match["space"]:
                kind = next(k for k in ("trailing", "doc", "section", "define", "word", "number",
                                        "mark") if match[k])
                self.tokens.append((kind, match, line))
            line += match.group().count("\n")
            position = match.end()
        self.line = line

    @property
    def kind(self):
        return self.tokens[self.at][0] if self.at < len(self.tokens) else "end"

    @property
    def text(self):
        return self.tokens[self.at][1].group() if self.at < len(self.tokens) else "the end"

    @property
    def place(self):
        return self.tokens[self.at][2] if self.at < len(self.tokens) else self.line

    def next(self):
        token = self.tokens[self.at]
        self.at += 1
        return token[1]

    def fail(self, wanted):
        found = self.text.split("\n")[0]
        raise HeaderError(f"fathom.h:{self.place}: found '{found}', wanted {wanted}")

    def take(self, text):
        if self.text != text:
            self.fail(f"'{text}'")
        self.next()

    def maybe(self, text):
        if self.text == text and self.kind in ("word", "mark"):
            self.next()
            return True
        return False

    def name(self, wanted):
        if self.kind != "word" or self.text in ("const", "struct", "enum", "union", "void"):
            self.fail(wanted)
        return self.next().group()


class Parser:
    def __init__(self, text):
        self.reader = Reader(text)
        self.section, self.doc, self.doc_line = "", None, 0
        self.macros, self.handles, self.structs = [], {}, []
        self.callbacks, self.functions, self.names = {}, [], set()

    def declare(self, name, prefix="fathom_"):
        if not name.startswith(prefix):
            self.reader.fail(f"a name that begins with {prefix}, not '{name}'")
        if name in self.names:
            self.reader.fail(f"'{name}' only once")
        self.names.add(name)
        if self.doc is None:
            self.reader.fail(f"a doc comment before '{name}'")
        doc, self.doc = self.doc, None
        return doc

    def parse(self):
        reader = self.reader
        while reader.kind != "end":
            if reader.kind == "section":
                self.no_doc_left()
                self.section = reader.next()["title"].strip()
            elif reader.kind == "doc":
                self.no_doc_left()
                self.doc_line = reader.place
                self.doc = plain(reader.next().group())
            elif reader.kind == "define":
                self.macro()
            elif reader.maybe("typedef"):
                self.typedef()
            elif reader.maybe("FATHOM_API"):
                self.function()
            else:
                reader.fail("a constant, a typedef or a FATHOM_API function")
        self.no_doc_left()
        self.check_struct_ids()
        return Header(tuple(self.macros), self.handles, tuple(self.structs), self.callbacks,
                      tuple(self.functions))

    def no_doc_left(self):
        if self.doc is not None:
            raise HeaderError(f"fathom.h:{self.doc_line}: this comment belongs to no declaration")

    def macro(self):
        reader, line = self.reader, self.reader.place
        name = reader.text.split()[1]
        doc = self.declare(name, "FATHOM_")
        match = reader.next()
        value = VALUE.fullmatch(match["value"].strip())
        if not value:
            raise HeaderError(f"fathom.h:{line}: {name} is '{match['value']}', wanted a number of "
                              "fixed size, ((int32_t)1) for instance")
        group = "STATUS" if self.section == STATUS_SECTION else name.split("_")[1]
        if group not in GROUPS + ("STATUS",):
            raise HeaderError(f"fathom.h:{line}: {name} is of group '{group}', which is not in "
                              "GROUPS of header.py; add it there and see what emitters do with it")
        number = int(value["number"], 0)
        bits = 64 if "64" in value["type"] else 32
        low, high = (0, 2**bits) if value["type"][0] == "u" else (-2**(bits - 1), 2**(bits - 1))
        if not low <= number < high:
            raise HeaderError(f"fathom.h:{line}: {name}: {number} does not fit {value['type']}")
        self.macros.append(Macro(name, value["type"], number, group, self.section, joined(doc),
                                 line))

    def typedef(self):
        reader, line = self.reader, self.reader.place
        if reader.maybe("struct"):
            name = reader.name("the name of a struct")
            if reader.maybe("{"):
                self.struct(name, line)
                return
            doc = self.declare(name)
            reader.take(name)
            reader.take(";")
            self.handles[name] = joined(doc)
            return
        returns = self.type("what a callback returns", void=True)
        reader.take("(")
        reader.take("*")
        name = reader.name("the name of a callback")
        doc = self.declare(name)
        reader.take(")")
        parameters, text, returns_doc = self.parameters(name, doc, returns)
        self.callbacks[name] = Callback(name, returns, parameters, self.section, text, returns_doc,
                                        line)

    def type(self, wanted, void=False):
        """One type, spelt as the module's comment says."""
        reader = self.reader
        const = reader.maybe("const")
        if reader.text in ("void", "char"):
            base = reader.next().group()
        else:
            base = reader.name(wanted)
        known = base in SCALARS or base in ("void", "char") or base in self.handles \
            or base in self.callbacks or any(base == struct.name for struct in self.structs)
        if not known:
            self.reader.at -= 1
            reader.fail(f"{wanted}: a scalar of fixed size, a handle, a struct or a callback that "
                        "was declared above")
        spelt = ("const " if const else "") + base
        stars = 0
        while reader.text in ("*", "const") and not (reader.text == "const" and stars == 0):
            spelt += "*" if reader.maybe("*") else ""
            if spelt.endswith("*"):
                stars += 1
            if reader.maybe("const"):
                spelt += " const"
        if stars > 2:
            reader.fail(f"at most two stars in {wanted}")
        if stars == 0 and not (base in SCALARS or base in self.callbacks
                               or (base == "void" and void) or (base == "char" and wanted == "[]")):
            reader.fail(f"{wanted}: nothing by value but scalars and callbacks; found '{spelt}'")
        if stars == 0 and const:
            reader.fail(f"{wanted}: a const only behind a pointer")
        return spelt

    def parameters(self, name, doc, returns):
        """Reads '(...);' and joins it with what the comment says."""
        reader = self.reader
        reader.take("(")
        pairs = []
        if reader.text == "void" and reader.tokens[reader.at + 1][1].group() == ")":
            reader.next()
        else:
            while True:
                kind = self.type(f"the type of a parameter of {name}")
                pairs.append((reader.name(f"the name of a parameter of {name}"), kind))
                if not reader.maybe(","):
                    break
        reader.take(")")
        reader.take(";")
        if len(pairs) > PARAMETERS_MAX:
            reader.fail(f"at most {PARAMETERS_MAX} parameters of {name}")
        text, docs, returns_doc = split_doc(doc)
        if [p for p, _ in pairs] != list(docs):
            raise HeaderError(f"fathom.h:{self.doc_line}: {name} has parameters "
                              f"{[p for p, _ in pairs]}, its comment has {list(docs)}")
        if (returns != "void") != bool(returns_doc):
            raise HeaderError(f"fathom.h:{self.doc_line}: {name} returns {returns}; its comment "
                              f"{'has' if returns_doc else 'lacks'} @return")
        return tuple(Parameter(p, kind, docs[p]) for p, kind in pairs), text, returns_doc

    def function(self):
        reader, line = self.reader, self.reader.place
        returns = self.type("what a function returns", void=True)
        name = reader.name("the name of a function")
        doc = self.declare(name)
        parameters, text, returns_doc = self.parameters(name, doc, returns)
        for parameter in parameters[:-1]:
            if parameter.type == "fathom_error**":
                reader.fail(f"fathom_error** of {name} as its last parameter")
        if not re.search(r"\bSince \d+\.\d+\.", doc):
            raise HeaderError(f"fathom.h:{self.doc_line}: the comment of {name} does not say since "
                              "which version: 'Since 1.0.'")
        statuses = tuple(dict.fromkeys(re.findall(r"\bFATHOM_[A-Z_]+\b", returns_doc)))
        known = {macro.name for macro in self.macros if macro.group == "STATUS"}
        unknown = [status for status in statuses if status not in known]
        if unknown and returns == "int32_t":
            raise HeaderError(f"fathom.h:{self.doc_line}: {name} returns {unknown[0]}, which is no "
                              "status")
        function = Function(name, returns, parameters, self.section, text, returns_doc, statuses,
                            line)
        if function.fallible and returns != "int32_t":
            reader.fail(f"int32_t as the status of {name}, not {returns}")
        self.functions.append(function)

    def struct(self, name, line):
        reader = self.reader
        doc = self.declare(name)
        fields, offset, alignment = [], 0, 1
        while not reader.maybe("}"):
            kind = self.type("[]" if reader.text == "char" else f"the type of a field of {name}")
            field = reader.name(f"the name of a field of {name}")
            if reader.maybe("["):
                if kind != "char" or reader.kind != "number":
                    reader.fail(f"an array of char with a number of elements in {name}")
                size, align = int(reader.next().group()), 1
                kind = f"char[{size}]"
                reader.take("]")
            elif kind == "char":
                reader.fail(f"no single char in {name}: its sign differs between machines")
            else:
                size = align = SCALARS.get(kind, POINTER)
            reader.take(";")
            if reader.kind != "trailing":
                reader.fail(f"/**< what {name}.{field} is */")
            text = joined(plain(reader.next().group()))
            if any(field == other.name for other in fields):
                reader.fail(f"{name}.{field} only once")
            offset = (offset + align - 1) // align * align
            fields.append(Field(field, kind, offset, size, text))
            offset, alignment = offset + size, max(alignment, align)
        reader.take(name)
        reader.take(";")
        if not fields:
            reader.fail(f"a field in {name}")
        if any(field.name == "struct_size" for field in fields[1:]) \
                or fields[0].name == "struct_size" and fields[0].type != "uint32_t":
            reader.fail(f"uint32_t struct_size as the first field of {name}")
        size = (offset + alignment - 1) // alignment * alignment
        self.structs.append(Struct(name, tuple(fields), size, alignment,
                                   fields[0].name == "struct_size", None, self.section,
                                   joined(doc), line))

    def check_struct_ids(self):
        """Gives each sized struct its id; a struct without one cannot be made in Java."""
        ids = {macro.name: macro.value for macro in self.macros if macro.group == "STRUCT"}
        if len(set(ids.values())) != len(ids):
            raise HeaderError("fathom.h: two FATHOM_STRUCT_* have the same value")
        for at, struct in enumerate(self.structs):
            constant = "FATHOM_STRUCT_" + struct.name[len("fathom_"):].upper()
            if struct.sized != (constant in ids):
                raise HeaderError(f"fathom.h:{struct.line}: {struct.name} "
                                  f"{'has' if struct.sized else 'lacks'} struct_size, {constant} "
                                  f"{'is missing' if struct.sized else 'is there'}")
            self.structs[at] = dataclasses.replace(struct, id=ids.pop(constant, None))
        if ids:
            raise HeaderError(f"fathom.h: {next(iter(ids))} belongs to no struct")


def split_doc(doc):
    """A doc comment as (text, {parameter: text}, text of @return)."""
    parts = re.split(r"^@(param|return)\b[ \t]*", doc, flags=re.M)
    docs, returns_doc = {}, ""
    for tag, text in zip(parts[1::2], parts[2::2]):
        # The sentences on threads and version stand behind the last tag on lines of their own.
        text = re.sub(r"(^|\n)((Any|One) [^\n]*|)Since \d+\.\d+\.\s*$", "", text)
        if tag == "return":
            returns_doc = joined(text)
        else:
            name, _, rest = text.partition(" ")
            if name in docs:
                raise HeaderError(f"fathom.h: @param {name} is there twice")
            docs[name] = joined(rest)
    return joined(parts[0]), docs, returns_doc


def parse(text):
    """The header as dataclasses; HeaderError for what is not known."""
    return Parser(text).parse()


def load(path=PATH):
    with open(path, encoding="utf-8") as file:
        return parse(file.read())
