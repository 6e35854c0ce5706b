"""The `fathom` command as a script uses it: exit codes, messages, and JSON lines in and out."""

import json
import math
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FATHOM = os.environ.get("FATHOM", os.path.join(ROOT, "build", "release", "bin", "fathom"))
DEMO = os.path.join(ROOT, "examples", "demo-model", "model")
GOLDEN = os.path.join(ROOT, "tests", "golden")
SHARED = os.path.join(ROOT, "..", "shared", "tokenizers")

sys.path.insert(0, os.path.join(ROOT, "tests", "reference"))

COMMANDS = ["chat", "run", "score", "inspect", "tokenize", "detokenize", "render", "bench"]


def fathom(*arguments, stdin=""):
    return subprocess.run([FATHOM, *arguments], input=stdin, capture_output=True, text=True,
                          timeout=120, check=False)


def json_lines(*arguments, lines):
    """The results of a --jsonl command, which must succeed and answer every line in order."""
    run = fathom(*arguments, "--jsonl", stdin="".join(json.dumps(line) + "\n" for line in lines))
    if run.returncode != 0:
        raise AssertionError(run.stderr)
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(results) == len(lines)
    return results


def on_terminal(*arguments, stdin):
    """What the command shows on a terminal, its standard output, while stdin is a pipe."""
    try:
        ours, its = pty.openpty()
    except OSError as error:
        raise unittest.SkipTest(f"this system gives no terminal: {error}") from error
    shown = b""
    with subprocess.Popen([FATHOM, *arguments], stdin=subprocess.PIPE, stdout=its) as process:
        os.close(its)
        process.stdin.write(stdin.encode())
        process.stdin.close()
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # What Linux says where other systems say end of file.
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


class ExitCodes(unittest.TestCase):
    """Breaks when a script cannot tell done, failed and wrong use apart."""

    def check(self, code, *arguments, stderr=""):
        run = fathom(*arguments)
        self.assertEqual(run.returncode, code, run.stderr)
        self.assertIn(stderr, run.stderr)
        if code != 0:
            self.assertEqual(run.stdout, "")

    def test_help_is_success_and_shows_examples(self):
        self.check(0, "--help")
        self.check(0, "--version")
        for command in COMMANDS:
            run = fathom(command, "--help")
            self.assertEqual(run.returncode, 0)
            self.assertIn(f"fathom {command} --", run.stdout.split("Examples:")[1] + "--")

    def test_wrong_use_is_2_and_points_to_help(self):
        self.check(2, stderr="no command")
        self.check(2, "fly", stderr="unknown command 'fly'")
        self.check(2, "run", "--wings", stderr="unknown option '--wings'")
        self.check(2, "run", "hello", stderr="--model is missing; see fathom run --help")
        self.check(2, "run", "--model", DEMO, "--temperature", "hot", "x", stderr="--temperature")
        self.check(2, "run", "--model", DEMO, "--temperature", "nan", "x", stderr="--temperature")
        self.check(2, "run", "--model", stderr="--model needs a value")
        self.check(2, "run", "--model", DEMO, "What", "is", stderr="unexpected 'is'")
        self.check(2, "tokenize", "--tokenizer", DEMO, "Hello,", "world", stderr="quotes")
        self.check(2, "detokenize", "--tokenizer", DEMO, "1]", stderr="wanted a token id")
        self.check(2, "chat", "--model", DEMO, "question", stderr="unexpected 'question'")
        self.check(2, "run", "--model", DEMO, "--think", "--no-think", "x", stderr="contradict")

    def test_failure_is_1_and_names_what_and_where(self):
        self.check(1, "inspect", "/nowhere", stderr="/nowhere: cannot open the folder: ENOENT")
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "model")
            shutil.copytree(os.path.join(GOLDEN, "v3-f32"), copy)
            config = os.path.join(copy, "config.json")
            with open(config, encoding="utf-8") as file:
                text = json.load(file)
            text["num_experts_per_tok"] = 10_000
            with open(config, "w", encoding="utf-8") as file:
                json.dump(text, file)
            self.check(1, "inspect", copy, stderr="num_experts_per_tok")
            os.remove(config)
            self.check(1, "run", "--model", copy, "x", stderr="config.json")

    def test_bad_json_line_is_named(self):
        lines = '{"text":"a"}\n{"txt":"b"}\n'
        run = fathom("tokenize", "--tokenizer", DEMO, "--jsonl", stdin=lines)
        self.assertEqual(run.returncode, 1)
        self.assertIn("stdin line 2", run.stderr)
        self.assertIn('"text"', run.stderr)
        run = fathom("tokenize", "--tokenizer", DEMO, "--jsonl", stdin="[" * 100_000)
        self.assertEqual(run.returncode, 1)
        self.assertIn("deeper than 64", run.stderr)


