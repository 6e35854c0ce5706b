// Multi-head latent attention: storing the latent rows, and choosing the form.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/row_blocks.h"

namespace fathom {
namespace {

/// Rotates interleaved pairs in place. `turn` holds cosine and sine of each pair.
void rotate(float* x, const float* turn, int32_t width) {
    for (int32_t i = 0; i < width; i += 2) {
        const float even = x[i];
        const float odd = x[i + 1];
        x[i] = even * turn[i] - odd * turn[i + 1];
        x[i + 1] = even * turn[i + 1] + odd * turn[i];
    }
}

unsigned char* place_in_page(const CpuExecutor& executor, int32_t layer, int64_t row) {
    const Batch& batch = *executor.batch;
    const SequenceRows& sequence = batch.sequences[executor.space.row_sequence[row]];
    const int32_t position = batch.position[row];
    const int64_t token =
        int64_t{sequence.pages[position / kPageTokens]} * kPageTokens + position % kPageTokens;
    return executor.kv_layer(layer) +
           static_cast<uint64_t>(token) * kv_row_bytes(executor.plan, executor.limits);
}

/// A multiplication of the absorbed form takes this much longer than one of the naive form, whose
/// rows are longer lived in the caches. Measured with V2-Lite's shape, AVX-512, one thread: the
/// forms break even near 120 rows after 256, 1024 and 3000 tokens, where the counts below give 1.03
/// to 1.21 times the multiplications to the naive form.
constexpr double kAbsorbedCost = 1.25;

/// Multiplications of both forms for one sequence; which is cheaper depends on how many rows share
/// the decompressed keys.
bool naive_is_cheaper(const ModelShape& shape, int64_t first, int64_t n_rows) {
    if (n_rows < 2) return false;
    const double length = static_cast<double>(first + n_rows);
    const double rows = static_cast<double>(n_rows);
    const double pairs = rows * (static_cast<double>(first) + 0.5 * rows);
    const double decompress =
        static_cast<double>(shape.qk_nope + shape.v_head) * static_cast<double>(shape.kv_lora_rank);
    const double naive = length * decompress +
                         pairs * static_cast<double>(shape.qk_nope + shape.qk_rope + shape.v_head);
    const double absorbed =
        rows * decompress + pairs * static_cast<double>(2 * shape.kv_lora_rank + shape.qk_rope);
    return naive < kAbsorbedCost * absorbed;
}

}  // namespace

void prepare_rope(CpuExecutor& executor) {
    const ModelShape& shape = executor.shape;
    const Batch& batch = *executor.batch;
    const int32_t pairs = shape.qk_rope / 2;
    const double magnitude = static_cast<double>(shape.rope_magnitude);
    for_units(executor, batch.n_rows, batch.n_rows < 16, [&](int64_t row, ThreadScratch&) {
        float* turn = executor.space.rope + row * shape.qk_rope;
        for (int32_t i = 0; i < pairs; ++i) {
            const double angle =
                static_cast<double>(batch.position[row]) * shape.rope_inverse_frequency[i];
            turn[2 * i] = static_cast<float>(std::cos(angle) * magnitude);
            turn[2 * i + 1] = static_cast<float>(std::sin(angle) * magnitude);
        }
    });
}

void op_mla_store(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    const ModelShape& shape = executor.shape;
    const int64_t latent = shape.kv_lora_rank;
    const int64_t row_width = latent + shape.qk_rope;
    const int64_t head_width = shape.qk_nope + shape.qk_rope;
    const int64_t q_width = shape.n_heads * head_width;
    float* queries = executor.slot<float>(call.in[0]);
    const float* compressed = executor.slot<float>(call.in[1]);
    const float* norm = executor.space.vectors[call.w[0]];
    for_units(executor, n_rows, is_small(n_rows, q_width), [&](int64_t row, ThreadScratch& thread) {
        const float* turn = executor.space.rope + row * shape.qk_rope;
        for (int64_t head = 0; head < shape.n_heads; ++head) {
            rotate(queries + row * q_width + head * head_width + shape.qk_nope, turn,
                   shape.qk_rope);
        }
        float* c = thread.latent;
        std::memcpy(c, compressed + row * row_width,
                    static_cast<size_t>(row_width) * sizeof(float));
        executor.kernels.rms_norm(c, nullptr, norm, call.epsilon, c, latent);
        rotate(c + latent, turn, shape.qk_rope);
        unsigned char* to = place_in_page(executor, call.layer, row);
        if (executor.limits.kv_dtype == DType::kBF16) {
            executor.kernels.round_bf16(c, reinterpret_cast<uint16_t*>(to), row_width);
        } else {
            std::memcpy(to, c, static_cast<size_t>(row_width) * sizeof(float));
        }
    });
}

AttentionForms choose_forms(CpuExecutor& executor) {
    const Batch& batch = *executor.batch;
    const BackendOptions& options = executor.device.options;
    AttentionForms forms;
    for (int32_t s = 0; s < batch.n_sequences; ++s) {
        const SequenceRows& sequence = batch.sequences[s];
        const int32_t first = batch.position[sequence.first_row];
        // The forms round differently, so chunking would show: deterministic mode has one.
        bool naive = options.deterministic == 0;
        if (options.mla_form == MlaForm::kAbsorbed) naive = false;
        if (options.mla_form == MlaForm::kAuto) {
            naive = naive && naive_is_cheaper(executor.shape, first, sequence.n_rows);
        }
        if (naive) {
            executor.space.naive_sequences[forms.n_naive++] = s;
            continue;
        }
        for (int32_t i = 0; i < sequence.n_rows; ++i) {
            executor.space.absorbed_rows[forms.n_absorbed++] = sequence.first_row + i;
        }
    }
    return forms;
}

void op_mla_attention(CpuExecutor& executor, const OpCall& call, int64_t) {
    const AttentionForms forms = choose_forms(executor);
    if (forms.n_naive > 0) naive_attention(executor, call, forms.n_naive);
    if (forms.n_absorbed > 0) absorbed_attention(executor, call, forms.n_absorbed);
}

}  // namespace fathom
