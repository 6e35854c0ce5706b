#pragma once

#include <cstdint>

// Views that never own. Plain structs: they cross the boundary to a backend plugin that carries its
// own C++ runtime.
namespace fathom {

enum class DType : int32_t {
    kF32 = 0,
    kF16 = 1,
    kBF16 = 2,
    kF8E4M3 = 3,  // with one F32 scale per 128 x 128 block of the weight
};

constexpr int64_t dtype_bytes(DType dtype) {
    switch (dtype) {
        case DType::kF32: return 4;
        case DType::kF16: return 2;
        case DType::kBF16: return 2;
        case DType::kF8E4M3: return 1;
    }
    return 0;
}

constexpr const char* dtype_name(DType dtype) {
    switch (dtype) {
        case DType::kF32: return "F32";
        case DType::kF16: return "F16";
        case DType::kBF16: return "BF16";
        case DType::kF8E4M3: return "F8_E4M3";
    }
    return "?";
}

/// Side of the square blocks that share one scale in an FP8 weight.
inline constexpr int64_t kFp8Block = 128;

/// A row-major matrix as stored in the checkpoint: y = x W^T with data [rows = outputs, cols =
/// inputs]. A vector (norm weight, router bias) has rows = 1.
struct Weight {
    const void* data = nullptr;    // [rows, cols] of dtype, rows contiguous
    const float* scale = nullptr;  // kF8E4M3: [ceil(rows/128), ceil(cols/128)], a factor; else null
    DType dtype = DType::kF32;
    int32_t padding = 0;
    int64_t rows = 0;
    int64_t cols = 0;
};

}  // namespace fathom
