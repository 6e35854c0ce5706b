#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "backend/ops.h"
#include "base/checked.h"
#include "format/json_writer.h"
#include "hostile/temporary_folder.h"
#include "model/deepseek.h"
#include "unit/model_support.h"

// Random checkpoints of any config, to be written as a folder, whole or with something wrong.
namespace fathom::test {

/// V3 in small: all kinds of tensors, two heads, one dense and one sparse layer.
inline constexpr char kTinyV3[] = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
  "first_k_dense_replace": 1, "hidden_size": 24, "intermediate_size": 40, "kv_lora_rank": 16,
  "max_position_embeddings": 256, "moe_intermediate_size": 8, "n_group": 2,
  "n_routed_experts": 4, "n_shared_experts": 1, "num_attention_heads": 2,
  "num_experts_per_tok": 2, "num_hidden_layers": 2, "q_lora_rank": 12, "qk_nope_head_dim": 10,
  "qk_rope_head_dim": 4, "topk_group": 1, "v_head_dim": 6, "vocab_size": 32})";

struct TestTensor {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
    std::string data;
};

inline uint64_t stored_bytes(std::string_view dtype) {
    if (dtype == "F32" || dtype == "I32") return 4;
    return dtype == "F16" || dtype == "BF16" ? 2 : 1;
}

class TestCheckpoint {
public:
    /// Matrices of `dtype`; the rest is BF16 where they are F8_E4M3.
    TestCheckpoint(std::string config_text, std::string_view dtype)
        : config_(std::move(config_text)) {
        const ModelConfig config = parse_config(config_);
        const std::string other(dtype == "F8_E4M3" ? "BF16" : dtype);
        for (const WeightSpec& spec : build_deepseek(config).weights) {
            if (spec.kind == WeightKind::kKeyUp) continue;
            if (spec.kind == WeightKind::kVector) {
                add(spec.tensor, other, {spec.cols});
                continue;
            }
            const bool quantised = dtype == "F8_E4M3" && spec.kind == WeightKind::kLinear;
            add(spec.tensor, quantised ? "F8_E4M3" : other, {spec.rows, spec.cols});
            if (!quantised) continue;
            add(spec.tensor + "_scale_inv", "F32",
                {ceil_div(spec.rows, 128), ceil_div(spec.cols, 128)});
        }
    }

    void add(std::string name, std::string dtype, std::vector<int64_t> shape) {
        TestTensor tensor{std::move(name), std::move(dtype), std::move(shape), ""};
        fill(tensor);
        tensors_.push_back(std::move(tensor));
    }

    TestTensor& at(std::string_view name) {
        for (TestTensor& tensor : tensors_) {
            if (tensor.name == name) return tensor;
        }
        FAIL("the test's checkpoint has no tensor " << name);
        std::abort();
    }

    void remove(std::string_view name) {
        std::erase_if(tensors_, [&](const TestTensor& tensor) { return tensor.name == name; });
    }

    void reshape(std::string_view name, std::vector<int64_t> shape) {
        at(name).shape = std::move(shape);
        fill(at(name));
    }

    void retype(std::string_view name, std::string dtype) {
        at(name).dtype = std::move(dtype);
        fill(at(name));
    }

    void set_config(std::string text) { config_ = std::move(text); }
    const std::string& config() const { return config_; }

    void write(const TemporaryFolder& folder) const {
        JsonWriter header;
        header.begin_object();
        uint64_t offset = 0;
        std::string data;
        for (const TestTensor& tensor : tensors_) {
            header.key(tensor.name).begin_object().key("dtype").string(tensor.dtype);
            header.key("shape").begin_array();
            for (int64_t size : tensor.shape) header.integer(size);
            header.end_array().key("data_offsets").begin_array();
            header.unsigned_integer(offset).unsigned_integer(offset + tensor.data.size());
            header.end_array().end_object();
            offset += tensor.data.size();
            data += tensor.data;
        }
        header.end_object();
        folder.write("model.safetensors", safetensors_file(header.text(), 0) + data);
        folder.write("config.json", config_);
    }

private:
    uint32_t random() {
        state_ = state_ * 6364136223846793005U + 1442695040888963407U;
        return static_cast<uint32_t>(state_ >> 33);
    }

    /// Values from about -0.1 to 0.1, scales from 0.01 to 0.02.
    void fill(TestTensor& tensor) {
        uint64_t n = 1;
        for (int64_t size : tensor.shape) n *= static_cast<uint64_t>(size);
        const uint64_t width = stored_bytes(tensor.dtype);
        const bool scale = tensor.name.ends_with("_scale_inv");
        tensor.data.assign(n * width, '\0');
        for (uint64_t i = 0; i < n; ++i) {
            float value = (static_cast<float>(random() % 2001) - 1000.0F) * 1e-4F;
            if (scale) value = 0.015F + value / 20;
            uint32_t bits = 0;
            std::memcpy(&bits, &value, 4);
            if (tensor.dtype == "BF16") bits >>= 16;
            if (tensor.dtype == "F16") {  // value * 2^-112 has F16's exponent in F32's bits
                const float shifted = value * 0x1p-112F;
                std::memcpy(&bits, &shifted, 4);
                bits = (bits >> 16 & 0x8000) | (bits >> 13 & 0x7fff);
            }
            if (width == 1) bits = random() % 0x7f | (random() & 0x80);  // no NaN
            std::memcpy(tensor.data.data() + i * width, &bits, width);
        }
    }

    std::string config_;
    std::vector<TestTensor> tensors_;
    uint64_t state_ = 1;
};

/// Memory for weights that counts what is taken. `device` is the counter.
struct CountedMemory {
    uint64_t live_bytes = 0;
    uint64_t peak_bytes = 0;
    uint64_t n_allocations = 0;
    uint64_t limit_bytes = UINT64_MAX;
};

inline int32_t counted_alloc(void* device, uint64_t bytes, void** memory, BackendError* error) {
    CountedMemory& counter = *static_cast<CountedMemory*>(device);
    if (bytes > counter.limit_bytes) {
        const std::string text = concat("weights: ", bytes, " bytes are not to be had");
        text.copy(error->text, sizeof error->text - 1);
        return static_cast<int32_t>(Status::kNoMemory);
    }
    *memory = std::aligned_alloc(64, round_up(bytes, 64));
    std::memset(*memory, 0xa5, bytes);  // what loading leaves out is seen
    counter.live_bytes += bytes;
    counter.peak_bytes = std::max(counter.peak_bytes, counter.live_bytes);
    ++counter.n_allocations;
    return 0;
}

inline void counted_free(void* device, void* memory, uint64_t bytes) {
    std::free(memory);
    static_cast<CountedMemory*>(device)->live_bytes -= bytes;
}

inline int32_t counted_upload(void*, void* to, const void* from, uint64_t bytes, BackendError*) {
    std::memcpy(to, from, bytes);
    return 0;
}

/// A table that only has memory: enough to load weights into.
inline BackendTable memory_table(bool host_memory) {
    BackendTable table{};
    table.name = "memory";
    table.host_memory = host_memory ? 1 : 0;
    table.alloc = counted_alloc;
    table.free = counted_free;
    table.upload = counted_upload;
    return table;
}

}  // namespace fathom::test
