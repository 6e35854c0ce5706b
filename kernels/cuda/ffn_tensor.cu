// SwiGLU feed-forward networks of two rows and more on tensor cores; otherwise as in ffn.cu.
//
// First pass: a block makes 16 hidden values of one expert for all rows of the tile that chose it,
// its 8 warps share the columns. Second pass: a block makes 16 outputs of a tile, its warps share
// the experts; what each has added up is summed in the order of the warps.

#include "cuda/ffn_members.cuh"
#include "cuda/tensor_rows.cuh"

namespace fathom::cuda {

constexpr int kWarps = 8;
constexpr int kOutputs = 16;
constexpr int kPartStride = 20;  // no two lanes of a warp meet in a bank
constexpr int kTiles = 2;        // of 8 members at a time

/// Rows g and g + 8 of a block of 16, where lane 4g + t names them.
template <WeightType kType>
__device__ __forceinline__ void name_rows(const MatrixView& matrix, int first, int last, int cols,
                                          const void* (&row)[2], const float* (&scale)[2]) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
        const int at = min(first + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * j, last);
        row[j] = matrix_row<kType>(matrix, at, cols);
        scale[j] = scale_row<kType>(matrix, at, cols);
    }
}

struct UpBlock {
    MatrixView gate;
    MatrixView up;
    Members members;
    int top_k;  // of a choice, to find its row
    const float* x;
    int cols;
    int first;  // of the block's 16 hidden values
    float* hidden;
    int rows;
};

template <WeightType kType>
__device__ __forceinline__ void up_block(const UpBlock& block,
                                         float (&parts)[2][kWarps][kTiles * 8][kPartStride]) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const void* row[2][2];
    const float* scale[2][2];
    name_rows<kType>(block.gate, block.first, block.rows - 1, block.cols, row[0], scale[0]);
    name_rows<kType>(block.up, block.first, block.rows - 1, block.cols, row[1], scale[1]);
    for (int begin = block.members.begin; begin < block.members.end; begin += kTiles * 8) {
        const float* x[kTiles];
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
            const int member = min(begin + i * 8 + lane / 4, block.members.end - 1);
            x[i] =
                block.x + static_cast<int64_t>(block.members.at(member) / block.top_k) * block.cols;
        }
        float sums[2][kTiles][4] = {};
        tensor_rows<kType, 2, kTiles>(row, scale, x, block.cols, warp, kWarps, sums);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int i = 0; i < kTiles; ++i) {
#pragma unroll
                for (int c = 0; c < 4; ++c) {
                    parts[m][warp][i * 8 + lane % 4 * 2 + c % 2][lane / 4 + c / 2 * 8] =
                        sums[m][i][c];
                }
            }
        }
        __syncthreads();
        for (int i = warp; i < kTiles * 4; i += kWarps) {
            const int in_tile = i / 4 * 8 + i % 4 + lane / 16 * 4;
            const int output = block.first + lane % 16;
            if (begin + in_tile >= block.members.end || output >= block.rows) continue;
            float gate = 0;
            float up = 0;
#pragma unroll
            for (int w = 0; w < kWarps; ++w) {
                gate += parts[0][w][in_tile][lane % 16];
                up += parts[1][w][in_tile][lane % 16];
            }
            const int64_t member = block.members.at(begin + in_tile);
            block.hidden[member * block.rows + output] = silu(gate) * up;
        }
        __syncthreads();
    }
}

template <WeightType kType>
__device__ __forceinline__ void ffn_up_tensor(const FfnUpArgs& args) {
    __shared__ float parts[2][kWarps][kTiles * 8][kPartStride];
    const int tile = blockIdx.y;
    const int shared_blocks = (args.shared_rows + kOutputs - 1) / kOutputs;
    const int index = blockIdx.x;
    UpBlock block;
    block.x = args.x;
    block.cols = args.cols;
    if (index < shared_blocks) {
        block.gate = args.shared_gate;
        block.up = args.shared_up;
        block.members = tile_rows(tile, args.n_rows);
        block.top_k = 1;
        block.first = index * kOutputs;
        block.hidden = args.shared_hidden;
        block.rows = args.shared_rows;
    } else {
        const int slot = (index - shared_blocks) / args.routed_blocks;
        if (slot >= args.group.n_active[tile]) return;
        const int expert = args.group.active[tile * args.group.most_active + slot];
        block.gate = args.gate[expert];
        block.up = args.up[expert];
        block.members = members_of(args.group, tile, slot);
        block.top_k = args.group.top_k;
        block.first = (index - shared_blocks) % args.routed_blocks * kOutputs;
        block.hidden = args.routed_hidden;
        block.rows = args.routed_rows;
    }
    up_block<kType>(block, parts);
}

