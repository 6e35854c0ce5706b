"""Muon for the matrices and Adam for the rest, over gradients that two processes share.

Each process works out the gradient of its own problems with one thread (at these sizes two
threads in one product are slower than one) and then steps its own half of the matrices. Weights,
gradients and optimizer state lie in shared memory, so nothing is sent.
"""
import torch

MUON_LR, ADAM_LR, MOMENTUM, DECAY = 0.02, 0.003, 0.95, 0.01
BETA1, BETA2, EPS = 0.9, 0.98, 1e-8


def orthogonal(g):
    """Newton-Schulz iteration: all singular values towards 1. g is [n, rows, columns]."""
    x = g.transpose(1, 2) if g.shape[1] > g.shape[2] else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.transpose(1, 2) if g.shape[1] > g.shape[2] else x


def is_matrix(name, p):
    return p.ndim >= 2 and "embed_tokens" not in name and not name.endswith("mlp.gate")


class SharedOptimizer:
    """Made before the processes fork. grads is [ranks, parameters], one flat row each."""

    def __init__(self, model, ranks):
        self.named = list(model.named_parameters())
        total = sum(p.numel() for _, p in self.named)
        self.grads = torch.zeros(ranks, total).share_memory_()
        self.first = torch.zeros(total).share_memory_()   # Momentum, and Adam's first moment.
        self.second = torch.zeros(total).share_memory_()  # Adam's second moment.
        self.steps = torch.zeros(1).share_memory_()       # Adam's count of steps.
        # Each matrix goes to the rank with the least work so far; work of a step is about
        # elements times the shorter side.
        self.owner, load, at = {}, [0] * ranks, 0
        self.place = {}
        for name, p in self.named:
            self.place[name] = slice(at, at + p.numel())
            at += p.numel()
        for name, p in sorted(self.named, key=lambda e: -e[1].numel()):
            if is_matrix(name, p):
                rank = load.index(min(load))
                load[rank] += p.numel() * min(p.shape[-2:])
                self.owner[name] = rank

    def attach(self, rank):
        """From here on backward() of this process adds into its row of grads."""
        for name, p in self.named:
            p.grad = self.grads[rank][self.place[name]].view_as(p)

    @torch.no_grad()
    def step(self, rank, rate, weight, stepped):
        """weight is the count of tokens behind the summed gradients of all ranks; stepped says by
        name which parameters move."""
        groups = {}
        for name, p in self.named:
            if not stepped(name):
                continue
            if self.owner.get(name) == rank:
                halves = name.endswith("gate_up")  # Two matrices an expert.
                groups.setdefault((p.shape[-2:], halves), []).append((name, p))
            elif rank == 0 and name not in self.owner:
                self.adam(name, p, rate, weight)
        for (shape, halves), members in groups.items():
            self.muon(shape, halves, members, rate)

    def adam(self, name, p, rate, weight):
        place, n = self.place[name], self.steps.item()
        g = self.grads[:, place].sum(0).div_(weight)
        m, v = self.first[place].lerp_(g, 1 - BETA1), self.second[place].lerp_(g * g, 1 - BETA2)
        change = (m / (1 - BETA1**n)) / ((v / (1 - BETA2**n)).sqrt_() + EPS)
        p.add_(change.view_as(p), alpha=-ADAM_LR * rate)

    def muon(self, shape, halves, members, rate):
        """Matrices of one shape together: one batched iteration for all of them."""
        rows, columns = shape
        if halves:
            rows //= 2
        updates = []
        for name, _ in members:
            g, m = self.grads[:, self.place[name]].sum(0), self.first[self.place[name]]
            m.lerp_(g, 1 - MOMENTUM)
            updates.append(g.lerp_(m, MOMENTUM).view(-1, rows, columns))
        moved = orthogonal(torch.cat(updates)).split([u.shape[0] for u in updates])
        lr = MUON_LR * rate
        for (_, p), u in zip(members, moved):
            p.mul_(1 - lr * DECAY).add_(u.reshape(p.shape), alpha=-lr * max(1, rows / columns)**0.5)

    def state(self):
        return dict(first=self.first, second=self.second, steps=self.steps)

    def load(self, state):
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
