// What has to be true before the operators index without looking.

#include <algorithm>

#include "base/status.h"
#include "cpu/cpu_check.h"

namespace fathom {
namespace {

/// One call of a plan under check.
class CallCheck {
public:
    CallCheck(const Plan& plan, int32_t index) : plan_(plan), index_(index) {}

    const OpCall& call() const { return plan_.calls[index_]; }
    const ModelShape& shape() const { return plan_.shape; }

    void slot(int32_t index, int64_t width, SlotType type, const char* name) const {
        if (index < 0 || index >= plan_.n_slots) {
            reject(name, index, plan_.n_slots - 1, "slot index, the last is");
        }
        const SlotInfo& info = plan_.slots[index];
        if (info.width != width) reject(name, info.width, width, "slot width, needed is");
        if (info.type != type) {
            reject(name, static_cast<int64_t>(info.type), static_cast<int64_t>(type),
                   "slot type, needed is");
        }
        const bool gathered = call().rows_from_gather != 0 ||
                              (call().op == Op::kGatherRows && index == call().out[0]);
        if ((info.gathered != 0) != gathered) {
            reject(name, info.gathered, gathered, "slot gathered, needed is");
        }
    }

    const Weight& weight(int32_t index, int64_t rows, int64_t cols, const char* name) const {
        if (index < 0 || index >= plan_.n_weights) {
            reject(name, index, plan_.n_weights - 1, "weight index, the last is");
        }
        const Weight& w = plan_.weights[index];
        if (w.rows != rows) reject(name, w.rows, rows, "weight rows, needed are");
        if (w.cols != cols) reject(name, w.cols, cols, "weight columns, needed are");
        const int32_t type = static_cast<int32_t>(w.dtype);
        if (type < 0 || type > static_cast<int32_t>(DType::kF8E4M3)) {
            reject(name, type, static_cast<int64_t>(DType::kF8E4M3), "weight type, the last is");
        }
        if (w.data == nullptr || (w.dtype == DType::kF8E4M3 && w.scale == nullptr)) {
            reject(name, 0, 1, "weight data or scale pointers, needed are");
        }
        return w;
    }

    /// `n` consecutive weights of one shape and type.
    void weights(int32_t first, int64_t n, int64_t rows, int64_t cols, const char* name) const {
        const DType dtype = weight(first, rows, cols, name).dtype;
        for (int64_t i = 1; i < n; ++i) {
            const Weight& next = weight(first + static_cast<int32_t>(i), rows, cols, name);
            if (next.dtype != dtype) {
                reject(name, static_cast<int64_t>(next.dtype), static_cast<int64_t>(dtype),
                       "weight type, that of the first expert is");
            }
        }
    }

    void distinct(int32_t out, int32_t in) const {
        if (out == in) reject("output", out, in + 1, "same slot as an input, possible is");
    }

