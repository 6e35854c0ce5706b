// What cuTensorMapEncodeTiled makes and cp.async.bulk.tensor reads. The hardware's own encoding of
// the 128 bytes is not documented; programs only pass them on.
#pragma once

#include <cstdint>

namespace virtual_gpu {

struct TensorMap {
    static constexpr uint32_t kMagic = 0x50414d54;

    uint32_t magic = kMagic;
    uint8_t rank = 0;
    uint8_t element_bytes = 0;
    uint8_t swizzle_bytes = 0;  // 0, 32, 64 or 128.
    bool fills_with_nan = false;
    uint64_t address = 0;
    uint64_t stride[4] = {};  // Bytes from one index of dimension i + 1 to the next.
    uint32_t extent[5] = {};  // Elements; 0 means 2^32.
    uint16_t box[5] = {};     // Elements that one copy brings.
    uint8_t unused[50] = {};

    uint32_t row_bytes() const { return uint32_t{box[0]} * element_bytes; }
    uint32_t box_bytes() const {
        uint32_t bytes = element_bytes;
        for (int i = 0; i < rank; i++) {
            bytes *= box[i];
        }
        return bytes;
    }
};
static_assert(sizeof(TensorMap) == 128);

// Where a byte of a swizzled tile lies: 16-byte pieces change places inside 128-byte lines, by the
// number of the line. TMA and wgmma share this pattern.
inline uint32_t swizzled(uint32_t address, uint32_t swizzle_bytes) {
    const uint32_t pieces = swizzle_bytes / 16;
    return pieces < 2 ? address : address ^ ((address >> 7) & (pieces - 1)) << 4;
}

// One row of a box: where it is in device memory, and which of its bytes exist.
struct TensorRow {
    uint64_t address = 0;  // Of the first byte that exists.
    uint32_t in_box = 0;   // Where in the box the row begins, in bytes.
    uint32_t first = 0;    // Bytes of the row before 'first' and from 'last' on lie outside the
    uint32_t last = 0;     // tensor; loads fill them, stores leave them out.
};

// Row number 'row' of the box at these coordinates.
TensorRow tensor_row(const TensorMap& map, const int32_t* coordinates, uint32_t row);
inline uint32_t tensor_rows(const TensorMap& map) { return map.box_bytes() / map.row_bytes(); }

}  // namespace virtual_gpu
