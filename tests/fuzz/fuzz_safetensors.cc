// Any file either is refused with an error, or each of its tensors lies inside it, has the size
// that dtype and shape say, and all together cover the data exactly.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/status.h"
#include "format/safetensors.h"

using namespace fathom;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
    if (bytes < 8) return 0;
    try {
        std::byte start[8];
        std::memcpy(start, data, 8);
        const uint64_t length = safetensors_header_bytes(start, bytes, {}, "fuzz");
        const uint64_t data_bytes = bytes - 8 - length;
        const SafetensorsHeader header = parse_safetensors_header(
            std::string(reinterpret_cast<const char*>(data) + 8, length), data_bytes, {}, "fuzz");
        uint64_t covered = 0;
        for (const TensorInfo& info : header.tensors) {
            if (info.offset < 8 + length || info.offset > bytes) __builtin_trap();
            if (info.bytes > bytes - info.offset) __builtin_trap();
            if (info.name.empty() || info.shape.size() > kTensorDimsMax) __builtin_trap();
            covered += info.bytes;
        }
        if (covered != data_bytes) __builtin_trap();
    } catch (const Error& error) {
        if (error.message().empty()) __builtin_trap();
    }
    return 0;
}
