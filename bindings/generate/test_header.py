"""What header.py accepts and refuses, and what it makes of the real header."""

import dataclasses
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import header
import layout_probe

STATUSES = """
/* -----
 * Status codes
 * ----- */

/** Success. */
#define FATHOM_OK ((int32_t)0)
/** A mistake. */
#define FATHOM_BUSY ((int32_t)3)

/* -----
 * Things
 * ----- */

/** A failure. */
typedef struct fathom_error fathom_error;
/** A thing. */
typedef struct fathom_thing fathom_thing;
"""
FUNCTION = """
/**
 * Does it.
 * @param thing a live thing.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_BUSY, as a long
 *         sentence says.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_thing_do(fathom_thing* thing, fathom_error** error);
"""
STRUCT = """
/** fathom_struct_init() id of fathom_facts. */
#define FATHOM_STRUCT_FACTS ((uint32_t)7)
/** Facts. */
typedef struct fathom_facts {
    uint32_t struct_size; /**< sizeof this struct. */
    int32_t kind;         /**< One. */
    float share;          /**< Two. */
    const char* text;     /**< Three,
                               in two lines. */
    char name[5];         /**< Four. */
    char flag[2];         /**< Five. */
} fathom_facts;
"""


def whole(body, begin=STATUSES):
    return ("/**\n * @file fathom.h\n */\n" + header.OPENING + "\n" + begin + body +
            header.CLOSING + "\n")


def read(body, begin=STATUSES):
    return header.parse(whole(body, begin))


class Accepted(unittest.TestCase):
    def test_function(self):
        """Breaks when emitters are given another function than the header declares."""
        function = read(FUNCTION).functions[0]
        self.assertEqual((function.name, function.returns, function.section, function.fallible),
                         ("fathom_thing_do", "int32_t", "Things", True))
        self.assertEqual([(p.name, p.type, p.doc) for p in function.parameters],
                         [("thing", "fathom_thing*", "a live thing."),
                          ("error", "fathom_error**", "nullable.")])
        self.assertEqual(function.doc, "Does it.")
        self.assertEqual(function.returns_doc, "FATHOM_OK or FATHOM_BUSY, as a long sentence says.")
        self.assertEqual(function.statuses, ("FATHOM_OK", "FATHOM_BUSY"))

    def test_infallible(self):
        """Breaks when a release is taken for a call that can fail."""
        function = read("""
/**
 * Releases it.
 * @param thing a live thing or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_thing_release(fathom_thing* thing);
""").functions[0]
        self.assertFalse(function.fallible)
        self.assertEqual(function.parameters[0].doc, "a live thing or NULL.")

    def test_struct(self):
        """Breaks when padding is computed wrongly, so that a binding reads the neighbour field."""
        struct = read(STRUCT).structs[0]
        self.assertEqual([(f.name, f.type, f.offset, f.size) for f in struct.fields],
                         [("struct_size", "uint32_t", 0, 4), ("kind", "int32_t", 4, 4),
                          ("share", "float", 8, 4), ("text", "const char*", 16, 8),
                          ("name", "char[5]", 24, 5), ("flag", "char[2]", 29, 2)])
        self.assertEqual((struct.size, struct.alignment, struct.sized, struct.id), (32, 8, True, 7))
        self.assertEqual(struct.fields[3].doc, "Three, in two lines.")

    def test_plain_struct(self):
        """Breaks when an array element is taken for a sized struct and given an id."""
        struct = read("""
/** A pair. */
typedef struct fathom_pair {
    int32_t token; /**< One. */
    float bias;    /**< Two. */
} fathom_pair;
""").structs[0]
        self.assertEqual((struct.size, struct.alignment, struct.sized, struct.id),
                         (8, 4, False, None))

    def test_callback(self):
        """Breaks when a hook's parameters are lost, or its type cannot be used in a struct."""
        found = read("""
/**
 * Called now and then.
 * @param user_data as given.
 * @return 0 to go on.
 */
typedef int32_t (*fathom_hook)(void* user_data);

/** A pair. */
typedef struct fathom_pair {
    fathom_hook hook; /**< Nullable. */
    void* user_data;  /**< Passed on. */
} fathom_pair;
""")
        callback = found.callbacks["fathom_hook"]
        self.assertEqual((callback.returns, callback.parameters[0].type, callback.returns_doc),
                         ("int32_t", "void*", "0 to go on."))
        self.assertEqual([(f.type, f.size) for f in found.structs[0].fields],
                         [("fathom_hook", 8), ("void*", 8)])

    def test_constants(self):
        """Breaks when a constant has another value, type or group in a language than in C."""
        found = read("""
/** Version. */
#define FATHOM_ABI_VERSION ((uint32_t)0x00010002)
/** Least. */
#define FATHOM_MODE_LEAST ((int32_t)-2147483648)
/** Most. */
#define FATHOM_MODE_MOST ((uint32_t)4294967295)
""")
        self.assertEqual([(m.name, m.type, m.value, m.group) for m in found.macros],
                         [("FATHOM_OK", "int32_t", 0, "STATUS"),
                          ("FATHOM_BUSY", "int32_t", 3, "STATUS"),
                          ("FATHOM_ABI_VERSION", "uint32_t", 0x10002, "ABI"),
                          ("FATHOM_MODE_LEAST", "int32_t", -2**31, "MODE"),
                          ("FATHOM_MODE_MOST", "uint32_t", 2**32 - 1, "MODE")])
        self.assertEqual([m.name for m in found.group("STATUS")], ["FATHOM_OK", "FATHOM_BUSY"])

    def test_pointers(self):
        """Breaks when an emitter cannot tell a list of handles from a place for one."""
        function = read(FUNCTION.replace("fathom_thing* thing", "fathom_thing * const *thing"))
        self.assertEqual(function.functions[0].parameters[0].type, "fathom_thing* const*")
        function = read(FUNCTION.replace("fathom_thing* thing", "const char** thing"))
        self.assertEqual(function.functions[0].parameters[0].type, "const char**")


