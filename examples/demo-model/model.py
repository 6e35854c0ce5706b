"""DeepSeek-V3 in small, for training on a CPU: MLA with q_lora, the no-aux-loss router with groups
and a selection bias, shared and routed experts, a dense first layer, one MTP layer.

Parameters carry the names of the published checkpoints; only the experts of a layer are stacked
into one tensor, and export.py takes them apart.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab_size: int = 1408
    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    q_lora_rank: int = 96
    kv_lora_rank: int = 64
    qk_nope_head_dim: int = 32
    qk_rope_head_dim: int = 16
    v_head_dim: int = 32
    intermediate_size: int = 256
    moe_intermediate_size: int = 64
    n_routed_experts: int = 16
    num_experts_per_tok: int = 2
    n_shared_experts: int = 1
    n_group: int = 4
    topk_group: int = 2
    first_k_dense_replace: int = 1
    routed_scaling_factor: float = 2.5
    rope_theta: float = 100.0
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 1024


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def linear(n_in, n_out, gain=1.0):
    layer = nn.Linear(n_in, n_out, bias=False)
    nn.init.normal_(layer.weight, std=gain * 0.6 / math.sqrt(n_in))
    return layer


def rope(x, cos, sin):
    """Turns interleaved pairs, as in DeepSeek's checkpoints. x is [..., rows, rope dim]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, heads = c, c.num_attention_heads
        qk = c.qk_nope_head_dim + c.qk_rope_head_dim
        self.q_a_proj = linear(c.hidden_size, c.q_lora_rank)
        self.q_a_layernorm = RMSNorm(c.q_lora_rank, c.rms_norm_eps)
        self.q_b_proj = linear(c.q_lora_rank, heads * qk)
        self.kv_a_proj_with_mqa = linear(c.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank, c.rms_norm_eps)
        self.kv_b_proj = linear(c.kv_lora_rank, heads * (c.qk_nope_head_dim + c.v_head_dim))
        self.o_proj = linear(heads * c.v_head_dim, c.hidden_size, 0.3)

    def forward(self, x, rotation, mask, past=None):
        c, heads = self.c, self.c.num_attention_heads
        n, rows, _ = x.shape
        dn, dr, dv = c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = q.view(n, rows, heads, dn + dr).transpose(1, 2)
        latent, rope_key = self.kv_a_proj_with_mqa(x).split([c.kv_lora_rank, dr], -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent))
        kv = kv.view(n, rows, heads, dn + dv).transpose(1, 2)
        q = torch.cat([q[..., :dn], rope(q[..., dn:], *rotation)], -1)
        rope_key = rope(rope_key, *rotation)[:, None].expand(n, heads, rows, dr)
        k, v = torch.cat([kv[..., :dn], rope_key], -1), kv[..., dn:]
        if past is not None:  # A list [k, v], grown in place while generating.
            if past[0] is not None:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            past[0], past[1] = k, v
        scores = q @ k.transpose(-1, -2) * (dn + dr) ** -0.5
        if mask is not None:
            scores = scores + mask
        out = scores.softmax(-1) @ v
        return self.o_proj(out.transpose(1, 2).reshape(n, rows, heads * dv))