/// Adds one expert's products to the warp's own sums.
template <WeightType kType>
__device__ __forceinline__ void down_expert(const MatrixView& down, const Members& members,
                                            int top_k, const float* weights, const float* hidden,
                                            int cols, int first, int last,
                                            float (&sums)[kOutputs][kRowTile + 1]) {
    const int lane = threadIdx.x % 32;
    const void* row[1][2];
    const float* scale[1][2];
    name_rows<kType>(down, first, last, cols, row[0], scale[0]);
    for (int begin = members.begin; begin < members.end; begin += kTiles * 8) {
        const float* x[kTiles];
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
            const int member = min(begin + i * 8 + lane / 4, members.end - 1);
            x[i] = hidden + static_cast<int64_t>(members.at(member)) * cols;
        }
        float products[1][kTiles][4] = {};
        tensor_rows<kType, 1, kTiles>(row, scale, x, cols, 0, 1, products);
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int at = begin + i * 8 + lane % 4 * 2 + c % 2;
                if (at >= members.end) continue;
                const int member = members.at(at);
                const float weight = weights != nullptr ? weights[member] : 1.0f;
                float& sum = sums[lane / 4 + c / 2 * 8][member / top_k % kRowTile];
                sum = fmaf(weight, products[0][i][c], sum);
            }
        }
        __syncwarp();
    }
}

template <WeightType kType>
__device__ __forceinline__ void ffn_down_tensor(const FfnDownArgs& args) {
    __shared__ float sums[kWarps][kOutputs][kRowTile + 1];
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int tile = blockIdx.y;
    const int first = blockIdx.x * kOutputs;
    for (int i = 0; i < kOutputs; ++i) sums[warp][i][lane] = 0;
    __syncwarp();
    // The shared expert is the longest, so it comes first.
    const int n_shared = args.shared_cols > 0 ? 1 : 0;
    const int n_slots = n_shared + (args.routed_cols > 0 ? args.group.n_active[tile] : 0);
    for (int slot = warp; slot < n_slots; slot += kWarps) {
        if (slot < n_shared) {
            down_expert<kType>(args.shared_down, tile_rows(tile, args.n_rows), 1, nullptr,
                               args.shared_hidden, args.shared_cols, first, args.rows - 1,
                               sums[warp]);
            continue;
        }
        const int active = slot - n_shared;
        const int expert = args.group.active[tile * args.group.most_active + active];
        down_expert<kType>(args.down[expert], members_of(args.group, tile, active),
                           args.group.top_k, args.weights, args.routed_hidden, args.routed_cols,
                           first, args.rows - 1, sums[warp]);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < kOutputs * kRowTile; i += kWarps * 32) {
        const int row = tile * kRowTile + i / kOutputs;
        const int output = first + i % kOutputs;
        if (row >= args.n_rows || output >= args.rows) continue;
        float* out = args.out + static_cast<int64_t>(row) * args.rows + output;
        float sum = args.add ? *out : 0.0f;
#pragma unroll
        for (int w = 0; w < kWarps; ++w) sum += sums[w][i % kOutputs][i / kOutputs];
        *out = sum;
    }
}

#define FATHOM_FFN_TENSOR(name, type)                                      \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, 2)           \
        name##_ffn_tensor_up(const __grid_constant__ FfnUpArgs args) {     \
        ffn_up_tensor<type>(args);                                         \
    }                                                                      \
    extern "C" __global__ void __launch_bounds__(32 * kWarps, 2)           \
        name##_ffn_tensor_down(const __grid_constant__ FfnDownArgs args) { \
        ffn_down_tensor<type>(args);                                       \
    }
FATHOM_FFN_TENSOR(smxx_bf16, WeightType::kBf16)
FATHOM_FFN_TENSOR(smxx_f8, WeightType::kF8)

}  // namespace fathom::cuda