class Refused(unittest.TestCase):
    """Each breaks when a declaration that some language cannot call passes the lint."""

    def refuse(self, body, message, begin=STATUSES):
        with self.assertRaisesRegex(header.HeaderError, message):
            read(body, begin)

    def change(self, text, old, new, message):
        self.assertIn(old, text)
        self.refuse(text.replace(old, new), message)

    def test_types(self):
        for kind in ("int", "long", "size_t", "bool", "uint8_t", "char", "fathom_thing",
                     "struct fathom_thing*", "enum thing", "fathom_unknown*", "unsigned int",
                     "void", "const int32_t", "fathom_thing***", "int32_t[2]"):
            with self.subTest(kind):
                self.change(FUNCTION, "fathom_thing* thing", kind + " thing", "found|wanted")

    def test_struct_by_value(self):
        pair = ("/** A pair. */\ntypedef struct fathom_pair {\n    int32_t a; /**< A. */\n"
                "} fathom_pair;\n")
        self.refuse(pair + FUNCTION.replace("fathom_thing* thing", "fathom_pair thing"), "by value")
        self.refuse(pair + FUNCTION.replace("int32_t fathom_thing", "fathom_pair fathom_thing"),
                    "by value")
        self.refuse(pair + STRUCT.replace("int32_t kind; ", "fathom_pair kind;"), "by value")

    def test_functions(self):
        self.change(FUNCTION, "fathom_thing* thing,", "fathom_thing*,", "name of a parameter")
        self.change(FUNCTION, "error);", "error, ...);", "knows|wanted")
        self.change(FUNCTION, "FATHOM_API ", "", "FATHOM_API function")
        self.change(FUNCTION, "FATHOM_API ", "FATHOM_API static ", "scalar of fixed size")
        self.change(FUNCTION, "fathom_thing_do", "thing_do", "begins with fathom_")
        self.change(FUNCTION, "int32_t fathom_thing_do", "void fathom_thing_do", "@return")
        self.change(FUNCTION, "int32_t fathom_thing_do", "int64_t fathom_thing_do",
                    "the status of")
        self.refuse(FUNCTION + FUNCTION, "only once")
        self.refuse(FUNCTION.replace("thing* thing, fathom_error** error", "error** error, "
                                     "fathom_thing* thing").replace(
            " * @param thing a live thing.\n", "").replace(
            "nullable.\n", "nullable.\n * @param thing a live thing.\n"), "last parameter")

    def test_parameter_count(self):
        def function(n):
            docs = "".join(f" * @param p{i} one.\n" for i in range(n))
            declared = ", ".join(f"int32_t p{i}" for i in range(n))
            return ("/**\n * Does it.\n" + docs + " * Since 1.0.\n */\n"
                    f"FATHOM_API void fathom_many({declared});\n")
        self.assertEqual(len(read(function(8)).functions[0].parameters), 8)
        self.refuse(function(9), "at most 8")

    def test_comments(self):
        self.change(FUNCTION, " * @param thing a live thing.\n", "", "its comment has")
        self.change(FUNCTION, "@param thing", "@param think", "its comment has")
        self.change(FUNCTION, " * @return", " * Returns", "lacks @return")
        self.change(FUNCTION, "Since 1.0.", "", "since which version")
        self.change(FUNCTION, "FATHOM_BUSY", "FATHOM_BUSINESS", "no status")
        self.refuse(FUNCTION[FUNCTION.index("FATHOM_API"):], "a doc comment before")
        self.refuse(FUNCTION + "/** Left alone. */\n", "belongs to no declaration")
        self.change(STRUCT, "/**< One. */", "", "what fathom_facts.kind is")

    def test_structs(self):
        self.change(STRUCT, "int32_t kind;  ", "int32_t kind : 3;", "knows")
        self.change(STRUCT, "name[5]", "name[]", "number of elements")
        self.change(STRUCT, "char name[5]", "int32_t name[5]", "array of char")
        self.change(STRUCT, "char name[5]", "char name", "sign")
        self.change(STRUCT, "int32_t kind", "int32_t share", "only once")
        self.change(STRUCT, "uint32_t struct_size", "uint64_t struct_size", "first field")
        self.change(STRUCT, "int32_t kind; ", "uint32_t struct_size;", "only once|first field")
        self.change(STRUCT, "} fathom_facts;", "} fathom_fact;", "fathom_facts")
        self.change(STRUCT, "FATHOM_STRUCT_FACTS", "FATHOM_STRUCT_OTHERS", "is missing")
        self.refuse(STRUCT + "/** One more. */\n#define FATHOM_STRUCT_MORE ((uint32_t)8)\n",
                    "belongs to no struct")
        self.refuse(STRUCT + STRUCT.replace("facts", "more").replace("FACTS", "MORE"),
                    "the same value")

    def test_constants(self):
        for value in ("1", "(1)", "((int)1)", "((int32_t)1 << 3)", "FATHOM_OK", "\"text\"",
                      "((int32_t)2147483648)", "((uint32_t)-1)", "((uint32_t)4294967296)"):
            with self.subTest(value):
                self.refuse(f"/** One. */\n#define FATHOM_MODE_ONE {value}\n", "wanted|fit")
        self.refuse("/** One. */\n#define FATHOM_COLOUR_RED ((int32_t)1)\n", "GROUPS")
        self.refuse("/** One. */\n#define OTHER_RED ((int32_t)1)\n", "begins with FATHOM_")
        self.refuse("/** One. */\n#define FATHOM_MODE_TWICE(x) ((x) * 2)\n",
                    "nothing that header.py knows")

    def test_other_declarations(self):
        for text in ("enum fathom_colour { kRed };", "union fathom_u { int32_t a; };",
                     "extern int32_t fathom_state;", "static inline void fathom_f(void) {}",
                     "typedef int32_t fathom_number;", "#include <stdio.h>", "#ifdef X", "// text",
                     "struct fathom_open { int32_t a; };", "int32_t fathom_x = 3;"):
            with self.subTest(text):
                self.refuse("/** It. */\n" + text + "\n", "fathom.h")

    def test_frame(self):
        """Breaks when something could hide between the include guard and the first declaration."""
        for old, new in (("#include <stdint.h>", "#include <stdint.h>\n#include <stddef.h>"),
                         ('extern "C" {', 'extern "C" {\nint fathom_hidden;'),
                         ("#endif /* FATHOM_FATHOM_H_ */", "#endif\nint fathom_hidden;")):
            text = whole(FUNCTION)
            self.assertIn(old, text)
            with self.subTest(new), self.assertRaises(header.HeaderError):
                header.parse(text.replace(old, new))

    def test_line_number(self):
        """Breaks when the message points at another line than the mistake's."""
        text = whole(FUNCTION.replace("fathom_thing* thing", "size_t thing"))
        line = text.split("size_t")[0].count("\n") + 1
        with self.assertRaisesRegex(header.HeaderError, f"fathom.h:{line}: found 'size_t'"):
            header.parse(text)


