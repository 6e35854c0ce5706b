// Operators that touch a row at a time: embedding, norm, gather, linear. All but the linear are
// bound by memory and small beside it.

#include <cstring>

#include "cpu/row_blocks.h"

namespace fathom {

void op_embed(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const MatrixRows table = matrix_of(executor.weight(call.w[0]));
    const int64_t width = executor.slot_width(call.out[0]);
    float* out = executor.slot<float>(call.out[0]);
    for_units(executor, n_rows, is_small(n_rows, width), [&](int64_t row, ThreadScratch&) {
        executor.kernels.widen(&table, executor.batch->token[row], width, out + row * width);
    });
}

void op_rms_norm(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const int64_t width = executor.slot_width(call.in[0]);
    float* residual = executor.slot<float>(call.in[0]);
    const float* add = call.in[1] >= 0 ? executor.slot<float>(call.in[1]) : nullptr;
    const float* norm = executor.space.vectors[call.w[0]];
    float* out = executor.slot<float>(call.out[0]);
    for_units(executor, n_rows, is_small(n_rows, width), [&](int64_t row, ThreadScratch&) {
        const int64_t at = row * width;
        executor.kernels.rms_norm(residual + at, add != nullptr ? add + at : nullptr, norm,
                                  call.epsilon, out + at, width);
    });
}

void op_gather_rows(CpuExecutor& executor, const OpCall& call, int64_t) {
    const int64_t width = executor.slot_width(call.in[0]);
    const float* in = executor.slot<float>(call.in[0]);
    float* out = executor.slot<float>(call.out[0]);
    for (int64_t row = 0; row < executor.batch->n_logit_rows; ++row) {
        std::memcpy(out + row * width, in + executor.batch->logit_row[row] * width,
                    static_cast<size_t>(width) * sizeof(float));
    }
}

void op_linear(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const Weight& weight = executor.weight(call.w[0]);
    LinearJob job;
    job.w = matrix_of(weight);
    job.k = weight.cols;
    job.x_bf16 = wants_bf16(executor, weight.dtype);
    job.x = activations_for(executor, weight.dtype, executor.slot<float>(call.in[0]), n_rows,
                            weight.cols);
    job.x_stride = weight.cols;
    job.n_tokens = n_rows;
    job.out = executor.slot<float>(call.out[0]);
    job.out_stride = executor.slot_width(call.out[0]);
    linear_all(executor, job, weight.rows);
}

}  // namespace fathom
