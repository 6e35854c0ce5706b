#pragma once

#include <cstdint>

#include "base/tensor.h"

// What a variant of the instruction set provides: the inner loops, as plain structs and function
// pointers. The operators (op_*.cc) split work over threads and call these; they hold no
// arithmetic worth vectorising themselves.
//
// One rule makes every result independent of batch, chunk and thread count: an output element is
// computed by the same sequence of operations whatever tile it falls into. Lanes run along the
// inner dimension, one accumulator vector for each (weight row, token) pair, one fixed order of
// the final sum; tiles differ only in how many pairs they hold.
namespace fathom {

/// Tokens in a KV page; equals kPageTokens (cpu_executor.cc asserts it). The kernels include no
/// header of the engine.
inline constexpr int64_t kPageRows = 64;

/// Scratch of a matrix product with many tokens: so many columns of 64 rows, widened, and the
/// accumulators of 64 rows and a chunk of tokens, up to 16 lanes each, that wait for more columns.
inline constexpr int64_t kLinearWideColumns = 2048;
inline constexpr int64_t kLinearWideStride = kLinearWideColumns + 16;
inline constexpr int64_t kLinearWideFloats = 64 * kLinearWideStride;
inline constexpr int64_t kLinearChunkTokens = 96;
inline constexpr int64_t kLinearPartialFloats = 64 * kLinearChunkTokens * 16;

/// Rows of a matrix [.., k] as stored: a weight, a KV page or a tile of keys.
struct MatrixRows {
    const void* data = nullptr;    // first row of the view
    const float* scale = nullptr;  // kF8E4M3: scales of the whole weight
    DType dtype = DType::kF32;
    int64_t stride = 0;        // elements from row to row
    int64_t first_row = 0;     // of the view in the weight, for `scale`
    int64_t scale_stride = 0;  // scales in a row of blocks
};

/// out[token][row] = rows of `w` times tokens, over one block of rows that the caller sized to stay
/// in the L2 cache. With `up` it is silu(w x) * (up x).
struct LinearJob {
    MatrixRows w;
    MatrixRows up;  // data null: none
    int64_t n_rows = 0;
    int64_t k = 0;

    const void* x = nullptr;  // [.., k] F32, or BF16 where x_bf16
    int64_t x_stride = 0;
    const int32_t* x_row = nullptr;  // row of x for each token; null: 0, 1, 2, ...
    int64_t n_tokens = 0;
    bool x_bf16 = false;

    bool out_bf16 = false;    // only with `up`
    bool accumulate = false;  // out += weight[token] * result
    void* out = nullptr;      // element of token row 0 and the first row of the block
    int64_t out_stride = 0;
    const int32_t* out_row = nullptr;   // row of out for each token; null: 0, 1, 2, ...
    const float* out_weight = nullptr;  // with accumulate; null: 1

    // What this thread will read next, `ahead_bytes` of it at each of the two places: with many
    // tokens it comes from memory into the L2 cache while the processor multiplies.
    const void* ahead = nullptr;
    const void* ahead_up = nullptr;
    int64_t ahead_bytes = 0;

    // Scratch of the calling thread.
    float* partial = nullptr;  // [kLinearPartialFloats]
    float* wide = nullptr;     // [kLinearWideFloats]
};

/// z[i][:] = z[i][:] * keep[i] + sum_s p[i][s] * v[s][:], s in order.
struct MixJob {
    const float* p = nullptr;
    int64_t p_stride = 0;
    int64_t n_rows = 0;       // rows of p and z
    const void* v = nullptr;  // [n_values, width] kF32 or kBF16
    DType v_dtype = DType::kF32;
    int64_t v_stride = 0;
    int64_t n_values = 0;
    int64_t width = 0;
    const float* keep = nullptr;
    float* z = nullptr;
    int64_t z_stride = 0;
};

/// Running softmax of one row: the weights of what was seen are exp(score - max) / sum.
struct SoftmaxState {
    float max;
    float sum;
};

/// Absorbed attention of some heads of one row over some consecutive tokens of its sequence.
struct AttendJob {
    const float* q = nullptr;  // [n_heads, row_width]: absorbed query, rope query
    int64_t n_heads = 0;
    const unsigned char* kv_layer = nullptr;  // [pages, 64, row_width] of kv_dtype
    const int32_t* pages = nullptr;           // pages of the tokens
    int64_t n_tokens = 0;                     // from the start of pages[0]
    DType kv_dtype = DType::kF32;
    int64_t row_width = 0;
    int64_t latent_width = 0;
    float scale = 0;
    float* scores = nullptr;        // [n_heads, 64] scratch
    float* keep = nullptr;          // [n_heads] scratch
    float* partial = nullptr;       // [kLinearPartialFloats] scratch
    float* wide = nullptr;          // [kLinearWideFloats] scratch
    SoftmaxState* state = nullptr;  // [n_heads]
    float* z = nullptr;             // [n_heads, latent_width], not yet divided by the sum
};

/// One variant of the instruction set.
struct CpuKernels {
    const char* name;
    bool bf16_dot;        // BF16 and FP8 weights meet activations rounded to BF16
    int32_t tile_tokens;  // tokens in one tile: above it a weight block is reused from the cache

    void (*linear)(const LinearJob* job);
    void (*mix)(const MixJob* job);
    void (*attend)(const AttendJob* job);

    /// scores[i] becomes exp(scores[i] * scale - max); returns the factor that what was summed
    /// before has to be multiplied by. `fresh` means that nothing was.
    float (*softmax_step)(float* scores, int64_t n, float scale, bool fresh, SoftmaxState* state);

    /// Adds the softmax part (z2, state2) to (z, state).
    void (*softmax_merge)(float* z, SoftmaxState* state, const float* z2,
                          const SoftmaxState* state2, int64_t n);

    /// x += add (may be null); out = w * x / sqrt(mean(x^2) + epsilon).
    void (*rms_norm)(float* x, const float* add, const float* w, float epsilon, float* out,
                     int64_t n);

    /// Row as F32, its scale applied.
    void (*widen)(const MatrixRows* rows, int64_t row, int64_t n, float* out);
    void (*round_bf16)(const float* x, uint16_t* out, int64_t n);

    void (*softmax)(float* x, int64_t n);
    void (*sigmoid)(float* x, int64_t n);
    void (*divide)(float* x, float by, int64_t n);
};

}  // namespace fathom
