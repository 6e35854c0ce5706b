"""What the check of the counted calls finds."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import call_trace as trace

HEADER = trace.header_parser.load()


def counts(**changes):
    """Every function once with success, but for the changes."""
    made = {f.name: [1] + [0] * (trace.COLUMNS - 1) for f in HEADER.functions}
    for name, calls in changes.items():
        made[name] = [calls.get(status, 0) for status in range(trace.COLUMNS)]
    return made


class Check(unittest.TestCase):
    def found(self, **changes):
        return list(trace.findings(HEADER, counts(**changes)))

    def test_whole(self):
        """Breaks when a complete run is refused."""
        self.assertEqual(self.found(), [])
        self.assertEqual(self.found(fathom_stream_next={0: 5, 1: 1, 2: 1, 5: 1}), [])

    def test_not_called(self):
        """Breaks when a function that a language lacks goes unnoticed."""
        found = self.found(fathom_error_release={})
        self.assertEqual(found, ["fathom_error_release was not called"])

    def test_never_succeeded(self):
        """Breaks when calling a function with NULL counts as using it."""
        found = self.found(fathom_session_truncate={1: 2})
        self.assertEqual(found, ["fathom_session_truncate was called 2 times and never succeeded"])

    def test_status(self):
        """Breaks when a function returns what its comment does not name."""
        found = self.found(fathom_session_truncate={0: 1, 14: 1})
        self.assertIn("returned FATHOM_CONTEXT_FULL", found[0])
        found = self.found(fathom_session_truncate={0: 1, trace.COLUMNS - 1: 1})
        self.assertIn("no status", found[0])

    def test_as_another(self):
        """Breaks when 'as fathom_model_estimate()' does not mean that function's statuses."""
        inspect = HEADER.function("fathom_model_inspect")
        self.assertIn("FATHOM_OK", trace.documented(HEADER, inspect))
        self.assertNotIn("FATHOM_OK", inspect.statuses)

    def test_another_header(self):
        """Breaks when counts of another version of the header are read as this one's."""
        size = len(HEADER.functions) * trace.COLUMNS * 8
        self.assertEqual(len(trace.read_counts(HEADER, bytes(size))), len(HEADER.functions))
        with self.assertRaisesRegex(SystemExit, "do not fit"):
            trace.read_counts(HEADER, bytes(size - 8))


if __name__ == "__main__":
    unittest.main()
