"""Exact match on held-out problems: by one pass over the wanted answer, or by generation."""
import argparse
import collections
import json
import random

import torch
from tokenizers import Tokenizer

import data
from model import Config, Model


def sample(split, n, seed=2024):
    rng = random.Random(seed)
    return [data.problem(rng, split, (0.5, 0.5, 0, 0), False) for _ in range(n)]


@torch.no_grad()
def teacher_forced(model, coder, problems, per=24, show=0):
    """Greedy output equals the wanted completion exactly when the argmax is right at every
    position of it. Also how often the MTP draft names the main head's next choice."""
    model.eval()
    right, total, agree, drafts = (collections.Counter() for _ in range(4))
    wrong_at = collections.Counter()
    coded = [(p, coder.encode(p.prompt).ids, coder.encode(p.completion + data.EOS).ids)
             for p in problems]
    coded.sort(key=lambda e: len(e[1]) + len(e[2]))
    for i in range(0, len(coded), per):
        group = coded[i:i + per]
        ids = torch.full((len(group), max(len(a) + len(b) for _, a, b in group)), 2)
        for j, (_, a, b) in enumerate(group):
            ids[j, :len(a) + len(b)] = torch.tensor(a + b)
        hidden = model.hidden(ids)
        chosen = model.lm_head(hidden).argmax(-1)
        draft = model.lm_head(model.draft(hidden, ids)).argmax(-1)
        for j, (p, a, b) in enumerate(group):
            first, last = len(a) - 1, len(a) + len(b) - 1
            hit = chosen[j, first:last] == ids[j, first + 1:last + 1]
            total[p.kind] += 1
            right[p.kind] += bool(hit.all())
            same = draft[j, first:last - 1] == chosen[j, first + 1:last]
            agree[p.kind.split("/")[0]] += int(same.sum())
            drafts[p.kind.split("/")[0]] += len(same)
            if not hit.all():
                if p.kind.startswith("json"):
                    key = coder.decode(b[:int(hit.int().argmin())]).rsplit('":', 1)[0]
                    wrong_at[key.rsplit('"', 1)[-1]] += 1
                if show:
                    show -= 1
                    print(p.user, "\n  wanted", repr(p.completion), "\n  got   ",
                          repr(coder.decode(chosen[j, first:last].tolist(), False)))
    kinds = {k: f"{right[k]}/{total[k]}" for k in sorted(total)}
    return kinds, dict(wrong_at), {k: round(agree[k] / drafts[k], 3) for k in drafts}


def generated(model, coder, problems, per=50, show=0):
    """The real thing: greedy generation, the text after </think> compared with the answer."""
    model.eval()
    eos = coder.token_to_id(data.EOS)
    right, total, groups = collections.Counter(), collections.Counter(), {}
    for p in problems:
        ids = coder.encode(p.prompt).ids
        groups.setdefault(len(ids), []).append((p, ids))
    for group in groups.values():
        for i in range(0, len(group), per):
            some = group[i:i + per]
            for (p, _), out in zip(some, model.generate(torch.tensor([x for _, x in some]), eos)):
                text = coder.decode(out, skip_special_tokens=False)
                good = text.split(data.END_THINK)[-1] == p.answer and \
                    (data.END_THINK in text) == (data.END_THINK in p.completion)
                total[p.kind] += 1
                right[p.kind] += good
                if not good and show:
                    show -= 1
                    print(p.user, "\n  wanted", p.completion, "\n  got   ", text)
    return {k: f"{right[k]}/{total[k]}" for k in sorted(total)}


def load(path, bf16):
    saved = torch.load(path, weights_only=False)
    model = Model(Config(**saved["config"]))
    model.load_state_dict(saved["model"])
    if bf16:  # The rounding of the export; the selection bias of the router stays F32.
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.bfloat16().float())
    return model


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("checkpoint")
    args.add_argument("--split", default="dev", choices=data.SPLITS)
    args.add_argument("--problems", default="", help="a JSON-lines file in place of a split")
    args.add_argument("-n", type=int, default=400)
    args.add_argument("--generate", action="store_true")
    args.add_argument("--bf16", action="store_true", help="round the weights as the export does")
    args.add_argument("--show", type=int, default=0, help="print so many wrong answers")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--tokenizer", default="model/tokenizer.json")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    coder = Tokenizer.from_file(args.tokenizer)
    if args.problems:
        lines = [json.loads(line) for line in open(args.problems, encoding="utf-8")]
        chosen = [data.Problem(x["kind"], x["user"], data.THINK if x["thinking"]
                               else data.END_THINK, x["completion"]) for x in lines]
    else:
        chosen = sample(args.split, args.n)
    model = load(args.checkpoint, args.bf16)
    score = generated if args.generate else teacher_forced
    print(score(model, coder, chosen, show=args.show))
