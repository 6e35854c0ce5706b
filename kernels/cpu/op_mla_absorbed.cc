// Absorbed attention: kv_b_proj is folded into the query before and into the output after, and the
// heads share one key and value row for each token, the latent row itself.
//
// Bound by: memory at decode (a latent row is read once for all heads of a thread), multiply-adds
// elsewhere. Three passes with a barrier after each: queries to latent space (a unit is a head),
// attention (a unit is some heads of one row), values back (a unit is a head). A long sequence is
// cut into parts of 512 tokens that have their own softmax and are merged in order; the parts of a
// row run on several threads if there is room for their results, one after the other if not, with
// the same arithmetic.

#include <algorithm>
#include <cstring>

#include "cpu/row_blocks.h"

namespace fathom {
namespace {

struct AbsorbedPass {
    CpuExecutor& executor;
    const OpCall& call;
    const int32_t* rows;  // [n_rows] rows of the batch
    int64_t n_rows;       // at most kAttentionRows
    bool spread = false;  // parts of a row run as units of their own
    int64_t heads_per_unit = 0;
    int64_t groups = 0;  // units that the heads of a row make

    const ModelShape& shape() const { return executor.shape; }
    int64_t latent() const { return executor.shape.kv_lora_rank; }
    int64_t row_width() const { return latent() + executor.shape.qk_rope; }
    int64_t n_tokens(int64_t i) const { return int64_t{executor.batch->position[rows[i]]} + 1; }
    int64_t n_parts(int64_t i) const { return ceil_div(n_tokens(i), kSplitTokens); }
};

void queries_to_latent(const AbsorbedPass& pass) {
    CpuExecutor& executor = pass.executor;
    const ModelShape& shape = pass.shape();
    const int64_t head_width = shape.qk_nope + shape.qk_rope;
    const int64_t q_stride = shape.n_heads * head_width;
    const int64_t out_stride = shape.n_heads * pass.row_width();
    const float* queries = executor.slot<float>(pass.call.in[0]);
    for_units(executor, shape.n_heads, false, [&](int64_t head, ThreadScratch& thread) {
        float* out = executor.space.q_latent + head * pass.row_width();
        LinearJob job;
        job.w = rows_from(matrix_of(executor.weight(pass.call.w[1])), head * pass.latent());
        job.k = shape.qk_nope;
        job.x = queries + head * head_width;
        job.x_stride = q_stride;
        job.x_row = pass.rows;
        job.n_tokens = pass.n_rows;
        job.out = out;
        job.out_stride = out_stride;
        linear_rows(executor, thread, job, 0, pass.latent());
        for (int64_t i = 0; i < pass.n_rows; ++i) {
            const float* rope =
                queries + pass.rows[i] * q_stride + head * head_width + shape.qk_nope;
            std::memcpy(out + i * out_stride + pass.latent(), rope,
                        static_cast<size_t>(shape.qk_rope) * sizeof(float));
        }
    });
}

/// Some heads of row i over one part of its tokens.
void attend_part(const AbsorbedPass& pass, int64_t i, int64_t part, int64_t head, int64_t n_heads,
                 ThreadScratch& thread, float* z, SoftmaxState* state) {
    const CpuExecutor& executor = pass.executor;
    const int32_t row = pass.rows[i];
    const SequenceRows& sequence = executor.batch->sequences[executor.space.row_sequence[row]];
    AttendJob job;
    job.q = executor.space.q_latent + (i * pass.shape().n_heads + head) * pass.row_width();
    job.n_heads = n_heads;
    job.kv_layer = executor.kv_layer(pass.call.layer);
    job.pages = sequence.pages + part * kSplitPages;
    job.n_tokens = std::min(kSplitTokens, pass.n_tokens(i) - part * kSplitTokens);
    job.kv_dtype = executor.limits.kv_dtype;
    job.row_width = pass.row_width();
    job.latent_width = pass.latent();
    job.scale = pass.shape().softmax_scale;
    job.scores = thread.scores;
    job.keep = thread.keep;
    job.partial = thread.partial;
    job.wide = thread.wide;
    job.state = state;
    job.z = z;
    executor.kernels.attend(&job);
}

void merge_part(const AbsorbedPass& pass, int64_t n_heads, float* z, SoftmaxState* state,
                const float* part_z, const SoftmaxState* part_state) {
    for (int64_t h = 0; h < n_heads; ++h) {
        pass.executor.kernels.softmax_merge(z + h * pass.latent(), state + h,
                                            part_z + h * pass.latent(), part_state + h,
                                            pass.latent());
    }
}

/// All parts of some heads of row i, one after the other.
void attend_row(const AbsorbedPass& pass, int64_t i, int64_t head, int64_t n_heads,
                ThreadScratch& thread) {
    const Workspace& space = pass.executor.space;
    const int64_t at = i * pass.shape().n_heads + head;
    float* z = space.z + at * pass.latent();
    attend_part(pass, i, 0, head, n_heads, thread, z, space.state + at);
    for (int64_t part = 1; part < pass.n_parts(i); ++part) {
        attend_part(pass, i, part, head, n_heads, thread, thread.z, thread.state);
        merge_part(pass, n_heads, z, space.state + at, thread.z, thread.state);
    }
}

/// One part of some heads; the first part has its place in z, the others in part_z.
void attend_spread(const AbsorbedPass& pass, int64_t i, int64_t part, int64_t head, int64_t n_heads,
                   ThreadScratch& thread) {
    const Workspace& space = pass.executor.space;
    const int64_t heads = pass.shape().n_heads;
    if (part == 0) {
        const int64_t at = i * heads + head;
        attend_part(pass, i, 0, head, n_heads, thread, space.z + at * pass.latent(),
                    space.state + at);
        return;
    }
    const int64_t at = (space.part_begin[i] + part - 1) * heads + head;
    attend_part(pass, i, part, head, n_heads, thread, space.part_z + at * pass.latent(),
                space.part_state + at);
}

/// Numbers the parts after the first of each row; spreads them if there is room for all.
void plan_parts(AbsorbedPass& pass) {
    Workspace& space = pass.executor.space;
    int64_t n_parts = 0;
    int64_t n_units = 0;
    pass.spread = true;
    for (int64_t i = 0; i < pass.n_rows && pass.spread; ++i) {
        const int64_t parts = pass.n_parts(i);
        space.part_begin[i] = static_cast<int32_t>(n_parts);
        n_parts += parts - 1;
        if (n_parts > space.n_parts) {
            pass.spread = false;
            break;
        }
        for (int64_t part = 0; part < parts; ++part) {
            space.unit_row[n_units++] = static_cast<int32_t>(i);
        }
    }
    space.part_begin[pass.n_rows] = static_cast<int32_t>(n_parts);
    // Heads are split only as far as threads need it, because each unit reads the latent rows anew.
    const int64_t units = pass.spread ? n_units : pass.n_rows;
    const int64_t heads = pass.shape().n_heads;
    const int64_t wanted = ceil_div(2 * int64_t{pass.executor.device.pool.size()}, units);
    pass.heads_per_unit = std::max<int64_t>(ceil_div(heads, wanted), std::min<int64_t>(heads, 4));
    pass.groups = ceil_div(heads, pass.heads_per_unit);
}

void attend_all(AbsorbedPass& pass) {
    plan_parts(pass);
    const Workspace& space = pass.executor.space;
    const int64_t heads = pass.shape().n_heads;
    const int64_t n_units = pass.spread ? pass.n_rows + space.part_begin[pass.n_rows] : pass.n_rows;
    for_units(pass.executor, n_units * pass.groups, false,
              [&](int64_t unit, ThreadScratch& thread) {
                  const int64_t head = unit % pass.groups * pass.heads_per_unit;
                  const int64_t n_heads = std::min(pass.heads_per_unit, heads - head);
                  unit /= pass.groups;
                  if (!pass.spread) return attend_row(pass, unit, head, n_heads, thread);
                  // Units of a row are consecutive, and i rows before it had one part each in z.
                  const int64_t i = space.unit_row[unit];
                  attend_spread(pass, i, unit - i - space.part_begin[i], head, n_heads, thread);
              });
}

void values_back(const AbsorbedPass& pass) {
    CpuExecutor& executor = pass.executor;
    const ModelShape& shape = pass.shape();
    const Workspace& space = executor.space;
    const int64_t latent = pass.latent();
    for_units(executor, shape.n_heads, false, [&](int64_t head, ThreadScratch& thread) {
        for (int64_t i = 0; i < pass.n_rows; ++i) {
            const int64_t at = i * shape.n_heads + head;
            float* z = space.z + at * latent;
            SoftmaxState* state = space.state + at;
            for (int64_t part = 1; pass.spread && part < pass.n_parts(i); ++part) {
                const int64_t from = (space.part_begin[i] + part - 1) * shape.n_heads + head;
                merge_part(pass, 1, z, state, space.part_z + from * latent,
                           space.part_state + from);
            }
            executor.kernels.divide(z, state->sum, latent);
        }
        LinearJob job;
        job.w = rows_from(matrix_of(executor.weight(pass.call.w[0])),
                          head * (shape.qk_nope + shape.v_head) + shape.qk_nope);
        job.k = latent;
        job.x = space.z + head * latent;
        job.x_stride = shape.n_heads * latent;
        job.n_tokens = pass.n_rows;
        job.out = executor.slot<float>(pass.call.out[0]) + head * shape.v_head;
        job.out_stride = int64_t{shape.n_heads} * shape.v_head;
        job.out_row = pass.rows;
        linear_rows(executor, thread, job, 0, shape.v_head);
    });
}

}  // namespace

void absorbed_attention(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    for (int64_t first = 0; first < n_rows; first += kAttentionRows) {
        AbsorbedPass pass{executor, call, executor.space.absorbed_rows + first,
                          std::min(kAttentionRows, n_rows - first)};
        queries_to_latent(pass);
        attend_all(pass);
        values_back(pass);
    }
}

}  // namespace fathom
