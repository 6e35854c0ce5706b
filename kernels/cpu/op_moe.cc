// SwiGLU feed-forward networks: the dense one, the shared experts, the routed experts.
//
// Rows are grouped by expert, so that every weight is read once whatever the batch. Two passes with
// one barrier between them: gate and up together, then down. In the second a thread owns rows of
// the output and walks through all experts in the order of their ids: the sum of a row has one
// order, whoever computes it and whatever else is in the batch.

#include <algorithm>
#include <cstring>

#include "cpu/row_blocks.h"

namespace fathom {
namespace {

/// Three weights and the rows that go through them.
struct Ffn {
    LinearJob gate_up;  // whole product, [n_tokens, intermediate]
    LinearJob down;     // whole product, [n_tokens, hidden], accumulating
    int64_t intermediate = 0;
    int64_t block = 0;  // rows of gate and up in a unit
    int64_t n_blocks = 0;
};

/// What one call has to do.
struct MoePass {
    CpuExecutor& executor;
    const OpCall& call;
    int64_t n_rows;
    const float* x;      // [n_rows, hidden]
    const void* x_bf16;  // the same rounded, where some weight wants it
    float* out;          // [n_rows, hidden]
    int64_t hidden;
    const int32_t* begin;  // [n_routed_experts + 1]
    int64_t n_active;
};

Ffn make_ffn(const MoePass& pass, const Weight* gate, const Weight* up, const Weight* down) {
    const CpuExecutor& executor = pass.executor;
    Ffn ffn;
    ffn.intermediate = gate->rows;
    LinearJob& first = ffn.gate_up;
    first.w = matrix_of(*gate);
    first.up = matrix_of(*up);
    first.k = gate->cols;
    first.x_bf16 = wants_bf16(executor, gate->dtype);
    first.x = first.x_bf16 ? pass.x_bf16 : pass.x;
    first.x_stride = gate->cols;
    first.n_tokens = pass.n_rows;
    first.out_bf16 = wants_bf16(executor, down->dtype);
    first.out_stride = ffn.intermediate;
    LinearJob& second = ffn.down;
    second.w = matrix_of(*down);
    second.k = down->cols;
    second.x_bf16 = first.out_bf16;
    second.x_stride = ffn.intermediate;
    second.n_tokens = pass.n_rows;
    second.accumulate = true;
    second.out = pass.out;
    second.out_stride = pass.hidden;
    return ffn;
}

void set_hidden(Ffn& ffn, void* hidden) {
    ffn.gate_up.out = hidden;
    ffn.down.x = hidden;
}

/// Shared experts or the dense network: every row, weight one.
Ffn shared_ffn(const MoePass& pass, const Weight* gate, const Weight* up, const Weight* down) {
    Ffn ffn = make_ffn(pass, gate, up, down);
    set_hidden(ffn, pass.executor.space.shared_hidden);
    ffn.block = rows_per_block(pass.executor, ffn.gate_up, ffn.intermediate);
    ffn.n_blocks = ceil_div(ffn.intermediate, ffn.block);
    return ffn;
}

/// One routed expert over the rows that chose it.
Ffn routed_ffn(const MoePass& pass, int32_t expert) {
    const OpCall& call = pass.call;
    const Weight* weights = pass.executor.plan.weights;
    const Workspace& space = pass.executor.space;
    Ffn ffn = make_ffn(pass, weights + call.w[0] + expert, weights + call.w[1] + expert,
                       weights + call.w[2] + expert);
    const int64_t begin = pass.begin[expert];
    const int64_t bytes = ffn.gate_up.out_bf16 ? 2 : 4;
    set_hidden(ffn, reinterpret_cast<unsigned char*>(space.routed_hidden) +
                        begin * ffn.intermediate * bytes);
    ffn.gate_up.n_tokens = ffn.down.n_tokens = pass.begin[expert + 1] - begin;
    ffn.gate_up.x_row = space.assigned_row + begin;
    ffn.down.out_row = space.assigned_row + begin;
    ffn.down.out_weight = space.assigned_weight + begin;
    return ffn;
}

/// Groups the rows by expert, in the order of the rows. Returns the number of experts with rows.
int64_t group_by_expert(MoePass& pass) {
    CpuExecutor& executor = pass.executor;
    Workspace& space = executor.space;
    const int64_t n_experts = executor.shape.n_routed_experts;
    const int64_t n_choices = pass.n_rows * executor.shape.top_k;
    const int32_t* ids = executor.slot<int32_t>(pass.call.in[1]);
    const float* weights = executor.slot<float>(pass.call.in[2]);
    int32_t* begin = space.expert_begin;
    std::fill(begin, begin + n_experts + 1, 0);
    for (int64_t i = 0; i < n_choices; ++i) ++begin[ids[i] + 1];
    int64_t n_active = 0;
    for (int32_t expert = 0; expert < n_experts; ++expert) {
        if (begin[expert + 1] > 0) space.active[n_active++] = expert;
        begin[expert + 1] += begin[expert];
    }
    // Filling moves every begin to the next one's; moving them back needs no second array.
    for (int64_t i = 0; i < n_choices; ++i) {
        const int32_t at = begin[ids[i]]++;
        space.assigned_row[at] = static_cast<int32_t>(i / executor.shape.top_k);
        space.assigned_weight[at] = weights[i];
    }
    for (int64_t expert = n_experts; expert > 0; --expert) begin[expert] = begin[expert - 1];
    begin[0] = 0;
    return n_active;
}

/// Blocks of gate and up rows are the same for all routed experts: as for the one with most rows.
void plan_routed(const MoePass& pass, Ffn& largest) {
    for (int64_t i = 0; i < pass.n_active; ++i) {
        const int32_t expert = pass.executor.space.active[i];
        const int64_t n = pass.begin[expert + 1] - pass.begin[expert];
        if (i == 0 || n > largest.gate_up.n_tokens) largest = routed_ffn(pass, expert);
    }
    if (pass.n_active == 0) return;
    // Together the experts keep all threads busy, so no expert needs to be cut fine for that.
    const int64_t rows = largest.intermediate * pass.n_active;
    largest.block = rows_per_block(pass.executor, largest.gate_up, rows);
    largest.n_blocks = ceil_div(largest.intermediate, largest.block);
}

void run_gate_up(const MoePass& pass, const Ffn& routed, const Ffn* shared) {
    CpuExecutor& executor = pass.executor;
    const int64_t n_routed = pass.n_active * routed.n_blocks;
    const int64_t n_units = n_routed + (shared != nullptr ? shared->n_blocks : 0);
    for_units(executor, n_units, false, [&](int64_t unit, ThreadScratch& thread) {
        if (unit >= n_routed) {
            const int64_t first = (unit - n_routed) * shared->block;
            linear_rows(executor, thread, shared->gate_up, first,
                        std::min(shared->block, shared->intermediate - first));
            return;
        }
        const Ffn ffn = routed_ffn(pass, executor.space.active[unit / routed.n_blocks]);
        const int64_t first = unit % routed.n_blocks * routed.block;
        linear_rows(executor, thread, ffn.gate_up, first,
                    std::min(routed.block, ffn.intermediate - first));
    });
}

void run_down(const MoePass& pass, const Ffn& routed, const Ffn* shared) {
    CpuExecutor& executor = pass.executor;
    const int32_t first_down = pass.call.w[2];
    int64_t block = INT64_MAX;
    if (pass.n_active > 0) block = rows_per_block(executor, routed.down, pass.hidden);
    if (shared != nullptr) {
        block = std::min(block, rows_per_block(executor, shared->down, pass.hidden));
    }
    const auto body = [&](int64_t unit, ThreadScratch& thread) {
        const int64_t first = unit * block;
        const int64_t n = std::min(block, pass.hidden - first);
        for (int64_t row = 0; row < pass.n_rows; ++row) {
            std::memset(pass.out + row * pass.hidden + first, 0,
                        static_cast<size_t>(n) * sizeof(float));
        }
        for (int64_t i = 0; i < pass.n_active; ++i) {
            Ffn ffn = routed_ffn(pass, executor.space.active[i]);
            if (i + 1 < pass.n_active) {
                // Next come the same rows of the next expert.
                const Weight& next = executor.weight(first_down + executor.space.active[i + 1]);
                ffn.down.ahead = rows_from(matrix_of(next), first).data;
                ffn.down.ahead_bytes = n * next.cols * dtype_bytes(next.dtype);
            }
            linear_rows(executor, thread, ffn.down, first, n);
        }
        if (shared != nullptr) linear_rows(executor, thread, shared->down, first, n);
    };
    for_units(executor, ceil_div(pass.hidden, block), false, body);
}

MoePass begin_pass(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    MoePass pass{executor,
                 call,
                 n_rows,
                 executor.slot<float>(call.in[0]),
                 nullptr,
                 executor.slot<float>(call.out[0]),
                 executor.slot_width(call.in[0]),
                 executor.space.expert_begin,
                 0};
    if (executor.kernels.bf16_dot) {
        pass.x_bf16 = activations_for(executor, DType::kBF16, pass.x, n_rows, pass.hidden);
    }
    return pass;
}

}  // namespace

void op_moe_ffn(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    MoePass pass = begin_pass(executor, call, n_rows);
    pass.n_active = group_by_expert(pass);
    Ffn routed;
    plan_routed(pass, routed);
    Ffn shared;
    if (call.w[3] >= 0) {
        const Weight* first = executor.plan.weights + call.w[3];
        shared = shared_ffn(pass, first, first + 1, first + 2);
    }
    const Ffn* with_shared = call.w[3] >= 0 ? &shared : nullptr;
    run_gate_up(pass, routed, with_shared);
    run_down(pass, routed, with_shared);
}

void op_dense_ffn(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const MoePass pass = begin_pass(executor, call, n_rows);
    const Weight* weights = executor.plan.weights;
    const Ffn routed;
    const Ffn dense =
        shared_ffn(pass, weights + call.w[0], weights + call.w[1], weights + call.w[2]);
    run_gate_up(pass, routed, &dense);
    run_down(pass, routed, &dense);
}

}  // namespace fathom
