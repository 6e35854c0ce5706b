#pragma once

#include <stdint.h>

// What the host hands to the kernels: one plain struct a kernel, passed by value. Both sides
// include this file, so it knows neither C++'s library nor CUDA.
namespace fathom::cuda {

/// Where a matrix lies on the device; its shape and type are the launch's.
struct MatrixView {
    const void* data;    // [rows, cols], rows contiguous
    const float* scale;  // FP8: [ceil(rows/128), ceil(cols/128)]
};

/// Rows of a batch that the routed experts' kernels treat together: as many as a warp has lanes,
/// because a lane keeps the sum of one row.
inline constexpr int kRowTile = 32;

/// Most experts of a router: their scores lie in a block's shared memory.
inline constexpr int kMaxExperts = 512;
inline constexpr int kMaxTopK = 16;
inline constexpr int kMaxGroups = 64;

/// A row's context is cut into at most this many parts, each with a softmax of its own. How it is
/// cut depends on the row's own position alone, so that the batch around it changes no bit.
inline constexpr int kMaxSplits = 16;
inline constexpr int kMinSplitTokens = 64;

/// Heads that share one reading of the latent rows, two a warp.
inline constexpr int kAttendHeads = 16;
inline constexpr int kAttendThreads = 256;
inline constexpr int kAttendTokens = 16;  // latent rows in one shared-memory tile; divides a page

/// Tiles of a block, one computed and the others on their way. F32 pages, which no released model
/// asks for, have tiles of twice the bytes.
template <int kElementBytes>
inline constexpr int kAttendStages = kElementBytes == 2 ? 3 : 2;

/// Tokens of a part of a context of `n_tokens`.
#ifdef __CUDACC__
__device__
#endif
    inline int
    split_tokens(int n_tokens) {
    const int even = (n_tokens + kMaxSplits - 1) / kMaxSplits;
    return even <= kMinSplitTokens
               ? kMinSplitTokens
               : (even + kMinSplitTokens - 1) / kMinSplitTokens * kMinSplitTokens;
}

/// The step's inputs, in device memory.
struct StepInputs {
    const int32_t* token;       // [n_rows]
    const int32_t* position;    // [n_rows]
    const int32_t* page_begin;  // [n_rows] where the row's sequence begins in `pages`
    const int32_t* logit_row;   // [n_logit_rows]
    const int32_t* pages;
};

/// Cosine and sine of 256 multiples of 1, 256 and 65,536 positions: any position's is the product
/// of three rotations.
struct RopeTables {
    const double* turn;  // [3, 256, pairs, 2]
    int32_t pairs;
    float magnitude;
};

/// Embedding row of each token, and the rotation of its position for all layers.
struct EmbedArgs {
    StepInputs in;
    RopeTables tables;
    const void* table;  // [vocab, width]
    float* out;         // [n_rows, width]
    float* rope;        // [n_rows, pairs, 2]
    int64_t width;
};

/// residual += addend (unless null); out = weight * residual / rms(residual).
struct RmsNormArgs {
    float* residual;      // [n_rows, width]
    const float* addend;  // [n_rows, width] or null
    const float* weight;  // [width]
    float* out;           // [n_rows, width]
    int32_t width;
    float epsilon;
};

/// The norm that follows a kernel of one row, done by the last of its blocks.
struct LastBlockNorm {
    RmsNormArgs norm;
    uint32_t* arrived;  // null: no norm here. Zero before and after
};

struct GatherArgs {
    const int32_t* row;  // [n_out]
    const float* in;     // [n_rows, width]
    float* out;          // [n_out, width]
    int64_t width;
};

/// One matrix of a linear call. Output i belongs to head i / head_rows, and is the product of row
/// head * head_stride + head_offset + i % head_rows of the matrix with the input from column
/// head * x_head_stride on. A plain matrix is one head.
struct LinearPart {
    MatrixView w;
    float* out;  // [n_rows, out_stride]
    int64_t out_stride;
    int32_t rows;  // outputs
    int32_t head_rows;
    int32_t head_stride;
    int32_t head_offset;
    int32_t x_head_stride;
    int32_t blocks;  // thread blocks that this part takes
};

struct LinearArgs {
    LinearPart part[2];  // the second may have no blocks
    LastBlockNorm last;
    const float* x;  // [n_rows, x_stride]
    int64_t x_stride;
    int32_t cols;
    int32_t n_rows;
};

/// Latent rows into their pages, queries rotated in place.
struct MlaStoreArgs {
    StepInputs in;
    const float* rope;        // [n_rows, qk_rope]
    float* queries;           // [n_rows, n_heads, qk_nope + qk_rope]
    const float* compressed;  // [n_rows, latent + qk_rope]
    const float* weight;      // [latent]
    void* kv;                 // the layer's pages
    int32_t n_heads;
    int32_t qk_nope;
    int32_t qk_rope;
    int32_t latent;
    float epsilon;
};

/// Partial attention of each row, split and head.
struct AttendArgs {
    StepInputs in;
    const float* q_latent;  // [n_rows, n_heads, latent]
    const float* queries;   // [n_rows, n_heads, qk_nope + qk_rope], rotated
    const void* kv;         // the layer's pages
    float* part_z;          // [n_rows of the group, kMaxSplits, n_heads, latent]
    float* part_state;      // [n_rows of the group, kMaxSplits, n_heads, 2]: maximum and sum
    uint32_t* arrived;      // [n_rows of the group, head blocks], zero before and after
    float* z;               // [n_rows, n_heads, latent]
    int32_t first_row;      // of the group
    int32_t n_heads;
    int32_t head_width;
    int32_t qk_nope;
    int32_t qk_rope;
    int32_t latent;
    float scale;  // softmax scale times log2(e)
};

/// The router's choice and, tile by tile, which rows go to which expert.
struct RouteArgs {
    const float* logits;  // [n_rows, n_experts]
    const float* bias;    // [n_experts] or null
    int32_t* ids;         // [n_rows, top_k]
    float* weights;       // [n_rows, top_k]
    int32_t n_rows;
    int32_t n_experts;
    int32_t top_k;
    int32_t n_group;
    int32_t topk_group;
    int32_t sigmoid;
    int32_t group_score_top2;
    int32_t normalise;
    int32_t scale_always;  // scale even what was normalised
    float scaling;
};

/// For each tile of kRowTile rows: its experts with rows, in ascending order, and their rows.
struct GroupArgs {
    const int32_t* ids;  // [n_rows, top_k]
    int32_t* n_active;   // [n_tiles]
    int32_t* active;     // [n_tiles, most experts of a tile]
    int32_t* begin;      // [n_tiles, most experts of a tile + 1] into choice
    int32_t* choice;     // [n_rows * top_k] row * top_k + k, sorted by tile and expert
    int32_t n_rows;
    int32_t top_k;
    int32_t most_active;  // min(n_experts, kRowTile * top_k)
};

/// hidden = silu(x gate^T) * (x up^T), for routed and shared experts in one launch.
struct FfnUpArgs {
    const MatrixView* gate;  // routed: consecutive views in device memory
    const MatrixView* up;
    MatrixView shared_gate;
    MatrixView shared_up;
    GroupArgs group;
    const float* x;        // [n_rows, cols]
    float* routed_hidden;  // [n_rows * top_k, routed_rows]
    float* shared_hidden;  // [n_rows, shared_rows]
    int32_t cols;
    int32_t routed_rows;    // 0: no routed experts in this launch
    int32_t shared_rows;    // 0: no shared expert in this launch
    int32_t routed_blocks;  // blocks an expert
    int32_t n_rows;
};

/// out = sum of the experts' products with their weights, in ascending order of the experts, then
/// the shared one. `add` keeps what is in `out`, where types differ and two launches are needed.
struct FfnDownArgs {
    LastBlockNorm last;
    const MatrixView* down;
    MatrixView shared_down;
    GroupArgs group;
    const float* weights;  // [n_rows, top_k]
    const float* routed_hidden;
    const float* shared_hidden;
    float* out;  // [n_rows, rows]
    int32_t rows;
    int32_t routed_cols;  // 0: none in this launch
    int32_t shared_cols;
    int32_t n_rows;
    int32_t add;
};

}  // namespace fathom::cuda
