#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/ops.h"
#include "format/checkpoint.h"
#include "model/tensors.h"

namespace fathom {

/// Called while weights are read, first with 0 and last with `total`. Returning false cancels.
using LoadProgress = std::function<bool(uint64_t bytes_done, uint64_t bytes_total)>;

/// Where every weight lies inside one block of memory.
struct WeightLayout {
    std::vector<Weight> weights;         // type and shape; data and scale are null
    std::vector<uint64_t> data_offset;   // for each weight, a multiple of 64
    std::vector<uint64_t> scale_offset;  // the same for FP8, else 0
    uint64_t bytes = 0;
};

WeightLayout lay_out(const Checkpoint& checkpoint, const std::vector<WeightSpec>& specs,
                     const std::vector<StoredWeight>& stored);

/// A block of a backend's memory.
class DeviceMemory {
public:
    DeviceMemory(const BackendTable& table, void* device, uint64_t bytes);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    std::byte* data() const { return static_cast<std::byte*>(memory_); }
    uint64_t bytes() const { return bytes_; }
    /// The block itself where the backend's memory is the host's, else null.
    std::byte* host_data() const { return table_.host_memory == 1 ? data() : nullptr; }
    void write(uint64_t offset, std::span<const std::byte> bytes) const;

private:
    const BackendTable& table_;
    void* device_;
    uint64_t bytes_;
    void* memory_ = nullptr;
};

/// What load_weights works on.
struct WeightSource {
    const Checkpoint& checkpoint;
    const ModelConfig& config;
    const std::vector<WeightSpec>& specs;
    const std::vector<StoredWeight>& stored;
};

/// Reads all weights into `memory`, which is layout.bytes long, and sets their pointers. Throws
/// Error(kCancelled) when `progress` says so, Error(kIo) and Error(kFormat).
void load_weights(const WeightSource& source, WeightLayout& layout, const DeviceMemory& memory,
                  const LoadProgress& progress);

}  // namespace fathom