class Lines(unittest.TestCase):
    """Breaks when a pipeline gets other numbers than the library's."""

    def test_score_is_the_oracles(self):
        import numpy
        from oracle import Model  # the float64 reference
        ids = [5, 17, 3, 99, 42, 7, 7, 200]
        folder = os.path.join(GOLDEN, "v3-f32")
        model = Model(folder)
        logits = numpy.asarray(model.feed(model.start(), ids)[0])
        logprobs = logits - numpy.log(numpy.sum(numpy.exp(logits), axis=-1, keepdims=True))
        [result] = json_lines("score", "--model", folder, lines=[{"ids": ids}])
        self.assertIsNone(result["logprobs"][0])
        for at in range(1, len(ids)):
            self.assertAlmostEqual(result["logprobs"][at], logprobs[at - 1][ids[at]], delta=2e-4)

    def test_score_of_text_and_perplexity(self):
        [result] = json_lines("score", "--model", DEMO, lines=[{"text": "Please send 12 hinges."}])
        values = result["logprobs"][1:]
        self.assertTrue(all(value < 0 for value in values))
        run = fathom("score", "--model", DEMO, "Please send 12 hinges.")
        printed = float(run.stdout.splitlines()[-1].split()[1])
        self.assertAlmostEqual(printed, math.exp(-sum(values) / len(values)), places=3)

    def test_tokenize_and_back(self):
        texts = ["Hello", "", "naïve – 你好 \u0000\n", "<think>", "<｜User｜>"]
        ids = [r["ids"] for r in json_lines("tokenize", "--tokenizer", DEMO,
                                            lines=[{"text": text} for text in texts])]
        back = [r["text"] for r in json_lines("detokenize", "--tokenizer", DEMO,
                                              lines=[{"ids": i} for i in ids])]
        self.assertEqual(back, texts)
        self.assertGreater(len(ids[3]), 1, "text became a control token")
        special = json_lines("tokenize", "--tokenizer", DEMO, "--special",
                             lines=[{"text": "<think>"}])
        self.assertEqual(len(special[0]["ids"]), 1)

    def test_render(self):
        messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "<think>"}]
        cases = [{"messages": messages, "thinking": True},
                 {"messages": messages, "thinking": False},
                 {"messages": messages, "add_generation_prompt": False}]
        texts = [r["text"] for r in json_lines("render", "--tokenizer", DEMO, lines=cases)]
        begin = "<｜begin▁of▁sentence｜>S<｜User｜><think>"
        self.assertEqual(texts, [begin + "<｜Assistant｜><think>", begin + "<｜Assistant｜></think>",
                                 begin])
        v2 = json_lines("render", "--tokenizer", DEMO, "--dialect", "deepseek-v2", lines=cases[:1])
        self.assertEqual(v2[0]["text"],
                         "<｜begin▁of▁sentence｜>S\n\nUser: <think>\n\nAssistant:")

    @unittest.skipUnless(os.path.isdir(SHARED), "../shared/tokenizers is not here")
    def test_reference_encodings(self):
        folder = os.path.join(SHARED, "deepseek-v3")
        with open(os.path.join(folder, "golden.jsonl"), encoding="utf-8") as file:
            golden = [json.loads(line) for line in file]
        results = json_lines("tokenize", "--tokenizer", folder, "--special",
                             lines=[{"text": g["text"]} for g in golden])
        self.assertEqual([r["ids"] for r in results], [g["ids"] for g in golden])


