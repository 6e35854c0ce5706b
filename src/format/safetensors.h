#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/tensor.h"

// A safetensors file is 8 bytes of little-endian length N, N bytes of JSON, then the data. The JSON
// gives each tensor a dtype, a shape and a byte range inside the data. Everything here is checked
// before anything of the size that the file claims is allocated.
namespace fathom {

/// Every dtype that the format has published. A file may hold tensors that no model of ours reads;
/// only a tensor that is needed must be of a DType.
enum class StoredType : int32_t {
    kBool,
    kF4,
    kF6E2M3,
    kF6E3M2,
    kU8,
    kI8,
    kF8E5M2,
    kF8E4M3,
    kF8E8M0,
    kF8E4M3Fnuz,
    kF8E5M2Fnuz,
    kI16,
    kU16,
    kF16,
    kBF16,
    kI32,
    kU32,
    kF32,
    kC64,
    kF64,
    kI64,
    kU64,
};

const char* stored_type_name(StoredType type);
/// The type as one that operators read, or nothing.
std::optional<DType> readable_type(StoredType type);

struct TensorInfo {
    std::string name;
    StoredType dtype = StoredType::kF32;
    std::vector<int64_t> shape;  // at most kTensorDimsMax; empty for a scalar
    uint64_t offset = 0;         // of the first byte, in the file
    uint64_t bytes = 0;          // equals the product of shape x bits of dtype / 8
    int32_t file = 0;            // number of the shard inside its checkpoint
};

inline constexpr size_t kTensorDimsMax = 8;

struct SafetensorsLimits {
    uint64_t header_bytes = 100'000'000;  // the format's own limit
    uint64_t tensors = 262'144;           // a DeepSeek-V3 has 91,000
};

struct SafetensorsHeader {
    std::vector<TensorInfo> tensors;  // in the order of the header
    uint64_t hash = 0;                // hash64 of the header's text
};

/// Length of the header from the first 8 bytes of a file of `file_bytes`.
uint64_t safetensors_header_bytes(std::span<const std::byte, 8> start, uint64_t file_bytes,
                                  const SafetensorsLimits& limits, std::string_view file_name);

/// Checks a header whose data is `data_bytes` long and starts behind it. Ranges are inside the
/// data, do not overlap and leave no byte of it uncovered; each equals what dtype and shape need.
SafetensorsHeader parse_safetensors_header(std::string header, uint64_t data_bytes,
                                           const SafetensorsLimits& limits,
                                           std::string_view file_name);

/// The two steps above on an open file.
SafetensorsHeader read_safetensors_header(const File& file, const SafetensorsLimits& limits);

}  // namespace fathom
