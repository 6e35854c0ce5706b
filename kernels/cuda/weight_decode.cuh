#pragma once

// Weights of every type as floats: the one place that knows how they are stored.

#include "cuda/cuda_args.h"

namespace fathom::cuda {

enum class WeightType { kF32, kF16, kBf16, kF8 };

template <WeightType kType>
inline constexpr int kWeightBytes = kType == WeightType::kF32  ? 4
                                    : kType == WeightType::kF8 ? 1
                                                               : 2;

__device__ __forceinline__ float float_of_half(uint32_t bits) {
    float value;
    asm("{ .reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h; }" : "=f"(value) : "r"(bits));
    return value;
}

/// Four FP8 E4M3 values as floats, 256 times too small: moved into the fields of a half they keep
/// exponent and fraction, and the bias differs by 8. NaN, which no checkpoint of weights holds,
/// becomes 480 / 256.
__device__ __forceinline__ void floats_of_f8(uint32_t four, float* out) {
    const uint32_t odd = (four & 0x80008000u) | (four & 0x7f007f00u) >> 1;
    const uint32_t low = four << 8;
    const uint32_t even = (low & 0x80008000u) | (low & 0x7f007f00u) >> 1;
    out[0] = float_of_half(even & 0xffffu);
    out[1] = float_of_half(odd & 0xffffu);
    out[2] = float_of_half(even >> 16);
    out[3] = float_of_half(odd >> 16);
}

/// What a lane loads at once: 16 bytes where rows begin at multiples of 16 bytes, else one value.
template <WeightType kType, bool kWide>
struct Chunk;

template <WeightType kType>
struct Chunk<kType, true> {
    static constexpr int kValues = 16 / kWeightBytes<kType>;
    uint4 bits;

    __device__ __forceinline__ void load(const void* row, int index) {
        // Streamed: a weight is read once a step, and the caches are for what is read again.
        asm("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
            : "=r"(bits.x), "=r"(bits.y), "=r"(bits.z), "=r"(bits.w)
            : "l"(static_cast<const uint4*>(row) + index));
    }
    __device__ __forceinline__ void decode(float* out) const {
        const uint32_t word[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if constexpr (kType == WeightType::kF32) {
                out[i] = __uint_as_float(word[i]);
            } else if constexpr (kType == WeightType::kBf16) {
                out[2 * i] = __uint_as_float(word[i] << 16);
                out[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
            } else if constexpr (kType == WeightType::kF16) {
                out[2 * i] = float_of_half(word[i] & 0xffffu);
                out[2 * i + 1] = float_of_half(word[i] >> 16);
            } else {
                floats_of_f8(word[i], out + 4 * i);
            }
        }
    }
};

template <WeightType kType>
struct Chunk<kType, false> {
    static constexpr int kValues = 1;
    uint32_t bits;

