#include "model/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <tuple>

#include "backend/check_backend.h"
#include "base/checked.h"
#include "base/status.h"
#include "model/convert.h"

namespace fathom {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kChunkBytes = uint64_t{4} << 20;

uint64_t weight_data_bytes(const Weight& weight) {
    return static_cast<uint64_t>(weight.rows * weight.cols * dtype_bytes(weight.dtype));
}

/// Tells the host how far loading is: not more than some hundred times, and at once when done.
class Meter {
public:
    Meter(const LoadProgress& progress, uint64_t total) : progress_(progress), total_(total) {
        report();
    }

    void add(uint64_t bytes) {
        done_ += bytes;
        const uint64_t stride = std::min(kChunkBytes, total_ / 128);
        if (done_ - reported_ >= stride || done_ == total_) report();
    }

private:
    void report() {
        reported_ = done_;
        if (progress_ && !progress_(done_, total_)) {
            fail(Status::kCancelled, "loading: cancelled by the host after ", done_, " of ", total_,
                 " bytes");
        }
    }

    const LoadProgress& progress_;
    uint64_t total_;
    uint64_t done_ = 0;
    uint64_t reported_ = 0;
};

class Loader {
public:
    Loader(const WeightSource& source, const WeightLayout& layout, const DeviceMemory& memory,
           const LoadProgress& progress)
        : source_(source), layout_(layout), memory_(memory), meter_(progress, bytes_to_read()) {}