class MLP(nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate_proj = linear(hidden, width)
        self.up_proj = linear(hidden, width)
        self.down_proj = linear(width, hidden, 0.3)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class RoutedExperts(torch.autograd.Function):
    """sum over the chosen experts e of weight * down_e(silu(gate_e x) * up_e x).

    Rows are sorted by expert, and each expert multiplies just its own. The backward pass is
    written out: gathers only (index_add is slow on a CPU), and no padding to the fullest expert.
    """

    @staticmethod
    def forward(ctx, x, weight, gate_up, down, order, count):
        rows, k = weight.shape
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(rows * k)
        row = order // k
        xs = x.index_select(0, row)                        # [rows * k, hidden], sorted by expert
        h = x.new_empty(rows * k, gate_up.shape[1])
        y = torch.empty_like(xs)
        first = 0
        for e, n in enumerate(count):
            torch.mm(xs[first:first + n], gate_up[e].T, out=h[first:first + n])
            first += n
        gate, up = h.chunk(2, -1)
        act = F.silu(gate).mul_(up)
        first = 0
        for e, n in enumerate(count):
            torch.mm(act[first:first + n], down[e].T, out=y[first:first + n])
            first += n
        ws = weight.reshape(-1, 1).index_select(0, order)
        ctx.save_for_backward(xs, h, act, y, ws, gate_up, down, row, inverse)
        ctx.count, ctx.k = count, k
        return (y * ws).index_select(0, inverse).view(rows, k, -1).sum(1)

    @staticmethod
    def backward(ctx, grad):
        xs, h, act, y, ws, gate_up, down, row, inverse = ctx.saved_tensors
        gs = grad.index_select(0, row)
        grad_weight = torch.linalg.vecdot(gs, y).index_select(0, inverse).view(-1, ctx.k)
        gy = gs.mul_(ws)
        grad_down, grad_gate_up = torch.zeros_like(down), torch.zeros_like(gate_up)
        grad_act, grad_xs = torch.empty_like(act), torch.empty_like(xs)
        first = 0
        for e, n in enumerate(ctx.count):
            part = slice(first, first + n)
            torch.mm(gy[part].T, act[part], out=grad_down[e])
            torch.mm(gy[part], down[e], out=grad_act[part])
            first += n
        gate, up = h.chunk(2, -1)
        s = gate.sigmoid()
        silu = gate * s
        grad_h = torch.cat([grad_act * up * (s + silu * (1 - s)), grad_act * silu], -1)
        first = 0
        for e, n in enumerate(ctx.count):
            part = slice(first, first + n)
            torch.mm(grad_h[part].T, xs[part], out=grad_gate_up[e])
            torch.mm(grad_h[part], gate_up[e], out=grad_xs[part])
            first += n
        grad_x = grad_xs.index_select(0, inverse).view(grad.shape[0], ctx.k, -1).sum(1)
        return grad_x, grad_weight, grad_gate_up, grad_down, None, None


class MoE(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        experts, hidden, width = c.n_routed_experts, c.hidden_size, c.moe_intermediate_size
        self.gate = nn.Parameter(torch.randn(experts, hidden) / math.sqrt(hidden))
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))
        scale = 0.6 / math.sqrt(hidden)
        self.gate_up = nn.Parameter(torch.randn(experts, 2 * width, hidden) * scale)
        self.down = nn.Parameter(torch.randn(experts, hidden, width) * 0.18 / math.sqrt(width))
        self.shared_experts = MLP(hidden, c.n_shared_experts * width)
        self.register_buffer("load", torch.zeros(experts), persistent=False)

    def route(self, x):
        c = self.c
        scores = (x @ self.gate.T).sigmoid()
        with torch.no_grad():
            choice = scores + self.e_score_correction_bias
            groups = choice.view(-1, c.n_group, c.n_routed_experts // c.n_group)
            best = groups.topk(2, -1).values.sum(-1).topk(c.topk_group, -1).indices
            closed = torch.ones(x.shape[0], c.n_group, dtype=torch.bool).scatter_(1, best, False)
            choice = groups.masked_fill(closed[..., None], float("-inf")).flatten(1)
            index = choice.topk(c.num_experts_per_tok, -1).indices
        weight = scores.gather(1, index)
        return index, weight / (weight.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor

    def forward(self, x):
        c, shape = self.c, x.shape
        x = x.reshape(-1, c.hidden_size)
        index, weight = self.route(x)
        flat = index.view(-1)
        count = torch.bincount(flat, minlength=c.n_routed_experts)
        if self.training:
            self.load += count
        y = RoutedExperts.apply(x, weight, self.gate_up, self.down, flat.argsort(stable=True),
                                count.tolist())
        return (y + self.shared_experts(x)).view(shape)


class Layer(nn.Module):
    def __init__(self, c, dense):
        super().__init__()
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = MLP(c.hidden_size, c.intermediate_size) if dense else MoE(c)

    def forward(self, x, rotation, mask, past=None):
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class MTP(nn.Module):
    """Drafts token i+2 from the hidden row of i and the embedding of token i+1.

    The hidden row is the one after the model's final norm, as vLLM and SGLang feed it.
    Embedding and head are the main model's; the export writes copies.
    """

    def __init__(self, c):
        super().__init__()
        self.enorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.hnorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.eh_proj = linear(2 * c.hidden_size, c.hidden_size)
        self.layer = Layer(c, dense=False)
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, hidden, embedded, rotation, mask):
        x = self.eh_proj(torch.cat([self.enorm(embedded), self.hnorm(hidden)], -1))
        return self.norm(self.layer(x, rotation, mask))


def causal(rows):
    return torch.full((rows, rows), float("-inf")).triu(1)


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.2)
        self.layers = nn.ModuleList(Layer(c, dense=i < c.first_k_dense_replace)
                                    for i in range(c.num_hidden_layers))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        # Trained as one matrix with the embedding and exported as two: copying a rare token then
        # needs no training of its own row of the head.
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        self.lm_head.weight = self.embed_tokens.weight
        self.mtp = MTP(c)
        dr = c.qk_rope_head_dim
        frequency = c.rope_theta ** (-torch.arange(0, dr, 2).float() / dr)
        angle = torch.arange(c.max_position_embeddings).float()[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

        self.look_back()

    @torch.no_grad()
    def look_back(self):
        """Starts heads 0, 1 and 2 of the first layer as "the token 1, 2, 3 places before".

        Copying needs such heads, and finding them by gradient alone costs millions of tokens.
        The rope parts of query and key must be the same for every token: one coordinate of
        the embedding starts as a constant, and the query is turned back by the offset, so that
        the score is a sum of cos((distance - offset) * frequency), greatest at the offset.
        """
        c, attention = self.c, self.layers[0].self_attn
        dn, dr = c.qk_nope_head_dim, c.qk_rope_head_dim
        frequency = c.rope_theta ** (-torch.arange(0, dr, 2).float() / dr)
        for layer in self.layers[1:]:
            self.copy_ahead(layer.self_attn)
        self.embed_tokens.weight[:, 0] = 1.0
        x = F.rms_norm(self.embed_tokens.weight, (c.hidden_size,), eps=c.rms_norm_eps)
        attention.q_a_proj.weight[0] = 0
        attention.q_a_proj.weight[0, 0] = 1
        q = attention.q_a_layernorm(attention.q_a_proj(x))[:, 0].mean()
        key = attention.kv_a_proj_with_mqa.weight[c.kv_lora_rank:]
        key.mul_(0.3)
        key[0::2, 0] = 4 / x[:, 0].mean()
        key[1::2, 0] = 0
        for head, offset in enumerate((1, 2, 3)):
            query = attention.q_b_proj.weight[head * (dn + dr):(head + 1) * (dn + dr)]
            query.mul_(0.3)
            query[dn + 0::2, 0] = 10 / q * torch.cos(offset * frequency)
            query[dn + 1::2, 0] = -10 / q * torch.sin(offset * frequency)

    def copy_ahead(self, attention):
        """Starts the output of a layer's attention as the transpose of its value path, so that
        looking at a token already speaks for writing that token."""
        c = self.c
        latent = attention.kv_a_proj_with_mqa.weight[:c.kv_lora_rank]
        value = attention.kv_b_proj.weight.view(c.num_attention_heads, -1, c.kv_lora_rank)
        value = value[:, c.qk_nope_head_dim:].flatten(0, 1) @ latent
        attention.o_proj.weight.copy_(value.T * attention.o_proj.weight.std() / value.std())

    def rotation(self, first, rows):
        return self.cos[first:first + rows], self.sin[first:first + rows]

    def hidden(self, ids, past=None, first=0):
        """The rows after the final norm. ids is [n, rows]."""
        rows = ids.shape[1]
        x, mask = self.embed_tokens(ids), causal(rows) if rows > 1 else None
        for i, layer in enumerate(self.layers):
            x = layer(x, self.rotation(first, rows), mask, None if past is None else past[i])
        return self.norm(x)

    def draft(self, hidden, ids):
        """MTP rows for positions 0 .. rows - 2."""
        rows = ids.shape[1] - 1
        return self.mtp(hidden[:, :-1], self.embed_tokens(ids[:, 1:]), self.rotation(0, rows),
                        causal(rows))

    def loss(self, ids, weight, mtp, mtp_only=False):
        """Summed cross entropy of the tokens with a weight, and that of the MTP layer."""
        with torch.set_grad_enabled(not mtp_only):
            hidden = self.hidden(ids)
        wanted = weight[:, 1:] > 0
        logits = self.lm_head(hidden[:, :-1][wanted])
        each = F.cross_entropy(logits, ids[:, 1:][wanted], reduction="none")
        main, draft = (each * weight[:, 1:][wanted]).sum(), torch.zeros(())
        if mtp:
            wanted = (weight[:, 2:] == 1) & (weight[:, 1:-1] == 1)
            logits = self.lm_head(self.draft(hidden, ids)[:, :-1][wanted])
            draft = F.cross_entropy(logits, ids[:, 2:][wanted], reduction="sum")
        return main, draft

    @torch.no_grad()
    def generate(self, ids, eos, most=320):
        """Greedy; all prompts in ids are of one length. Returns lists of tokens without EOS."""
        past = [[None, None] for _ in self.layers]
        out, live = [[] for _ in ids], list(range(len(ids)))
        hidden, first = self.hidden(ids, past), ids.shape[1]
        for _ in range(most):
            chosen = self.lm_head(hidden[:, -1]).argmax(-1)
            keep = [row for row, token in enumerate(chosen.tolist()) if token != eos]
            for row in keep:
                out[live[row]].append(int(chosen[row]))
            if not keep:
                break
            if len(keep) < len(live):
                live = [live[row] for row in keep]
                kept = torch.tensor(keep)
                chosen = chosen[kept]
                for pair in past:
                    pair[0], pair[1] = pair[0][kept], pair[1][kept]
            hidden = self.hidden(chosen[:, None], past, first)
            first += 1
        return out