class Answers(unittest.TestCase):
    """Breaks when the command's answer is not the library's."""

    def test_run_json_has_everything(self):
        run = fathom("run", "--model", DEMO, "--json", "--think", "--max-tokens", "40",
                     "What is 12 + 30?")
        self.assertEqual(run.returncode, 0, run.stderr)
        answer = json.loads(run.stdout)
        self.assertTrue(answer["reasoning"])
        usage = answer["usage"]
        self.assertEqual(usage["reasoning_tokens"] + usage["output_tokens"], len(answer["ids"]))
        self.assertIn(answer["finish_reason"], ("end_of_turn", "length"))

    def test_run_reads_stdin_and_says_the_same(self):
        arguments = ("run", "--model", DEMO, "--no-think", "--max-tokens", "40")
        text = "Please send 12 brass hinges to Maria Lopez."
        self.assertEqual(fathom(*arguments, text).stdout, fathom(*arguments, stdin=text).stdout)

    def test_chat_over_a_pipe(self):
        run = fathom("chat", "--model", DEMO, "--max-tokens", "60", "--think",
                     stdin="What is 1 + 2?\n/reset\n\nWhat is 1 + 2?\n/quit\nnever read\n")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertNotIn("\x1b", run.stdout, "colour where nobody looks")
        self.assertEqual(run.stderr, "", "a progress bar where nobody looks")
        alone = json.loads(fathom("run", "--model", DEMO, "--json", "--think", "--max-tokens",
                                  "60", "What is 1 + 2?").stdout)
        self.assertEqual(alone["text"], "3")
        self.assertEqual(run.stdout, 2 * (alone["reasoning"] + "\n3\n"))

    def test_chat_remembers_and_shows_reasoning_apart(self):
        first, second = "What is 1 + 2?", "What is 12 + 30?"
        shown = on_terminal("chat", "--model", DEMO, "--think",
                            stdin=f"{first}\n{second}\n/reset\n{second}\n")
        # Reasoning and the line of numbers are dim, the answer is not.
        bright = re.sub(r"\x1b\[90m.*?\x1b\[0m", "", shown, flags=re.S)
        self.assertEqual(bright.split(), ["3", "42", "42"])
        dim = "".join(re.findall(r"\x1b\[90m(.*?)\x1b\[0m", shown, re.S))
        usage = [(int(new), int(cached)) for new, cached in
                 re.findall(r"\x1b\[90m(\d+) new and (\d+) cached prompt tokens", shown)]
        alone = json.loads(fathom("run", "--model", DEMO, "--json", "--think", first).stdout)
        self.assertTrue(dim.startswith(alone["reasoning"]), dim)
        # What each turn was asked with is exactly the conversation so far.
        asked = {"role": "user", "content": first}
        answered = {"role": "assistant", "content": "3", "reasoning_content": alone["reasoning"]}
        again = {"role": "user", "content": second}
        rendered = json_lines("render", "--tokenizer", DEMO,
                              lines=[{"messages": turns, "thinking": True} for turns in
                                     ([asked], [asked, answered, again], [again])])
        self.assertEqual([new + cached for new, cached in usage],
                         [len(r["ids"]) for r in rendered])
        self.assertEqual(usage[0][1], 0)
        self.assertGreaterEqual(usage[1][1], len(rendered[0]["ids"]) - 1, "computed once more")

    def test_inspect_devices_and_bench(self):
        self.assertIn("processors", fathom("inspect", "--devices").stdout)
        text = fathom("inspect", DEMO).stdout
        for word in ("architecture", "deepseek-v3.1", "per token", "weights"):
            self.assertIn(word, text)
        facts = json.loads(fathom("inspect", "--json", DEMO).stdout)
        self.assertEqual(facts["architecture"], "deepseek_v3")
        run = fathom("bench", "--model", DEMO, "--prompt-tokens", "32", "--decode-tokens", "8",
                     "--repeat", "2", "--json")
        self.assertEqual(len(run.stdout.splitlines()), 2)


if __name__ == "__main__":
    unittest.main()