    void load_all() {
        // In the order of the files, which is not that of the plan: disks like it.
        std::vector<size_t> order(source_.stored.size());
        for (size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::ranges::sort(order, [&](size_t a, size_t b) {
            const TensorInfo& left = *source_.stored[a].data;
            const TensorInfo& right = *source_.stored[b].data;
            return std::tuple(left.file, left.offset, a) < std::tuple(right.file, right.offset, b);
        });
        for (size_t i : order) load(i);
    }

private:
    uint64_t bytes_to_read() const {
        uint64_t total = 0;
        for (size_t i = 0; i < source_.stored.size(); ++i) {
            const StoredWeight& stored = source_.stored[i];
            total += source_.specs[i].kind == WeightKind::kKeyUp
                         ? static_cast<uint64_t>(layout_.weights[i].rows *
                                                 layout_.weights[i].cols *
                                                 dtype_bytes(stored.stored))
                         : stored.data->bytes;
            if (stored.scale != nullptr) total += stored.scale->bytes;
        }
        return total;
    }

    void load(size_t i) {
        const StoredWeight& stored = source_.stored[i];
        const uint64_t offset = layout_.data_offset[i];
        switch (source_.specs[i].kind) {
            case WeightKind::kLinear:
            case WeightKind::kTable: load_as_stored(*stored.data, offset); break;
            case WeightKind::kVector: load_vector(stored, offset); break;
            case WeightKind::kKeyUp: load_key_up(stored, offset); return;
        }
        if (stored.scale != nullptr) load_scales(*stored.scale, layout_.scale_offset[i]);
    }

    void load_as_stored(const TensorInfo& info, uint64_t offset) {
        for (uint64_t done = 0; done < info.bytes;) {
            const uint64_t n = std::min(info.bytes - done, kChunkBytes);
            if (std::byte* host = memory_.host_data()) {
                source_.checkpoint.read(info, done, {host + offset + done, n});
            } else {
                buffer_.resize(n);
                source_.checkpoint.read(info, done, buffer_);
                memory_.write(offset + done, buffer_);
            }
            done += n;
            meter_.add(n);
        }
    }

    /// Norm weights and router biases are small, and F32 saves every operator a conversion.
    void load_vector(const StoredWeight& stored, uint64_t offset) {
        const TensorInfo& info = *stored.data;
        buffer_.resize(info.bytes);
        source_.checkpoint.read(info, buffer_);
        std::vector<float> values(static_cast<size_t>(info.shape[0]));
        for (size_t i = 0; i < values.size(); ++i) {
            uint16_t half = 0;
            if (stored.stored == DType::kF32) {
                std::memcpy(&values[i], buffer_.data() + 4 * i, 4);
            } else {
                std::memcpy(&half, buffer_.data() + 2 * i, 2);
                values[i] =
                    stored.stored == DType::kF16 ? f16_to_float(half) : bf16_to_float(half);
            }
            if (!std::isfinite(values[i])) {
                fail(Status::kFormat, source_.checkpoint.where(info), ": value ", i,
                     " is not finite");
            }
        }
        memory_.write(offset, std::as_bytes(std::span(values)));
        meter_.add(info.bytes);
    }

    /// All scales are checked: a single NaN would reach every token.
    std::vector<float> read_scales(const TensorInfo& info) {
        std::vector<float> scales(info.bytes / sizeof(float));
        source_.checkpoint.read(info, std::as_writable_bytes(std::span(scales)));
        for (size_t i = 0; i < scales.size(); ++i) {
            if (!std::isfinite(scales[i]) || scales[i] <= 0) {
                fail(Status::kFormat, source_.checkpoint.where(info), ": scale ", i, " is ",
                     static_cast<double>(scales[i]), ", wanted a finite number above 0");
            }
        }
        meter_.add(info.bytes);
        return scales;
    }

    void load_scales(const TensorInfo& info, uint64_t offset) {
        const std::vector<float> scales = read_scales(info);
        memory_.write(offset, std::as_bytes(std::span(scales)));
    }

    /// Reads the key rows of each head of kv_b_proj, [dn, rkv], and writes them as [rkv, dn]: the
    /// absorbed form multiplies a query by them, and rows are what a matrix product reads best.
    void load_key_up(const StoredWeight& stored, uint64_t offset) {
        const KeyUp key{stored, static_cast<uint64_t>(source_.config.qk_nope_head_dim),
                        static_cast<uint64_t>(source_.config.kv_lora_rank),
                        stored.scale != nullptr ? read_scales(*stored.scale)
                                                : std::vector<float>()};
        const uint64_t head_rows = key.dn + static_cast<uint64_t>(source_.config.v_head_dim);
        const uint64_t head_bytes =
            key.dn * key.rkv * static_cast<uint64_t>(dtype_bytes(stored.dtype));
        std::vector<std::byte> staging(memory_.host_data() != nullptr ? 0 : head_bytes);
        const uint64_t n_heads = static_cast<uint64_t>(source_.config.num_attention_heads);
        for (uint64_t head = 0; head < n_heads; ++head) {
            const uint64_t to = offset + head * head_bytes;
            std::byte* host = memory_.host_data();
            transpose_head(key, head * head_rows, host != nullptr ? host + to : staging.data());
            if (host == nullptr) memory_.write(to, staging);
        }
    }

    struct KeyUp {
        const StoredWeight& stored;
        uint64_t dn;
        uint64_t rkv;
        std::vector<float> scales;
    };

    void transpose_head(const KeyUp& key, uint64_t first_row, std::byte* out) {
        const uint64_t width = static_cast<uint64_t>(dtype_bytes(key.stored.stored));
        const uint64_t row_bytes = key.rkv * width;
        const uint64_t block = std::max<uint64_t>(1, (uint64_t{256} << 10) / row_bytes);
        for (uint64_t begin = 0; begin < key.dn; begin += block) {
            const uint64_t n = std::min(block, key.dn - begin);
            buffer_.resize(n * row_bytes);
            source_.checkpoint.read(*key.stored.data, (first_row + begin) * row_bytes, buffer_);
            if (key.stored.stored == DType::kF8E4M3) {
                transpose_fp8(key, first_row + begin, n, out + begin * sizeof(uint16_t));
            } else if (width == 4) {
                transpose_block<uint32_t>(key, n, out + begin * width);
            } else {
                transpose_block<uint16_t>(key, n, out + begin * width);
            }
            meter_.add(n * row_bytes);
        }
    }

    template <typename Element>
    void transpose_block(const KeyUp& key, uint64_t n_rows, std::byte* out) const {
        for (uint64_t r = 0; r < key.rkv; ++r) {
            for (uint64_t d = 0; d < n_rows; ++d) {
                std::memcpy(out + (r * key.dn + d) * sizeof(Element),
                            buffer_.data() + (d * key.rkv + r) * sizeof(Element),
                            sizeof(Element));
            }
        }
    }

    void transpose_fp8(const KeyUp& key, uint64_t first_row, uint64_t n_rows,
                       std::byte* out) const {
        constexpr uint64_t kBlock = static_cast<uint64_t>(kFp8Block);
        const uint64_t scale_cols = (key.rkv + kBlock - 1) / kBlock;
        for (uint64_t r = 0; r < key.rkv; ++r) {
            for (uint64_t d = 0; d < n_rows; ++d) {
                const float scale =
                    key.scales[(first_row + d) / kBlock * scale_cols + r / kBlock];
                const uint8_t code = std::to_integer<uint8_t>(buffer_[d * key.rkv + r]);
                const uint16_t value = float_to_bf16(f8_e4m3_to_float(code) * scale);
                std::memcpy(out + (r * key.dn + d) * sizeof value, &value, sizeof value);
            }
        }
    }

    const WeightSource& source_;
    const WeightLayout& layout_;
    const DeviceMemory& memory_;
    Meter meter_;
    std::vector<std::byte> buffer_;
};

}  // namespace

WeightLayout lay_out(const Checkpoint& checkpoint, const std::vector<WeightSpec>& specs,
                     const std::vector<StoredWeight>& stored) {
    WeightLayout layout;
    layout.weights.reserve(specs.size());
    const auto place = [&](size_t i, uint64_t bytes) {
        const uint64_t offset = layout.bytes;
        const std::optional<uint64_t> end = checked_add(offset, bytes);
        if (!end || *end > uint64_t{1} << 62) {
            fail(Status::kFormat, checkpoint.where(*stored[i].data),
                 ": weights up to here exceed 2^62 bytes");
        }
        layout.bytes = round_up(*end, kAlignment);
        return offset;
    };
    for (size_t i = 0; i < specs.size(); ++i) {
        Weight weight;
        weight.dtype = stored[i].dtype;
        weight.rows = specs[i].rows;
        weight.cols = specs[i].cols;
        layout.weights.push_back(weight);
        layout.data_offset.push_back(place(i, weight_data_bytes(weight)));
        const bool scaled = weight.dtype == DType::kF8E4M3;
        layout.scale_offset.push_back(scaled ? place(i, stored[i].scale->bytes) : 0);
    }
    return layout;
}

DeviceMemory::DeviceMemory(const BackendTable& table, void* device, uint64_t bytes)
    : table_(table), device_(device), bytes_(bytes) {
    BackendError error{};
    check_backend(table_, table_.alloc(device_, bytes_, &memory_, &error), error);
}

DeviceMemory::~DeviceMemory() { table_.free(device_, memory_, bytes_); }

void DeviceMemory::write(uint64_t offset, std::span<const std::byte> bytes) const {
    if (std::byte* host = host_data()) {
        std::memcpy(host + offset, bytes.data(), bytes.size());
        return;
    }
    BackendError error{};
    check_backend(table_,
                  table_.upload(device_, data() + offset, bytes.data(), bytes.size(), &error),
                  error);
}

void load_weights(const WeightSource& source, WeightLayout& layout, const DeviceMemory& memory,
                  const LoadProgress& progress) {
    Loader(source, layout, memory, progress).load_all();
    for (size_t i = 0; i < layout.weights.size(); ++i) {
        Weight& weight = layout.weights[i];
        weight.data = memory.data() + layout.data_offset[i];
        if (weight.dtype == DType::kF8E4M3) {
            weight.scale =
                reinterpret_cast<const float*>(memory.data() + layout.scale_offset[i]);
        }
    }
}

}  // namespace fathom
