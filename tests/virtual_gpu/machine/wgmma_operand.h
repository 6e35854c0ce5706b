// Operands of wgmma in shared memory: where the elements of a matrix lie that a descriptor names.
#pragma once

#include <cstdint>

#include "machine/tensor_map.h"

namespace virtual_gpu {

// The matrix descriptor of the PTX ISA, section "Matrix Descriptor Format", and the layouts of
// "Shared Memory Matrix Layout". The unit is a piece of 16 bytes.
class WgmmaOperand {
public:
    WgmmaOperand(uint64_t descriptor, bool is_transposed)
        : start_(field(descriptor, 0)),
          leading_(field(descriptor, 16)),
          stride_(field(descriptor, 32)),
          is_transposed_(is_transposed) {
        static constexpr uint32_t kSwizzles[] = {0, 128, 64, 32};
        swizzle_ = kSwizzles[descriptor >> 62];
    }

    // K along the pieces: piece 'piece' of row 'row'. Rows go in groups of eight.
    uint32_t row_piece(uint32_t row, uint32_t piece) const {
        const uint32_t width = swizzle_ == 0 ? 16 : swizzle_;
        const uint32_t along = piece * (swizzle_ == 0 ? leading_ : 16);
        return swizzled(start_ + row % 8 * width + row / 8 * stride_ + along, swizzle_);
    }

    // M or N along the pieces ("transposed"): piece 'piece' of the rows at one k.
    uint32_t column_piece(uint32_t piece, uint32_t k) const {
        if (swizzle_ == 0) {
            return start_ + piece * stride_ + k % 8 * 16 + k / 8 * leading_;
        }
        const uint32_t a_line = swizzle_ / 16;
        return swizzled(start_ + piece % a_line * 16 + piece / a_line * leading_ +
                            k % 8 * swizzle_ + k / 8 * stride_,
                        swizzle_);
    }

    bool is_transposed() const { return is_transposed_; }
    uint32_t swizzle() const { return swizzle_; }
    uint32_t start() const { return start_; }

private:
    static uint32_t field(uint64_t descriptor, int shift) {
        return static_cast<uint32_t>(descriptor >> shift & 0x3fff) << 4;
    }

    uint32_t start_;
    uint32_t leading_;
    uint32_t stride_;
    uint32_t swizzle_ = 0;
    bool is_transposed_;
};

}  // namespace virtual_gpu