    [[noreturn]] void reject(const char* name, int64_t found, int64_t wanted,
                             const char* what) const {
        fail(Status::kInvalidArgument, "plan: call ", index_, " (op ",
             static_cast<int32_t>(call().op), "): ", name, ": ", found, " ", what, " ", wanted);
    }

private:
    const Plan& plan_;
    int32_t index_;
};

void check_mla(const CallCheck& check) {
    const OpCall& call = check.call();
    const ModelShape& s = check.shape();
    const int64_t heads = s.n_heads;
    if (call.layer < 0 || call.layer >= s.n_layers) {
        check.reject("layer", call.layer, s.n_layers - 1, "the last is");
    }
    check.slot(call.in[0], heads * (s.qk_nope + s.qk_rope), SlotType::kF32, "queries");
    if (call.op == Op::kMlaStore) {
        check.slot(call.in[1], int64_t{s.kv_lora_rank} + s.qk_rope, SlotType::kF32, "latent");
        check.weight(call.w[0], 1, s.kv_lora_rank, "kv_a_layernorm");
        return;
    }
    check.weight(call.w[0], heads * (s.qk_nope + s.v_head), s.kv_lora_rank, "kv_b_proj");
    check.weight(call.w[1], heads * s.kv_lora_rank, s.qk_nope, "transposed key part");
    check.slot(call.out[0], heads * s.v_head, SlotType::kF32, "attention output");
    check.distinct(call.out[0], call.in[0]);
}

void check_moe(const CallCheck& check) {
    const OpCall& call = check.call();
    const ModelShape& s = check.shape();
    check.slot(call.in[0], s.hidden, SlotType::kF32, "hidden");
    if (call.op == Op::kMoeRoute) {
        check.weight(call.w[0], s.n_routed_experts, s.hidden, "gate");
        if (call.w[1] >= 0) check.weight(call.w[1], 1, s.n_routed_experts, "correction bias");
        check.slot(call.out[0], s.top_k, SlotType::kI32, "expert ids");
        check.slot(call.out[1], s.top_k, SlotType::kF32, "expert weights");
        return;
    }
    check.slot(call.out[0], s.hidden, SlotType::kF32, "output");
    check.distinct(call.out[0], call.in[0]);
    if (call.op == Op::kDenseFfn) {
        check.weights(call.w[0], 1, s.dense_intermediate, s.hidden, "gate_proj");
        check.weights(call.w[1], 1, s.dense_intermediate, s.hidden, "up_proj");
        check.weights(call.w[2], 1, s.hidden, s.dense_intermediate, "down_proj");
    } else {
        check.slot(call.in[1], s.top_k, SlotType::kI32, "expert ids");
        check.slot(call.in[2], s.top_k, SlotType::kF32, "expert weights");
        check.weights(call.w[0], s.n_routed_experts, s.moe_intermediate, s.hidden, "gate_proj");
        check.weights(call.w[1], s.n_routed_experts, s.moe_intermediate, s.hidden, "up_proj");
        check.weights(call.w[2], s.n_routed_experts, s.hidden, s.moe_intermediate, "down_proj");
        if (call.w[3] < 0) return;
        check.weight(call.w[3], s.shared_intermediate, s.hidden, "shared gate_proj");
        check.weight(call.w[3] + 1, s.shared_intermediate, s.hidden, "shared up_proj");
        check.weight(call.w[3] + 2, s.hidden, s.shared_intermediate, "shared down_proj");
    }
}

/// Gate and up of one network go through one kernel call, so they have one type.
void check_gate_up_types(const CallCheck& check, const Weight* weights) {
    const OpCall& call = check.call();
    const auto same = [&](const Weight& gate, const Weight& up) {
        if (gate.dtype != up.dtype) {
            check.reject("up_proj", static_cast<int64_t>(up.dtype),
                         static_cast<int64_t>(gate.dtype), "weight type, that of gate_proj is");
        }
    };
    same(weights[call.w[0]], weights[call.w[1]]);
    if (call.op == Op::kMoeFfn && call.w[3] >= 0) {
        same(weights[call.w[3]], weights[call.w[3] + 1]);
    }
}

void check_rows(const CallCheck& check, const Plan& plan) {
    const OpCall& call = check.call();
    const ModelShape& s = check.shape();
    // The width of the first operand is free; everything else follows from it.
    const int32_t known = call.op == Op::kEmbed ? call.out[0] : call.in[0];
    if (known < 0 || known >= plan.n_slots) {
        check.reject("slot", known, plan.n_slots - 1, "index, the last is");
    }
    const int64_t width = plan.slots[known].width;
    switch (call.op) {
        case Op::kEmbed:
            check.slot(call.out[0], s.hidden, SlotType::kF32, "output");
            check.weight(call.w[0], s.vocab_rows, s.hidden, "embed_tokens");
            break;
        case Op::kRmsNorm:
            check.slot(call.in[0], width, SlotType::kF32, "residual");
            if (call.in[1] >= 0) check.slot(call.in[1], width, SlotType::kF32, "addend");
            check.slot(call.out[0], width, SlotType::kF32, "output");
            check.weight(call.w[0], 1, width, "norm");
            break;
        case Op::kLinear: {
            check.slot(call.in[0], width, SlotType::kF32, "input");
            if (call.out[0] < 0 || call.out[0] >= plan.n_slots) {
                check.reject("output", call.out[0], plan.n_slots - 1, "slot index, the last is");
            }
            const int64_t rows = plan.slots[call.out[0]].width;
            check.slot(call.out[0], rows, SlotType::kF32, "output");
            check.weight(call.w[0], rows, width, "weight");
            check.distinct(call.out[0], call.in[0]);
            break;
        }
        default:  // kGatherRows
            check.slot(call.in[0], width, SlotType::kF32, "input");
            check.slot(call.out[0], width, SlotType::kF32, "output");
            check.distinct(call.out[0], call.in[0]);
            break;
    }
}

void check_shape(const ModelShape& s) {
    for (const int32_t size : {s.n_layers, s.hidden, s.vocab_rows, s.n_heads, s.qk_nope, s.qk_rope,
                               s.v_head, s.kv_lora_rank}) {
        if (size < 1) fail(Status::kInvalidArgument, "plan: a size of the model is ", size);
    }
    if (s.qk_rope % 2 != 0 || s.rope_inverse_frequency == nullptr) {
        fail(Status::kInvalidArgument, "plan: qk_rope_head_dim ", s.qk_rope,
             ", wanted an even number and its frequencies");
    }
    if (s.n_routed_experts == 0) return;
    const bool groups = s.n_group >= 1 && s.topk_group >= 1 && s.topk_group <= s.n_group &&
                        s.n_routed_experts % s.n_group == 0;
    if (s.n_routed_experts < 0 || s.top_k < 1 || s.top_k > s.n_routed_experts || !groups) {
        fail(Status::kInvalidArgument, "plan: router of ", s.n_routed_experts, " experts, top ",
             s.top_k, ", ", s.n_group, " groups of which ", s.topk_group, " are kept");
    }
}

}  // namespace

void check_plan(const Plan& plan, const Limits& limits) {
    check_shape(plan.shape);
    if (limits.max_rows < 1 || limits.max_logit_rows < 0 || limits.max_sequences < 1 ||
        limits.n_pages < 1) {
        fail(Status::kInvalidArgument, "limits: ", limits.max_rows, " rows, ",
             limits.max_logit_rows, " logit rows, ", limits.max_sequences, " sequences, ",
             limits.n_pages, " pages; wanted at least 1, 0, 1, 1");
    }
    if (limits.kv_dtype != DType::kF32 && limits.kv_dtype != DType::kBF16) {
        fail(Status::kUnsupported, "limits: KV cache of type ", dtype_name(limits.kv_dtype),
             ", the backends have F32 and BF16");
    }
    for (int32_t i = 0; i < plan.n_calls; ++i) {
        const CallCheck check(plan, i);
        switch (check.call().op) {
            case Op::kMlaStore:
            case Op::kMlaAttention: check_mla(check); break;
            case Op::kMoeRoute: check_moe(check); break;
            case Op::kMoeFfn:
            case Op::kDenseFfn:
                check_moe(check);
                check_gate_up_types(check, plan.weights);
                break;
            case Op::kEmbed:
            case Op::kRmsNorm:
            case Op::kLinear:
            case Op::kGatherRows: check_rows(check, plan); break;
            default:
                check.reject("op", static_cast<int64_t>(check.call().op),
                             static_cast<int64_t>(Op::kCount) - 1, "unknown, the last is");
        }
    }
    if (plan.logits_slot < 0 || plan.logits_slot >= plan.n_slots) {
        fail(Status::kInvalidArgument, "plan: logits slot ", plan.logits_slot, " of ",
             plan.n_slots);
    }
}

void check_batch(const Limits& limits, int32_t vocab_rows, const Batch& batch) {
    if (batch.n_rows < 1 || batch.n_rows > limits.max_rows || batch.n_sequences < 1 ||
        batch.n_sequences > limits.max_sequences || batch.n_logit_rows < 0 ||
        batch.n_logit_rows > limits.max_logit_rows) {
        fail(Status::kInvalidArgument, "batch: ", batch.n_rows, " rows, ", batch.n_sequences,
             " sequences, ", batch.n_logit_rows, " logit rows; prepared for ", limits.max_rows,
             ", ", limits.max_sequences, ", ", limits.max_logit_rows);
    }
    int32_t next_row = 0;
    for (int32_t s = 0; s < batch.n_sequences; ++s) {
        const SequenceRows& sequence = batch.sequences[s];
        if (sequence.first_row != next_row || sequence.n_rows < 1 ||
            sequence.n_rows > batch.n_rows - next_row) {
            fail(Status::kInvalidArgument, "batch: sequence ", s, " has ", sequence.n_rows,
                 " rows from ", sequence.first_row, "; expected from ", next_row, " within ",
                 batch.n_rows);
        }
        const int32_t first = batch.position[next_row];
        for (int32_t i = 0; i < sequence.n_rows; ++i) {
            if (first < 0 || batch.position[next_row + i] - i != first) {
                fail(Status::kInvalidArgument, "batch: row ", next_row + i, " has position ",
                     batch.position[next_row + i], "; its sequence starts the step at ", first);
            }
        }
        next_row += sequence.n_rows;
        const int32_t last_page = batch.position[next_row - 1] / kPageTokens;
        if (last_page >= sequence.n_pages) {
            fail(Status::kInvalidArgument, "batch: sequence ", s, " has ", sequence.n_pages,
                 " pages; its last position needs ", last_page + 1);
        }
        for (int32_t i = 0; i <= last_page; ++i) {
            if (sequence.pages[i] < 0 || sequence.pages[i] >= limits.n_pages) {
                fail(Status::kInvalidArgument, "batch: sequence ", s, ": page ", sequence.pages[i],
                     ", the cache has ", limits.n_pages);
            }
        }
    }
    if (next_row != batch.n_rows) {
        fail(Status::kInvalidArgument, "batch: the sequences have ", next_row, " rows of ",
             batch.n_rows);
    }
    for (int32_t i = 0; i < batch.n_rows; ++i) {
        if (batch.token[i] < 0 || batch.token[i] >= vocab_rows) {
            fail(Status::kInvalidArgument, "batch: row ", i, " has token ", batch.token[i],
                 ", the vocabulary has ", vocab_rows);
        }
    }
    for (int32_t i = 0; i < batch.n_logit_rows; ++i) {
        if (batch.logit_row[i] < 0 || batch.logit_row[i] >= batch.n_rows) {
            fail(Status::kInvalidArgument, "batch: logits of row ", batch.logit_row[i],
                 " wanted, the batch has ", batch.n_rows);
        }
    }
}

}  // namespace fathom
