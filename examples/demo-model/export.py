"""Writes a checkpoint as a published DeepSeek-V3 model folder, and compares it with transformers.

BF16 weights (the router's selection bias F32), one tensor an expert, the MTP layer at index
num_hidden_layers with its own copies of embedding and head, RoPE pairs interleaved as they are
in DeepSeek's checkpoints, and rows of the vocabulary padded to a multiple of 64.
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

import data
import evaluate

CHAT_TEMPLATE = (
    "{%- if thinking is not defined -%}{%- set thinking = false -%}{%- endif -%}"
    "{%- set ns = namespace(system='', open=false) -%}"
    "{%- for m in messages if m.role == 'system' -%}"
    "{%- set ns.system = ns.system + ('\\n\\n' if ns.system else '') + m.content -%}"
    "{%- endfor -%}"
    "{{- bos_token + ns.system -}}"
    "{%- for m in messages -%}"
    "{%- if m.role == 'user' -%}"
    "{{- '<｜User｜>' + m.content -}}{%- set ns.open = true -%}"
    "{%- elif m.role == 'assistant' -%}"
    "{%- if ns.open -%}{{- '<｜Assistant｜></think>' -}}{%- set ns.open = false -%}{%- endif -%}"
    "{{- m.content.split('</think>', 1)[-1] + '<｜end▁of▁sentence｜>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt and ns.open -%}"
    "{{- '<｜Assistant｜>' + ('<think>' if thinking else '</think>') -}}"
    "{%- endif -%}")


def tensors(model):
    """Published name to tensor."""
    c, out = model.c, {}
    bf16 = torch.bfloat16

    def layer(prefix, part):
        for name, value in part.state_dict().items():
            if name == "mlp.gate":
                out[prefix + "mlp.gate.weight"] = value.to(bf16)
            elif name == "mlp.e_score_correction_bias":
                out[prefix + "mlp.gate.e_score_correction_bias"] = value.float()
            elif name in ("mlp.gate_up", "mlp.down"):
                for e, matrix in enumerate(value.to(bf16)):
                    expert = f"{prefix}mlp.experts.{e}."
                    if name == "mlp.down":
                        out[expert + "down_proj.weight"] = matrix
                    else:
                        gate, up = matrix.chunk(2)
                        out[expert + "gate_proj.weight"] = gate
                        out[expert + "up_proj.weight"] = up
            elif name != "mlp.load":
                out[prefix + name] = value.to(bf16)

    embedding = model.embed_tokens.weight.detach().to(bf16)
    out["model.embed_tokens.weight"] = embedding
    for i, part in enumerate(model.layers):
        layer(f"model.layers.{i}.", part)
    out["model.norm.weight"] = model.norm.weight.detach().to(bf16)
    out["lm_head.weight"] = embedding.clone()
    prefix, mtp = f"model.layers.{c.num_hidden_layers}.", model.mtp
    layer(prefix, mtp.layer)
    out[prefix + "embed_tokens.weight"] = embedding.clone()
    out[prefix + "enorm.weight"] = mtp.enorm.weight.detach().to(bf16)
    out[prefix + "hnorm.weight"] = mtp.hnorm.weight.detach().to(bf16)
    out[prefix + "eh_proj.weight"] = mtp.eh_proj.weight.detach().to(bf16)
    out[prefix + "shared_head.norm.weight"] = mtp.norm.weight.detach().to(bf16)
    out[prefix + "shared_head.head.weight"] = embedding.clone()
    return {name: value.contiguous().clone() for name, value in out.items()}


def config(c):
    same = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "q_lora_rank",
            "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
            "intermediate_size", "moe_intermediate_size", "n_routed_experts",
            "num_experts_per_tok", "n_shared_experts", "n_group", "topk_group",
            "first_k_dense_replace", "routed_scaling_factor", "rope_theta", "rms_norm_eps",
            "max_position_embeddings"]
    fixed = dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3",
                 attention_bias=False, attention_dropout=0.0, bos_token_id=0, eos_token_id=1,
                 ep_size=1, hidden_act="silu", initializer_range=0.02, moe_layer_freq=1,
                 norm_topk_prob=True, num_key_value_heads=c.num_attention_heads,
                 num_nextn_predict_layers=1, pretraining_tp=1, rope_scaling=None,
                 scoring_func="sigmoid", tie_word_embeddings=False, topk_method="noaux_tc",
                 torch_dtype="bfloat16", use_cache=True)
    return dict(sorted((fixed | {k: getattr(c, k) for k in same}).items()))


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def tokenizer_config(c):
    def added(content):
        return dict(__type="AddedToken", content=content, lstrip=False, normalized=True,
                    rstrip=False, single_word=False)
    return dict(add_bos_token=True, add_eos_token=False, bos_token=added(data.BOS),
                clean_up_tokenization_spaces=False, eos_token=added(data.EOS), legacy=True,
                model_max_length=c.max_position_embeddings, pad_token=added(data.PAD),
                sp_model_kwargs={}, unk_token=None, tokenizer_class="LlamaTokenizerFast",
                chat_template=CHAT_TEMPLATE)


@torch.no_grad()
def compare(folder, model, coder):
    """The greatest difference of logits and log-probabilities from transformers, in float32."""
    from transformers import DeepseekV3ForCausalLM
    theirs = DeepseekV3ForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager",
        experts_implementation="eager").eval()
    logit, logprob = 0.0, 0.0
    for p in evaluate.sample("dev", 20):
        ids = torch.tensor([coder.encode(p.prompt + p.completion + data.EOS).ids])
        a, b = model.lm_head(model.hidden(ids)), theirs(ids).logits
        logit = max(logit, (a - b).abs().max().item())
        logprob = max(logprob, (a.log_softmax(-1) - b.log_softmax(-1)).abs().max().item())
    print(f"against transformers: logits within {logit:.2e}, log-probabilities {logprob:.2e}")


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("checkpoint")
    args.add_argument("--out", default="model", help="folder that has the tokenizer.json")
    args = args.parse_args()
    model = evaluate.load(args.checkpoint, bf16=True).eval()
    coder = Tokenizer.from_file(os.path.join(args.out, "tokenizer.json"))
    path = os.path.join(args.out, "model.safetensors")
    save_file(tensors(model), path, metadata={"format": "pt"})
    os.chmod(path, 0o644)
    write_json(os.path.join(args.out, "config.json"), config(model.c))
    write_json(os.path.join(args.out, "generation_config.json"),
               dict(_from_model_config=True, bos_token_id=0, eos_token_id=1, do_sample=False))
    write_json(os.path.join(args.out, "tokenizer_config.json"), tokenizer_config(model.c))
    print(path, os.path.getsize(path), "bytes")
    compare(args.out, model, coder)


if __name__ == "__main__":
    main()