    __device__ __forceinline__ void load(const void* row, int index) {
        if constexpr (kType == WeightType::kF32) {
            bits = static_cast<const uint32_t*>(row)[index];
        } else if constexpr (kType == WeightType::kF8) {
            bits = static_cast<const uint8_t*>(row)[index];
        } else {
            bits = static_cast<const uint16_t*>(row)[index];
        }
    }
    __device__ __forceinline__ void decode(float* out) const {
        if constexpr (kType == WeightType::kF32) {
            out[0] = __uint_as_float(bits);
        } else if constexpr (kType == WeightType::kBf16) {
            out[0] = __uint_as_float(bits << 16);
        } else if constexpr (kType == WeightType::kF16) {
            out[0] = float_of_half(bits);
        } else {
            out[0] = float_of_half((bits & 0x80u) << 8 | (bits & 0x7fu) << 7);
        }
    }
};

/// The factor of a chunk: FP8's block scale, which also makes up for the 256.
template <WeightType kType>
__device__ __forceinline__ const float* scale_row(const MatrixView& w, int row, int cols) {
    if constexpr (kType != WeightType::kF8) return nullptr;
    return w.scale + static_cast<int64_t>(row / 128) * ((cols + 127) / 128);
}

template <WeightType kType>
__device__ __forceinline__ const void* matrix_row(const MatrixView& w, int row, int cols) {
    return static_cast<const char*>(w.data) +
           static_cast<int64_t>(row) * cols * kWeightBytes<kType>;
}

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int step = 16; step != 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
    return value;
}

/// Inputs that belong to a chunk.
template <int kValues>
__device__ __forceinline__ void load_inputs(const float* x, int index, float* out) {
    if constexpr (kValues == 1) {
        out[0] = x[index];
    } else {
#pragma unroll
        for (int i = 0; i < kValues / 4; ++i) {
            const float4 four = reinterpret_cast<const float4*>(x)[index * (kValues / 4) + i];
            out[4 * i] = four.x;
            out[4 * i + 1] = four.y;
            out[4 * i + 2] = four.z;
            out[4 * i + 3] = four.w;
        }
    }
}

/// sums[j][r] = row j of the weights times input r, in every lane. The order of the additions is a
/// function of `cols` alone: how many inputs run together changes no bit of any.
template <WeightType kType, bool kWide, int kRows, int kInputs>
__device__ __forceinline__ void dot_rows(const void* const (&row)[kRows],
                                         const float* const (&scale)[kRows],
                                         const float* const (&x)[kInputs], int cols,
                                         float (&sums)[kRows][kInputs]) {
    using Piece = Chunk<kType, kWide>;
    constexpr int kValues = Piece::kValues;
    constexpr int kAhead = kRows > 2 ? 2 : 4;  // loads in flight a lane and row
    const int lane = threadIdx.x % 32;
    const int n_chunks = cols / kValues;
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
#pragma unroll
        for (int r = 0; r < kInputs; ++r) sums[j][r] = 0;
    }
    const auto add = [&](const Piece(&piece)[kRows], int index) {
        float w[kRows][kValues];
        float factor[kRows];
#pragma unroll
        for (int j = 0; j < kRows; ++j) {
            piece[j].decode(w[j]);
            if constexpr (kType == WeightType::kF8) {
                factor[j] = scale[j][index * kValues / 128] * 256.0f;
            }
        }
#pragma unroll
        for (int r = 0; r < kInputs; ++r) {
            float in[kValues];
            load_inputs<kValues>(x[r], index, in);
#pragma unroll
            for (int j = 0; j < kRows; ++j) {
                if constexpr (kType == WeightType::kF8) {
                    float part = 0;
#pragma unroll
                    for (int i = 0; i < kValues; ++i) part = fmaf(w[j][i], in[i], part);
                    sums[j][r] = fmaf(part, factor[j], sums[j][r]);
                } else {
#pragma unroll
                    for (int i = 0; i < kValues; ++i) {
                        sums[j][r] = fmaf(w[j][i], in[i], sums[j][r]);
                    }
                }
            }
        }
    };
    int index = lane;
    for (; index + 32 * (kAhead - 1) < n_chunks; index += 32 * kAhead) {
        Piece piece[kAhead][kRows];
#pragma unroll
        for (int a = 0; a < kAhead; ++a) {
#pragma unroll
            for (int j = 0; j < kRows; ++j) piece[a][j].load(row[j], index + 32 * a);
        }
#pragma unroll
        for (int a = 0; a < kAhead; ++a) add(piece[a], index + 32 * a);
    }
    for (; index < n_chunks; index += 32) {
        Piece piece[kRows];
#pragma unroll
        for (int j = 0; j < kRows; ++j) piece[j].load(row[j], index);
        add(piece, index);
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < kRows; ++j) {
#pragma unroll
        for (int r = 0; r < kInputs; ++r) sums[j][r] = warp_sum(sums[j][r]);
    }
}

/// e^x to a few units in the last place: 2^t for t = x log2(e) rounded, times what rounding left
/// out.
__device__ __forceinline__ float exponential(float x) {
    const float t = x * 1.44269504f;
    const float rest = fmaf(x, 1.92596303e-8f, fmaf(x, 1.44269504f, -t));
    return exp2f(t) * fmaf(rest, 0.693147181f, 1.0f);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

/// extern "C" name(args) for every weight type and width of load.
#define FATHOM_FOR_TYPES(make, suffix, ...)                           \
    make(smxx_f32##suffix, WeightType::kF32, ##__VA_ARGS__)           \
        make(smxx_f16##suffix, WeightType::kF16, ##__VA_ARGS__)       \
            make(smxx_bf16##suffix, WeightType::kBf16, ##__VA_ARGS__) \
                make(smxx_f8##suffix, WeightType::kF8, ##__VA_ARGS__)

}  // namespace fathom::cuda
