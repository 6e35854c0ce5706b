// Naive attention: keys and values of a head are decompressed from the latent rows, 64 tokens at a
// time, and serve all query rows of the sequence: 3.4 times fewer multiply-adds for each pair of
// tokens than the absorbed form, paid for by one decompression for each token of the sequence.
//
// A unit is one head of one sequence. Its state, a running softmax and a sum of values for each
// query row, stays with the thread while the pages pass in order.

#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/row_blocks.h"

namespace fathom {
namespace {

struct NaiveUnit {
    CpuExecutor& executor;
    const OpCall& call;
    const SequenceRows& sequence;
    int64_t head;
    ThreadScratch& thread;
    int64_t first_position;

    const ModelShape& shape() const { return executor.shape; }
    int64_t key_width() const { return int64_t{shape().qk_nope} + shape().qk_rope; }
};

/// Keys [n, qk_nope + qk_rope] and values [n, v_head] of one page.
void decompress(const NaiveUnit& unit, int32_t page, int64_t n) {
    const ModelShape& shape = unit.shape();
    const CpuExecutor& executor = unit.executor;
    ThreadScratch& thread = unit.thread;
    const int64_t latent = shape.kv_lora_rank;
    MatrixRows rows;
    rows.dtype = executor.limits.kv_dtype;
    rows.stride = latent + shape.qk_rope;
    rows.data =
        executor.kv_layer(unit.call.layer) +
        static_cast<uint64_t>(page) * kPageTokens * kv_row_bytes(executor.plan, executor.limits);
    MatrixRows rope = rows;
    rope.data = static_cast<const unsigned char*>(rows.data) + latent * dtype_bytes(rows.dtype);
    for (int64_t i = 0; i < n; ++i) {
        executor.kernels.widen(&rows, i, latent, thread.latent + i * latent);
        executor.kernels.widen(&rope, i, shape.qk_rope,
                               thread.keys + i * unit.key_width() + shape.qk_nope);
    }
    LinearJob job;
    const MatrixRows weight = matrix_of(executor.weight(unit.call.w[0]));
    const int64_t first_row = unit.head * (shape.qk_nope + shape.v_head);
    job.k = latent;
    job.x = thread.latent;
    job.x_stride = latent;
    job.n_tokens = n;
    job.w = rows_from(weight, first_row);
    job.out = thread.keys;
    job.out_stride = unit.key_width();
    linear_rows(executor, thread, job, 0, shape.qk_nope);
    job.w = rows_from(weight, first_row + shape.qk_nope);
    job.out = thread.values;
    job.out_stride = shape.v_head;
    linear_rows(executor, thread, job, 0, shape.v_head);
}

/// Rows [begin, end) of the sequence meet the n decompressed tokens that start at `position`.
void attend_rows(const NaiveUnit& unit, int64_t begin, int64_t end, int64_t position, int64_t n) {
    const ModelShape& shape = unit.shape();
    const CpuExecutor& executor = unit.executor;
    ThreadScratch& thread = unit.thread;
    const int64_t q_stride = shape.n_heads * unit.key_width();
    LinearJob score;
    score.w.data = thread.keys;
    score.w.stride = unit.key_width();
    score.k = unit.key_width();
    score.x = executor.slot<float>(unit.call.in[0]) + (unit.sequence.first_row + begin) * q_stride +
              unit.head * unit.key_width();
    score.x_stride = q_stride;
    score.n_tokens = end - begin;
    score.n_rows = n;
    score.out = thread.scores;
    score.out_stride = kPageTokens;
    score.partial = thread.partial;
    score.wide = thread.wide;
    executor.kernels.linear(&score);
    for (int64_t row = begin; row < end; ++row) {
        float* scores = thread.scores + (row - begin) * kPageTokens;
        const int64_t seen = std::min(n, unit.first_position + row + 1 - position);
        std::fill(scores + seen, scores + n, 0.0f);
        thread.keep[row - begin] = executor.kernels.softmax_step(scores, seen, shape.softmax_scale,
                                                                 position == 0, thread.state + row);
    }
    MixJob mixing;
    mixing.p = thread.scores;
    mixing.p_stride = kPageTokens;
    mixing.n_rows = end - begin;
    mixing.v = thread.values;
    mixing.v_stride = shape.v_head;
    mixing.n_values = n;
    mixing.width = shape.v_head;
    mixing.keep = thread.keep;
    mixing.z = thread.mixed + begin * shape.v_head;
    mixing.z_stride = shape.v_head;
    executor.kernels.mix(&mixing);
}

void attend_head(const NaiveUnit& unit) {
    const ModelShape& shape = unit.shape();
    ThreadScratch& thread = unit.thread;
    const int64_t n_rows = unit.sequence.n_rows;
    const int64_t length = unit.first_position + n_rows;
    std::fill(thread.mixed, thread.mixed + n_rows * shape.v_head, 0.0f);
    for (int64_t position = 0; position < length; position += kPageTokens) {
        const int64_t n = std::min<int64_t>(kPageTokens, length - position);
        decompress(unit, unit.sequence.pages[position / kPageTokens], n);
        // Rows before this page see nothing of it.
        for (int64_t begin = std::max<int64_t>(0, position - unit.first_position); begin < n_rows;
             begin += kNaiveRows) {
            attend_rows(unit, begin, std::min(begin + kNaiveRows, n_rows), position, n);
        }
    }
    float* out = unit.executor.slot<float>(unit.call.out[0]);
    for (int64_t row = 0; row < n_rows; ++row) {
        float* mixed = thread.mixed + row * shape.v_head;
        unit.executor.kernels.divide(mixed, thread.state[row].sum, shape.v_head);
        std::memcpy(
            out + ((unit.sequence.first_row + row) * shape.n_heads + unit.head) * shape.v_head,
            mixed, static_cast<size_t>(shape.v_head) * sizeof(float));
    }
}

}  // namespace

void naive_attention(CpuExecutor& executor, const OpCall& call, int64_t n_sequences) {
    const Batch& batch = *executor.batch;
    const int64_t heads = executor.shape.n_heads;
    for_units(executor, n_sequences * heads, false, [&](int64_t unit, ThreadScratch& thread) {
        const SequenceRows& sequence =
            batch.sequences[executor.space.naive_sequences[unit / heads]];
        attend_head(
            {executor, call, sequence, unit % heads, thread, batch.position[sequence.first_row]});
    });
}

}  // namespace fathom
