"""Trains the demo model: warm-up, a stable rate for as long as wanted, then a decay to zero.

A run in the stable phase can go on over several sittings (--resume), and any stable checkpoint
can be decayed into a model to export (--resume ... --decay MINUTES). See README.md.
"""
import argparse
import json
import os
import random
import time
from dataclasses import asdict

import torch
import torch.multiprocessing as mp
from tokenizers import Tokenizer

import data
import evaluate
from model import Config, Model, MoE
from optimizer import SharedOptimizer

N_LAST = 19  # Special tokens at the end of the vocabulary.


def repeated_tokens(rng, vocab):
    """A random sequence, then the same again: attention learns to copy on it in minutes."""
    low, high = rng.choice([(3, vocab), (3, vocab), (19, 29)])
    part = [rng.randrange(low, high) for _ in range(rng.randint(4, 24))]
    return part, part


def cut(lengths):
    """Cuts a sorted list of lengths into micro-batches so that padding, and a fixed price of 150
    tokens for each, cost the least. Returns (first, last) pairs."""
    best = [(0, 0)]  # best[n]: cost of the first n, and where the last cut before n is.
    for n in range(1, len(lengths) + 1):
        best.append(min((best[i][0] + (n - i) * lengths[n - 1] + 150, i) for i in range(n)))
    pairs, n = [], len(lengths)
    while n:
        pairs.append((best[n][1], n))
        n = best[n][1]
    return pairs


