#pragma once

// Products of 16 rows of weights with tiles of 8 inputs on tensor cores, straight from memory.
//
// In m16n8k16 a lane holds pairs of columns 2t, 2t + 1, 2t + 8, 2t + 9 of its row. A sum does not
// care which columns those are, as long as weights and inputs agree: so a lane takes what it loads
// at once, 16 bytes of its row, and no shared memory is needed. Inputs are rounded to BF16.

#include "cuda/weight_decode.cuh"

namespace fathom::cuda {

__device__ __forceinline__ void mma_bf16(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t a2,
                                         uint32_t a3, uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/// Two floats as BF16, the first in the low half.
__device__ __forceinline__ uint32_t bf16_pair(float low, float high) {
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/// Two FP8 values in the high bytes of each half as BF16, exactly: the fields are moved, and the
/// factor makes up for the difference of the biases.
__device__ __forceinline__ uint32_t bf16_of_f8(uint32_t high_bytes) {
    const uint32_t moved = (high_bytes & 0x80008000u) | (high_bytes & 0x7f007f00u) >> 4;
    uint32_t pair;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;"
        : "=r"(pair)
        : "r"(moved), "r"(0x7b807b80u), "r"(0x80008000u));
    return pair;
}

/// What a lane loads of one row for one window of columns, as BF16 pairs: neighbouring values where
/// the weight is BF16, columns 0 and 2, 1 and 3 of four where it is FP8.
template <WeightType kType>
struct TensorPiece {
    static constexpr int kValues = Chunk<kType, true>::kValues;
    static constexpr int kWindow = 4 * kValues;  // columns of a window: four lanes a row
    Chunk<kType, true> chunk;

    __device__ __forceinline__ void load(const void* row, int column, int cols) {
        if (column < cols) {
            chunk.load(row, column / kValues);
        } else {
            chunk.bits = make_uint4(0, 0, 0, 0);
        }
    }
    __device__ __forceinline__ void pairs(uint32_t (&out)[kValues / 2]) const {
        const uint32_t word[4] = {chunk.bits.x, chunk.bits.y, chunk.bits.z, chunk.bits.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if constexpr (kType == WeightType::kBf16) {
                out[i] = word[i];
            } else {
                out[2 * i] = bf16_of_f8(word[i] << 8);
                out[2 * i + 1] = bf16_of_f8(word[i]);
            }
        }
    }
};

/// The inputs that belong to a piece, in its order.
template <WeightType kType>
__device__ __forceinline__ void input_pairs(const float* x, int column, int cols,
                                            uint32_t (&out)[TensorPiece<kType>::kValues / 2]) {
    constexpr int kValues = TensorPiece<kType>::kValues;
    if (column >= cols) {
#pragma unroll
        for (int i = 0; i < kValues / 2; ++i) out[i] = 0;
        return;
    }
#pragma unroll
    for (int i = 0; i < kValues / 4; ++i) {
        const float4 four = reinterpret_cast<const float4*>(x + column)[i];
        if constexpr (kType == WeightType::kBf16) {
            out[2 * i] = bf16_pair(four.x, four.y);
            out[2 * i + 1] = bf16_pair(four.z, four.w);
        } else {
            out[2 * i] = bf16_pair(four.x, four.z);
            out[2 * i + 1] = bf16_pair(four.y, four.w);
        }
    }
}

/// Adds kMatrices x 16 rows times kTiles x 8 inputs, over windows `first`, `first + step`, ... of
/// the columns. Lane 4g + t names rows g and g + 8 and input g of each tile; it receives in
/// sums[m][tile] rows g, g, g + 8, g + 8 of inputs 2t, 2t + 1, 2t, 2t + 1.
template <WeightType kType, int kMatrices, int kTiles>
__device__ __forceinline__ void tensor_rows(const void* const (&row)[kMatrices][2],
                                            const float* const (&scale)[kMatrices][2],
                                            const float* const (&x)[kTiles], int cols, int first,
                                            int step, float (&sums)[kMatrices][kTiles][4]) {
    using Piece = TensorPiece<kType>;
    constexpr int kAhead = kMatrices > 1 ? 2 : 4;
    constexpr int kPairs = Piece::kValues / 2;
    const int lane_column = threadIdx.x % 4 * Piece::kValues;
    const auto add = [&](const Piece(&piece)[kMatrices][2], int window) {
        const int column = window * Piece::kWindow + lane_column;
        uint32_t b[kTiles][kPairs];
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
            input_pairs<kType>(x[tile], column, cols, b[tile]);
        }
#pragma unroll
        for (int m = 0; m < kMatrices; ++m) {
            uint32_t upper[kPairs];
            uint32_t lower[kPairs];
            piece[m][0].pairs(upper);
            piece[m][1].pairs(lower);
#pragma unroll
            for (int tile = 0; tile < kTiles; ++tile) {
                float part[4] = {};
                float(&c)[4] = kType == WeightType::kF8 ? part : sums[m][tile];
#pragma unroll
                for (int i = 0; i < kPairs; i += 2) {
                    mma_bf16(c, upper[i], lower[i], upper[i + 1], lower[i + 1], b[tile][i],
                             b[tile][i + 1]);
                }
                if constexpr (kType == WeightType::kF8) {
                    // All lanes of a window are within one block of 128 columns.
                    const int block = window * Piece::kWindow / 128;
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        sums[m][tile][i] = fmaf(part[i], scale[m][i / 2][block], sums[m][tile][i]);
                    }
                }
            }
        }
    };
    const int n_windows = (cols + Piece::kWindow - 1) / Piece::kWindow;
    for (int window = first; window < n_windows; window += step * kAhead) {
        Piece piece[kAhead][kMatrices][2];
#pragma unroll
        for (int a = 0; a < kAhead; ++a) {
            const int column = (window + a * step) * Piece::kWindow + lane_column;
#pragma unroll
            for (int m = 0; m < kMatrices; ++m) {
                piece[a][m][0].load(row[m][0], column, cols);
                piece[a][m][1].load(row[m][1], column, cols);
            }
        }
#pragma unroll
        for (int a = 0; a < kAhead; ++a) {
            if (window + a * step < n_windows) add(piece[a], window + a * step);
        }
    }
}

}  // namespace fathom::cuda
