#!/usr/bin/env python3
"""Builds the chat as its README says and talks to it: python3 examples/c-chat/test_chat.py

FATHOM_LIBRARY names the library (default: build/release/lib/libfathom.so.1).
"""

import json
import os
import pty
import select
import signal
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MODEL = os.path.join(ROOT, "examples", "demo-model", "model")
LIBRARY = os.path.realpath(os.environ.get(
    "FATHOM_LIBRARY", os.path.join(ROOT, "build", "release", "lib", "libfathom.so.1")))
SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
LONG = "538 * 3 makes?"  # About fifty tokens of reasoning.


def build(folder, name, *flags):
    path = os.path.join(folder, name)
    subprocess.run(["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", *flags,
                    f"-I{ROOT}/include", os.path.join(HERE, "chat.c"), "-o", path, LIBRARY,
                    f"-Wl,-rpath,{os.path.dirname(LIBRARY)}"], check=True)
    return path


def problems(kind, count):
    """The first problems of a kind, of which the demo model solves nearly all."""
    path = os.path.join(ROOT, "examples", "demo-model", "problems", kind + ".jsonl")
    with open(path, encoding="utf-8") as file:
        return [json.loads(next(file)) for _ in range(count)]


class Terminal:
    """A chat on a terminal of its own."""

    def __init__(self, *command):
        self.descriptor, other = pty.openpty()
        self.process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other)
        os.close(other)

    def write(self, text):
        os.write(self.descriptor, text)

    def read_until(self, mark):
        text = b""
        while mark not in text:
            if not select.select([self.descriptor], [], [], 30)[0]:
                raise TimeoutError(f"no {mark} within 30 s; there was {text}")
            text += os.read(self.descriptor, 1)
        return text

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.descriptor)


class Chat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.chat = build(cls.folder.name, "chat", "-O2")
        cls.checked = build(cls.folder.name, "checked", *SANITIZE)

    def talk(self, text, *arguments, program=None):
        return subprocess.run([program or self.chat, *arguments], input=text, text=True,
                              capture_output=True, timeout=100, check=False)

    def right(self, kind, *arguments):
        """How many of ten problems, each in a chat of its own, are answered as wanted."""
        n_right = 0
        for problem in problems(kind, 10):
            run = self.talk(problem["user"] + "\n", MODEL, *arguments)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            n_right += run.stdout == problem["answer"] + "\n"
        return n_right

    def test_sums(self):
        """Breaks when reasoning reaches the answer, or the model is not asked to reason."""
        self.assertGreaterEqual(self.right("arithmetic", "think"), 9)

    def test_texts(self):
        """Breaks when text is lost or altered on its way from one line to the other."""
        self.assertGreaterEqual(self.right("json"), 9)

    def test_lines(self):
        """Breaks when an empty line is asked, or a last line without a line break is not."""
        run = self.talk("\n\nWhat is 4 + 802?", MODEL, "think")
        self.assertEqual((run.returncode, run.stdout), (0, "806\n"))
        self.assertEqual(self.talk("", MODEL).stdout, "")

    def test_full_context(self):
        """Breaks when a conversation that is too long ends the program or goes unnoticed."""
        question = "Please tell me " + "about the plastic keyboard " * 12 + "\n"
        run = self.talk(question * 12 + "What is 4 + 802?\n", MODEL, "think")
        self.assertEqual(run.returncode, 0)
        self.assertIn("FATHOM_CONTEXT_FULL: generate: the prompt has", run.stderr)
        self.assertIn("a new conversation begins", run.stderr)
        self.assertGreaterEqual(len(run.stdout.split("\n")), 12)

    def test_no_model(self):
        """Breaks when the library's message does not reach the person."""
        run = self.talk("", "/nowhere/at/all")
        self.assertEqual(run.returncode, 1)
        self.assertIn("FATHOM_IO: /nowhere/at/all", run.stderr)
        run = self.talk("")
        self.assertEqual(run.returncode, 2)
        self.assertIn("usage:", run.stderr)

    def test_sanitized(self):
        """Breaks when the chat leaks, reads behind an event or uses a handle after its release."""
        run = self.talk("What is 4 + 802?\nHello!\n", MODEL, "think", program=self.checked)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(run.stdout.split("\n")[0], "806")
        run = self.talk("", "/nowhere/at/all", program=self.checked)
        self.assertEqual(run.returncode, 1)
        self.assertNotIn("Sanitizer", run.stderr)

    def test_interrupt(self):
        """Breaks when Ctrl-C ends the chat, or does not end an answer."""
        for _ in range(20):
            terminal = Terminal(self.chat, MODEL, "think")
            self.addCleanup(terminal.close)
            terminal.read_until(b"> ")
            terminal.write(LONG.encode() + b"\n")
            terminal.read_until(b"\x1b[2m")  # The first of the reasoning, which is dim.
            terminal.process.send_signal(signal.SIGINT)
            answer = terminal.read_until(b"\r\n> ")
            terminal.process.send_signal(signal.SIGINT)  # At the prompt it does nothing.
            terminal.write(b"What is 4 + 802?\n")
            terminal.read_until(b"\r\n> ")
            terminal.write(b"\x04")
            self.assertEqual(terminal.process.wait(30), 0)
            # A busy machine may have finished the answer before the signal came.
            if b"1614\r\n" not in answer:
                return
        self.fail("no answer of twenty was cut short")


if __name__ == "__main__":
    unittest.main()