class RealHeader(unittest.TestCase):
    def test_complete(self):
        """Breaks when header.py silently leaves out a declaration of fathom.h."""
        with open(header.PATH, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        found = header.load()
        names = set(re.findall(r"\bfathom_\w+\b", text))
        known = set(found.handles) | set(found.callbacks) | {s.name for s in found.structs} | \
            {f.name for f in found.functions}
        self.assertEqual(names, known)
        constants = set(re.findall(r"\bFATHOM_\w+\b", text))
        self.assertEqual(constants - {"FATHOM_API", "FATHOM_FATHOM_H_"},
                         {macro.name for macro in found.macros})

    def test_compiler_agrees(self):
        """Breaks when a size, offset, constant or function type is not what C has."""
        self.assertEqual(layout_probe.differences(header.load()), "")

    def test_compiler_disagrees(self):
        """Breaks when the probe would agree with anything."""
        found = header.load()
        event = found.struct("fathom_event")
        fields = list(event.fields)
        fields[3] = dataclasses.replace(fields[3], offset=20)
        wrong = dataclasses.replace(event, fields=tuple(fields), size=event.size + 8)
        structs = tuple(wrong if s is event else s for s in found.structs)
        text = layout_probe.differences(dataclasses.replace(found, structs=structs))
        self.assertIn("sizeof fathom_event: header.py read 96, the compiler has 88", text)
        self.assertIn("offset of fathom_event.text: header.py read 20, the compiler has 16", text)
        macros = tuple(dataclasses.replace(m, value=m.value + 1) if m.name == "FATHOM_BUSY" else m
                       for m in found.macros)
        text = layout_probe.differences(dataclasses.replace(found, macros=macros))
        self.assertIn("FATHOM_BUSY: header.py read 4, the compiler has 3", text)
        functions = (dataclasses.replace(found.functions[0], returns="uint64_t"),
                     *found.functions[1:])
        text = layout_probe.differences(dataclasses.replace(found, functions=functions))
        self.assertIn("fathom_abi_version", text)


if __name__ == "__main__":
    unittest.main()