def batch(rng, coder, args, copying):
    """Micro-batches of like length, so that little is padding; each is (ids, weights)."""
    examples = []
    for _ in range(args.docs // args.ranks):
        if rng.random() < copying:
            examples.append(repeated_tokens(rng, coder.get_vocab_size() - N_LAST))
            continue
        p = data.problem(rng, "train", args.mix)
        examples.append((coder.encode(p.prompt).ids, coder.encode(p.completion + data.EOS).ids))
    examples.sort(key=lambda e: len(e[0]) + len(e[1]))
    out = []
    for first, last in cut([len(p) + len(c) for p, c in examples]):
        group = examples[first:last]
        rows = len(group[-1][0]) + len(group[-1][1])
        ids, weight = torch.full((len(group), rows), 2), torch.zeros(len(group), rows)
        for j, (p, c) in enumerate(group):
            ids[j, :len(p) + len(c)] = torch.tensor(p + c)
            weight[j, 1:len(p)] = args.prompt_loss
            weight[j, len(p):len(p) + len(c)] = 1
        out.append((ids, weight))
    return out


class Run:
    """Everything that a checkpoint holds, in memory that all ranks share."""

    def __init__(self, args):
        self.args = args
        saved = torch.load(args.resume, weights_only=False) if args.resume else None
        self.config = Config(**(saved["config"] if saved else json.loads(args.config)))
        torch.manual_seed(args.seed)
        self.model = Model(self.config).train()
        self.rngs = [random.Random(args.seed * 1000 + r) for r in range(args.ranks)]
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.optimizer = SharedOptimizer(self.model, args.ranks)
        if saved:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load(saved["optimizer"])
            self.rngs[0].setstate(saved["rng"])
            for rng in self.rngs[1:]:
                rng.seed(self.rngs[0].random())
            self.step, self.tokens, self.seconds = (saved[k] for k in ("step", "tokens", "seconds"))
        self.model.share_memory()
        self.moes = [m for m in self.model.modules() if isinstance(m, MoE)]
        # What the ranks tell each other in a step: tokens, loss weight, losses; expert loads.
        self.sums = torch.zeros(args.ranks, 4).share_memory_()
        self.loads = torch.zeros(args.ranks, len(self.moes), self.config.n_routed_experts)
        self.loads.share_memory_()
        self.control = torch.zeros(4).share_memory_()  # Go on, rate, repeated tokens, MTP weight.
        self.barrier = mp.get_context("fork").Barrier(args.ranks)

    def save(self, path):
        torch.save(dict(config=asdict(self.config), model=self.model.state_dict(),
                        optimizer=self.optimizer.state(), rng=self.rngs[0].getstate(),
                        step=self.step, tokens=self.tokens, seconds=self.seconds), path + ".new")
        os.replace(path + ".new", path)

    def balance(self, step):
        """Moves the selection bias of each expert towards an even load."""
        moes = self.moes[-1:] if self.args.mtp_only else self.moes
        for m, load in zip(moes, self.loads.sum(0)[-len(moes):]):
            m.e_score_correction_bias += step * torch.sign(load.mean() - load)


def rank_step(run, rank, coder):
    """One step of one rank; every rank runs this in lock step."""
    args, (_, rate, copying, mtp) = run.args, run.control.tolist()
    run.optimizer.grads[rank].zero_()
    sums = torch.zeros(4)
    for ids, weight in batch(run.rngs[rank], coder, args, copying):
        main, draft = run.model.loss(ids, weight, mtp > 0, args.mtp_only)
        (main + mtp * draft).backward()
        sums += torch.tensor([float((ids != 2).sum()), float(weight[:, 1:].sum()),
                              main.item(), draft.item()])
    run.sums[rank] = sums
    for load, m in zip(run.loads[rank], run.moes):
        load.copy_(m.load)
        m.load.zero_()
    if rank == 0:
        run.optimizer.steps += 1
    run.barrier.wait()
    run.optimizer.step(rank, rate, run.sums[:, 1].sum().item(), lambda name: (
        bool(mtp) if name.startswith("mtp.") else not args.mtp_only))
    if rank == 0:
        with torch.no_grad():
            run.balance(0.002 * rate)
    run.barrier.wait()


def follow(run, rank, coder):
    """Ranks other than 0."""
    torch.set_num_threads(1)
    run.optimizer.attach(rank)
    while True:
        run.barrier.wait()
        if not run.control[0]:
            return
        rank_step(run, rank, coder)


def lead(run, coder):
    """Rank 0: the clock, the log, evaluations and checkpoints."""
    args = run.args
    run.optimizer.attach(0)
    start = last_save = last_eval = time.time()
    budget = (args.decay or args.minutes) * 60
    before, seconds, first_step = run.tokens, run.seconds, run.step
    sums = torch.zeros(4)
    while True:
        now = time.time()
        share, run.seconds = (now - start) / budget, seconds + now - start
        rate = min(1.0, (run.step - first_step + 1) / (60 if first_step == 0 else 10))
        rate *= args.rate * (max(0.0, 1 - share) if args.decay else 1.0)
        copying = max(args.copying, 0.6 * (1 - run.step / args.copy_steps))
        mtp = args.mtp if share >= args.mtp_from else 0.0
        run.control.copy_(torch.tensor([float(share < 1), rate, copying, mtp]))
        run.barrier.wait()
        if share >= 1:
            break
        rank_step(run, 0, coder)
        run.step += 1
        run.tokens += int(run.sums[:, 0].sum())
        sums += run.sums.sum(0)
        if run.step % 50 == 0:
            print(f"step {run.step} tokens {run.tokens / 1e6:.2f}M {run.seconds:.0f}s"
                  f" {(run.tokens - before) / (time.time() - start):.0f}/s rate {rate:.2f}"
                  f" loss {sums[2] / sums[1]:.4f} mtp {sums[3] / sums[1]:.4f}", flush=True)
            sums.zero_()
        if now - last_eval > args.evaluate:
            last_eval = now
            check(run, coder)
        if now - last_save > args.save:
            last_save = now
            run.save(args.out)
    run.save(args.out)
    check(run, coder)
    print("saved", args.out, run.step, run.tokens)


def check(run, coder):
    report = evaluate.teacher_forced(run.model, coder, evaluate.sample("dev", run.args.sample))
    print(f"EVALUATION step {run.step} {run.tokens / 1e6:.2f}M {report}", flush=True)
    run.model.train()


def arguments():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--minutes", type=float, default=60, help="length of a stable sitting")
    a.add_argument("--decay", type=float, default=0, help="minutes in which the rate falls to 0")
    a.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    a.add_argument("--docs", type=int, default=40, help="problems a step, over all ranks")
    a.add_argument("--config", default="{}", help="JSON of fields of model.Config")
    a.add_argument("--mix", type=json.loads, default=[0.46, 0.50, 0.02, 0.02],
                   help="weights of arithmetic, texts, repetition, greeting")
    a.add_argument("--copying", type=float, default=0.0, help="share of repeated random tokens")
    a.add_argument("--copy-steps", type=int, default=600, help="steps until that share is reached")
    a.add_argument("--prompt-loss", type=float, default=0.0, help="weight of prompt tokens")
    a.add_argument("--mtp", type=float, default=0.0, help="weight of the MTP loss")
    a.add_argument("--mtp-only", action="store_true", help="leave the main model as it is")
    a.add_argument("--mtp-from", type=float, default=0.0, help="share of the sitting without it")
    a.add_argument("--tokenizer", default="model/tokenizer.json")
    a.add_argument("--out", default="run.pt")
    a.add_argument("--resume", default="")
    a.add_argument("--save", type=float, default=180, help="seconds between checkpoints")
    a.add_argument("--evaluate", type=float, default=300, help="seconds between evaluations")
    a.add_argument("--sample", type=int, default=200, help="problems an evaluation")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--ranks", type=int, default=2, help="processes, one thread each")
    return a.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(1)
    run = Run(args)
    coder = Tokenizer.from_file(args.tokenizer)
    print(run.config, sum(p.numel() for p in run.model.parameters()), "parameters", flush=True)
    others = [mp.get_context("fork").Process(target=follow, args=(run, r, coder), daemon=True)
              for r in range(1, args.ranks)]
    for p in others:
        p.start()
    lead(run, coder)
    for p in others:
        p.join()


if __name__ == "__main__":
    main()
