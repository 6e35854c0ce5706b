#!/usr/bin/env python3
"""Runs a command on the virtual GPU once for each synchronisation dropped or weakened.

    run_mutants.py [--seeds N] [--kernel NAME]... [--every N] -- COMMAND...

The command must find the virtual GPU by itself (a --driver option, LD_LIBRARY_PATH). First it runs
unchanged, without findings, and what it executes is noted; then once for every mutation of that,
with seeds 0 to N - 1 until one is noticed: by a finding, or by the command's failure. The mutants
that nobody noticed are listed; the exit status is 1 if there are any.
"""
import argparse
import os
import subprocess
import sys
import tempfile


def run(command, settings, folder):
    """Runs the command; its status and the findings."""
    findings = os.path.join(folder, "findings")
    if os.path.exists(findings):
        os.remove(findings)
    before = os.environ.get("FATHOM_VIRTUAL_GPU", "")
    settings = ([before] if before else []) + settings + [f"findings={findings}"]
    environment = dict(os.environ, FATHOM_VIRTUAL_GPU=",".join(settings))
    status = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, check=False).returncode
    if not os.path.exists(findings):
        return status, ""
    with open(findings, encoding="utf-8") as file:
        return status, file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kernel", action="append", help="only mutants of this kernel")
    parser.add_argument("--every", type=int, default=1, help="only every n-th mutant")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        listed = os.path.join(folder, "mutants")
        status, findings = run(options.command, [f"mutants={listed}"], folder)
        if status != 0 or findings:
            sys.exit(f"the command fails without any mutant (status {status}): {findings}")
        with open(listed, encoding="utf-8") as file:
            mutants = list(enumerate(file.read().splitlines(), 1))
        chosen = [(n, text[2:]) for n, text in mutants if text.startswith("*")
                  and (not options.kernel or text.split(" ")[1] in options.kernel)]
        missed = []
        chosen = chosen[::options.every]
        for number, text in chosen:
            for seed in range(options.seeds):
                settings = [f"mutant={number}", f"seed={seed}"]
                status, findings = run(options.command, settings, folder)
                if status != 0 or findings:
                    break
            else:
                missed.append(text)
                print(f"not noticed: {text}", flush=True)
    print(f"mutants: {len(chosen)} tried of {len(mutants)}, "
          f"{len(chosen) - len(missed)} noticed, {len(missed)} not")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
