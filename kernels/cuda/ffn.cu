// SwiGLU feed-forward networks: routed experts, shared experts and the dense network, in two
// passes.
//
// Bound by: memory. Rows are grouped by expert, so that a block reads an expert's weights once for
// all rows of the tile that chose it. In the second pass a warp owns outputs and walks through the
// experts in ascending order: the sum of a row has one order, whatever else is in the batch.

#include "cuda/ffn_members.cuh"
#include "cuda/row_norm.cuh"

namespace fathom::cuda {

constexpr int kWarps = 4;

/// Row i of gate and up times all members, to their hidden rows. `top_k` turns a choice into a row.
template <WeightType kType, bool kWide, int kInputs>
__device__ __forceinline__ void up_rows(const MatrixView& gate, const MatrixView& up,
                                        const Members& members, int top_k, const float* x, int cols,
                                        int i, float* hidden, int hidden_rows) {
    const void* const row[2] = {matrix_row<kType>(gate, i, cols), matrix_row<kType>(up, i, cols)};
    const float* const scale[2] = {scale_row<kType>(gate, i, cols), scale_row<kType>(up, i, cols)};
    for (int first = members.begin; first < members.end; first += kInputs) {
        const float* in[kInputs];
#pragma unroll
        for (int r = 0; r < kInputs; ++r) {
            const int member = members.at(min(first + r, members.end - 1));
            in[r] = x + static_cast<int64_t>(member / top_k) * cols;
        }
        float sums[2][kInputs];
        dot_rows<kType, kWide, 2, kInputs>(row, scale, in, cols, sums);
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < kInputs; ++r) {
            if (lane == r && first + r < members.end) {
                const int64_t member = members.at(first + r);
                hidden[member * hidden_rows + i] = silu(sums[0][r]) * sums[1][r];
            }
        }
    }
}

template <WeightType kType, bool kWide, int kInputs>
__device__ __forceinline__ void ffn_up(const FfnUpArgs& args) {
    const int warp = threadIdx.x / 32;
    const int tile = blockIdx.y;
    const int shared_blocks = (args.shared_rows + kWarps - 1) / kWarps;
    int block = blockIdx.x;
    if (block < shared_blocks) {
        const int i = block * kWarps + warp;
        if (i >= args.shared_rows) return;
        up_rows<kType, kWide, kInputs>(args.shared_gate, args.shared_up,
                                       tile_rows(tile, args.n_rows), 1, args.x, args.cols, i,
                                       args.shared_hidden, args.shared_rows);
        return;
    }
    block -= shared_blocks;
    const int slot = block / args.routed_blocks;
    const int i = block % args.routed_blocks * kWarps + warp;
    if (slot >= args.group.n_active[tile] || i >= args.routed_rows) return;
    const int expert = args.group.active[tile * args.group.most_active + slot];
    up_rows<kType, kWide, kInputs>(args.gate[expert], args.up[expert],
                                   members_of(args.group, tile, slot), args.group.top_k, args.x,
                                   args.cols, i, args.routed_hidden, args.routed_rows);
}

constexpr int kOutputs = 2;  // of a warp in the second pass

/// Adds the products of all members to the sums; lane r has those of row r of the tile.
template <WeightType kType, bool kWide, int kInputs>
__device__ __forceinline__ void down_rows(const MatrixView& down, const Members& members, int top_k,
                                          const float* weights, const float* hidden, int cols,
                                          int first_output, int last_output,
                                          float (&sums)[kOutputs]) {
    const void* row[kOutputs];
    const float* scale[kOutputs];
#pragma unroll
    for (int j = 0; j < kOutputs; ++j) {
        const int output = min(first_output + j, last_output);
        row[j] = matrix_row<kType>(down, output, cols);
        scale[j] = scale_row<kType>(down, output, cols);
    }
    for (int first = members.begin; first < members.end; first += kInputs) {
        const float* in[kInputs];
#pragma unroll
        for (int r = 0; r < kInputs; ++r) {
            in[r] =
                hidden + static_cast<int64_t>(members.at(min(first + r, members.end - 1))) * cols;
        }
        float product[kOutputs][kInputs];
        dot_rows<kType, kWide, kOutputs, kInputs>(row, scale, in, cols, product);
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int r = 0; r < kInputs; ++r) {
            if (first + r >= members.end) continue;
            const int member = members.at(first + r);
            if (member / top_k % kRowTile != lane) continue;
            const float weight = weights != nullptr ? weights[member] : 1.0f;
#pragma unroll
            for (int j = 0; j < kOutputs; ++j) sums[j] = fmaf(weight, product[j][r], sums[j]);
        }
        __syncwarp();
    }
}

template <WeightType kType, bool kWide, int kInputs>
__device__ __forceinline__ void ffn_down(const FfnDownArgs& args) {
    const int lane = threadIdx.x % 32;
    const int tile = blockIdx.y;
    const int first = (blockIdx.x * kWarps + threadIdx.x / 32) * kOutputs;
    if (first >= args.rows) return;
    const int row = tile * kRowTile + lane;
    float* out = args.out + static_cast<int64_t>(row) * args.rows + first;
    float sums[kOutputs] = {};
    if (args.add && row < args.n_rows) {
#pragma unroll
        for (int j = 0; j < kOutputs; ++j) {
            if (first + j < args.rows) sums[j] = out[j];
        }
    }
    const int n_slots = args.routed_cols > 0 ? args.group.n_active[tile] : 0;
    for (int slot = 0; slot < n_slots; ++slot) {
        const int expert = args.group.active[tile * args.group.most_active + slot];
        down_rows<kType, kWide, kInputs>(args.down[expert], members_of(args.group, tile, slot),
                                         args.group.top_k, args.weights, args.routed_hidden,
                                         args.routed_cols, first, args.rows - 1, sums);
    }
    if (args.shared_cols > 0) {
        down_rows<kType, kWide, kInputs>(args.shared_down, tile_rows(tile, args.n_rows), 1, nullptr,
                                         args.shared_hidden, args.shared_cols, first, args.rows - 1,
                                         sums);
    }
    if (row >= args.n_rows) return;
#pragma unroll
    for (int j = 0; j < kOutputs; ++j) {
        if (first + j < args.rows) out[j] = sums[j];
    }
}

static_assert(32 * kWarps == kNormThreads);

#define FATHOM_FFN(name, type, wide, inputs)                                       \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, inputs == 1 ? 4 : 2) \
        name##_up_##inputs(const __grid_constant__ FfnUpArgs args) {               \
        ffn_up<type, wide, inputs>(args);                                          \
    }                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, inputs == 1 ? 4 : 2) \
        name##_down_##inputs(const __grid_constant__ FfnDownArgs args) {           \
        ffn_down<type, wide, inputs>(args);                                        \
        if constexpr (inputs == 1) finish_row(args.last);                          \
    }
FATHOM_FOR_TYPES(FATHOM_FFN, _ffn, true, 1)
FATHOM_FOR_TYPES(FATHOM_FFN, _ffn, true, 4)
FATHOM_FOR_TYPES(FATHOM_FFN, _ffn_narrow, false, 1)
FATHOM_FOR_TYPES(FATHOM_FFN, _ffn_narrow, false, 4)

}  // namespace fathom::cuda
