"""What generate.py makes of emitters and of files that differ."""

import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import generate
import header

GOOD = """
def emit(header):
    names = "".join(f.name + "\\n" for f in header.functions)
    return {"bindings/x/raw.txt": "// Generated. Do not edit.\\n" + names}
"""


class Emitters(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def emit(self, source):
        with open(os.path.join(self.folder.name, "x.py"), "w", encoding="utf-8") as file:
            file.write(source)
        return generate.emitted("x", header.load(), self.folder.name)

    def test_good(self):
        """Breaks when an emitter does not receive the header's declarations."""
        self.assertIn("fathom_stream_next\n", self.emit(GOOD)["bindings/x/raw.txt"])

    def test_bad(self):
        """Breaks when an emitter may write where it likes, write nothing or hide that it writes."""
        for old, new, message in (
                ("def emit", "def emits", "no function emit"),
                ("bindings/x", "src/x", "not a path under bindings"),
                ("bindings/x", "bindings/../x", "not a path under bindings"),
                ("bindings/x", "/bindings/x", "not a path under bindings"),
                ("Generated", "Written", "does not say"),
                ("    return {", "    return {} and {", "emits nothing")):
            self.assertIn(old, GOOD)
            with self.subTest(new), self.assertRaisesRegex(generate.EmitError, message):
                self.emit(GOOD.replace(old, new))

    def test_missing(self):
        """Breaks when a language whose emitter is gone is no longer compared, silently."""
        with self.assertRaisesRegex(generate.EmitError, "no such emitter"):
            generate.emitted("x", header.load(), self.folder.name)


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = self.folder.name
        self.path = os.path.join(self.root, "bindings/x/raw.txt")

    def differences(self, text):
        return list(generate.differences({"bindings/x/raw.txt": text}, self.root))

    def test_check(self):
        """Breaks when a checked-in raw layer that differs from the header passes."""
        self.assertIn("not there", self.differences("a\n")[0])
        generate.write({"bindings/x/raw.txt": "a\nb\n"}, self.root)
        self.assertEqual(self.differences("a\nb\n"), [])
        self.assertIn("+c", self.differences("a\nc\n")[0])
        self.assertIn("differs", self.differences("a\nb")[0])
        self.assertIn("differs", self.differences("a\r\nb\r\n")[0])

    def test_write_in_vain(self):
        """Breaks when writing what is there already makes every build start again."""
        generate.write({"bindings/x/raw.txt": "a\n"}, self.root)
        os.utime(self.path, (1, 1))
        generate.write({"bindings/x/raw.txt": "a\n"}, self.root)
        self.assertEqual(os.stat(self.path).st_mtime, 1)
        generate.write({"bindings/x/raw.txt": "b\n"}, self.root)
        self.assertNotEqual(os.stat(self.path).st_mtime, 1)


class Drift(unittest.TestCase):
    """Each breaks when a change of fathom.h can be missed by a language."""

    def changed(self, old, new):
        with open(header.PATH, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count(old), 1, old)
        return header.parse(text.replace(old, new))

    def check(self, old, new):
        changed = self.changed(old, new)
        for name in generate.EMITTERS:
            with self.subTest(name):
                self.assertEqual(list(generate.differences(generate.emitted(name, header.load()))),
                                 [])
                self.assertNotEqual(list(generate.differences(generate.emitted(name, changed))), [])

    def test_function(self):
        end = "#ifdef __cplusplus\n}\n"
        self.check(end, "/**\n * Does it.\n * @param stream a stream.\n * Since 1.1.\n */\n"
                   "FATHOM_API void fathom_stream_do(fathom_stream* stream);\n\n" + end)

    def test_parameter(self):
        self.check("int32_t fathom_stream_usage(const fathom_stream* stream,",
                   "int32_t fathom_stream_usage(const fathom_session* stream,")

    def test_field(self):
        last = "    uint64_t decode_ns;         /**< From the first token to the last. */\n"
        self.check(last, last + "    uint64_t last_ns; /**< The last. */\n")

    def test_constant(self):
        self.check("FATHOM_FINISH_STOP ((int32_t)3)", "FATHOM_FINISH_STOP ((int32_t)7)")


class Command(unittest.TestCase):
    def run_generate(self, *arguments):
        script = os.path.join(generate.FOLDER, "generate.py")
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True,
                              check=False)

    def test_unknown(self):
        """Breaks when a mistyped language counts as checked."""
        run = self.run_generate("--check", "cobol")
        self.assertEqual(run.returncode, 1)
        self.assertIn("no such emitter", run.stderr)


if __name__ == "__main__":
    unittest.main()
