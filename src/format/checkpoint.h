#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "format/json.h"
#include "format/safetensors.h"

namespace fathom {

struct CheckpointLimits {
    uint64_t config_bytes = uint64_t{4} << 20;
    uint64_t index_bytes = uint64_t{64} << 20;
    uint64_t shards = 4096;
    SafetensorsLimits shard;  // its `tensors` holds for the whole checkpoint too
};

/// A model folder as published: config.json and model.safetensors, or
/// model.safetensors.index.json and the shards that it names. Opening reads and checks every
/// header and no weights. Const functions may be called from any thread.
class Checkpoint {
public:
    explicit Checkpoint(std::string folder, const CheckpointLimits& limits = {});

    /// The folder, for the tokenizer and other files beside the weights.
    const Directory& directory() const { return directory_; }
    /// config.json, parsed anew by each call.
    JsonDocument config() const;

    /// All tensors, sorted by name.
    std::span<const TensorInfo> tensors() const { return tensors_; }
    const TensorInfo* find(std::string_view name) const;
    /// `folder/model-00002.safetensors: tensor 'x'`, the beginning of messages about it.
    std::string where(const TensorInfo& info) const;

    /// Fills `out` with the tensor's bytes from `offset` on, as stored (little-endian). Throws
    /// Error(kIo) if the file shrank or was replaced since it was checked.
    void read(const TensorInfo& info, uint64_t offset, std::span<std::byte> out) const;
    /// The whole tensor; `out` has exactly info.bytes.
    void read(const TensorInfo& info, std::span<std::byte> out) const;

    /// Sum of TensorInfo::bytes.
    uint64_t tensor_bytes() const { return tensor_bytes_; }
    /// Tells checkpoints apart: over config.json, headers and file sizes. Not over the weights, so
    /// it is cheap and no proof of integrity.
    uint64_t fingerprint() const { return fingerprint_; }

private:
    struct Shard {
        std::string name;
        uint64_t bytes;
    };
    struct OpenShard {
        int32_t shard = -1;
        uint64_t last_use = 0;
        std::shared_ptr<const File> file;
    };

    void add_shard(std::string name, std::string_view source);
    void open_index();
    void check_index(const JsonValue& weight_map) const;
    void sort_tensors();
    std::shared_ptr<const File> open_shard(int32_t shard) const;

    Directory directory_;
    CheckpointLimits limits_;
    std::vector<Shard> shards_;
    std::vector<TensorInfo> tensors_;
    uint64_t tensor_bytes_ = 0;
    uint64_t fingerprint_ = 0;

    // A checkpoint has up to hundreds of shards and a host may be allowed few descriptors.
    static constexpr size_t kOpenShards = 4;
    mutable std::mutex mutex_;
    mutable OpenShard open_[kOpenShards];
    mutable uint64_t use_ = 0;
};

}  // namespace fathom
