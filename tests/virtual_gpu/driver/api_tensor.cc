// Tensor maps, with the limits that the driver's documentation gives.
#include <cstring>

#include "driver/driver.h"
#include "machine/tensor_map.h"

using namespace virtual_gpu;

namespace {

uint8_t bytes_of(CUtensorMapDataType type) {
    switch (type) {
        case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 1;
        case CU_TENSOR_MAP_DATA_TYPE_UINT16:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT16:
        case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
        case CU_TENSOR_MAP_DATA_TYPE_UINT32:
        case CU_TENSOR_MAP_DATA_TYPE_INT32:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT32:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ:
        case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32:
        case CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ: return 4;
        case CU_TENSOR_MAP_DATA_TYPE_UINT64:
        case CU_TENSOR_MAP_DATA_TYPE_INT64:
        case CU_TENSOR_MAP_DATA_TYPE_FLOAT64: return 8;
        default: return 0;
    }
}

int swizzle_of(CUtensorMapSwizzle swizzle) {
    switch (swizzle) {
        case CU_TENSOR_MAP_SWIZZLE_NONE: return 0;
        case CU_TENSOR_MAP_SWIZZLE_32B: return 32;
        case CU_TENSOR_MAP_SWIZZLE_64B: return 64;
        case CU_TENSOR_MAP_SWIZZLE_128B: return 128;
        default: return -1;
    }
}

// Why the driver would refuse the map, or nullptr.
const char* problem_of(const TensorMap& map, const cuuint32_t* element_strides) {
    if (map.address % 16 != 0) {
        return "the address is no multiple of 16";
    }
    for (int i = 0; i < map.rank; i++) {
        if (map.box[i] == 0 || map.box[i] > 256) {
            return "a box extent is not 1 to 256";
        }
        if (element_strides[i] != 1) {
            return "element strides other than 1 are not supported by the virtual GPU";
        }
        if (i + 1 < map.rank && (map.stride[i] % 16 != 0 || map.stride[i] >= uint64_t{1} << 40)) {
            return "a stride is no multiple of 16, or 2^40 or more";
        }
    }
    if (map.row_bytes() % 16 != 0) {
        return "the box's rows are no multiple of 16 bytes";
    }
    if (map.swizzle_bytes != 0 && map.row_bytes() > map.swizzle_bytes) {
        return "the box's rows are wider than the swizzle";
    }
    if (map.swizzle_bytes != 0 && map.row_bytes() != map.swizzle_bytes) {
        return "rows narrower than the swizzle are not supported by the virtual GPU";
    }
    return nullptr;
}

}  // namespace

VIRTUAL_GPU_API cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank,
                                       void* address, const cuuint64_t* extents,
                                       const cuuint64_t* strides, const cuuint32_t* box,
                                       const cuuint32_t* element_strides,
                                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                       CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
    TensorMap map;
    const bool has_form = out != nullptr && reinterpret_cast<uint64_t>(out) % 64 == 0 &&
                          rank >= 1 && rank <= 5 && bytes_of(type) != 0 &&
                          swizzle_of(swizzle) >= 0 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE;
    if (!has_form) {
        complain("cuTensorMapEncodeTiled: this form of map is not supported");
        return CUDA_ERROR_INVALID_VALUE;
    }
    map.rank = static_cast<uint8_t>(rank);
    map.element_bytes = bytes_of(type);
    map.swizzle_bytes = static_cast<uint8_t>(swizzle_of(swizzle));
    map.fills_with_nan = fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
    map.address = reinterpret_cast<uint64_t>(address);
    for (cuuint32_t i = 0; i < rank; i++) {
        if (extents[i] == 0 || extents[i] > uint64_t{1} << 32 || box[i] > 256) {
            complain("cuTensorMapEncodeTiled: an extent is not 1 to 2^32, or a box's not 1 to 256");
            return CUDA_ERROR_INVALID_VALUE;
        }
        map.extent[i] = static_cast<uint32_t>(extents[i]);
        map.box[i] = static_cast<uint16_t>(box[i]);
        if (i + 1 < rank) {
            map.stride[i] = strides[i];
        }
    }
    if (const char* problem = problem_of(map, element_strides)) {
        complain(std::string("cuTensorMapEncodeTiled: ") + problem);
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::memcpy(out, &map, sizeof map);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuTensorMapReplaceAddress(CUtensorMap* map, void* address) {
    if (reinterpret_cast<uint64_t>(address) % 16 != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    reinterpret_cast<TensorMap*>(map)->address = reinterpret_cast<uint64_t>(address);
    return CUDA_SUCCESS;
}
