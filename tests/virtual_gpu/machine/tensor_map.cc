#include "machine/tensor_map.h"

#include <algorithm>

namespace virtual_gpu {

TensorRow tensor_row(const TensorMap& map, const int32_t* coordinates, uint32_t row) {
    TensorRow out;
    out.in_box = row * map.row_bytes();
    const auto extent = [&map](int i) {
        return map.extent[i] == 0 ? int64_t{1} << 32 : int64_t{map.extent[i]};
    };
    bool is_inside = true;
    int64_t offset = 0;
    for (int i = 1; i < map.rank; i++) {
        const int64_t index = coordinates[i] + static_cast<int64_t>(row % map.box[i]);
        row /= map.box[i];
        is_inside = is_inside && index >= 0 && index < extent(i);
        offset += index * static_cast<int64_t>(map.stride[i - 1]);
    }
    const int64_t first = std::max<int64_t>(coordinates[0], 0);
    const int64_t last = std::min<int64_t>(int64_t{coordinates[0]} + map.box[0], extent(0));
    if (!is_inside || first >= last) {
        return out;
    }
    out.first = static_cast<uint32_t>(first - coordinates[0]) * map.element_bytes;
    out.last = static_cast<uint32_t>(last - coordinates[0]) * map.element_bytes;
    out.address = map.address + static_cast<uint64_t>(offset + first * map.element_bytes);
    return out;
}

}  // namespace virtual_gpu
