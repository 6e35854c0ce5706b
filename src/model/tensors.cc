#include "model/tensors.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>

#include "base/checked.h"
#include "base/status.h"

namespace fathom {
namespace {

constexpr std::string_view kScaleSuffix = "_scale_inv";

std::string shape_text(std::span<const int64_t> shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) {
        if (i > 0) text += ", ";
        append(text, shape[i]);
    }
    return text + "]";
}

/// The shape that the tensor of a weight has in the checkpoint.
std::vector<int64_t> stored_shape(const ModelConfig& config, const WeightSpec& spec) {
    switch (spec.kind) {
        case WeightKind::kVector: return {spec.cols};
        case WeightKind::kKeyUp:
            return {int64_t{config.num_attention_heads} *
                        (config.qk_nope_head_dim + config.v_head_dim),
                    config.kv_lora_rank};
        case WeightKind::kLinear:
        case WeightKind::kTable: break;
    }
    return {spec.rows, spec.cols};
}

void check_shape(const Checkpoint& checkpoint, const TensorInfo& info,
                 std::span<const int64_t> wanted) {
    if (std::ranges::equal(info.shape, wanted)) return;
    fail(Status::kFormat, checkpoint.where(info), ": shape ", shape_text(info.shape),
         ", config needs ", shape_text(wanted));
}

DType check_type(const Checkpoint& checkpoint, const TensorInfo& info, WeightKind kind) {
    const std::optional<DType> type = readable_type(info.dtype);
    const bool may_be_fp8 = kind == WeightKind::kLinear || kind == WeightKind::kKeyUp;
    if (type && (*type != DType::kF8E4M3 || may_be_fp8)) return *type;
    fail(Status::kUnsupported, checkpoint.where(info), ": type ", stored_type_name(info.dtype),
         ", this library reads ", may_be_fp8 ? "F32, F16, BF16 and F8_E4M3" : "F32, F16 and BF16",
         " here");
}

const TensorInfo& check_scale(const Checkpoint& checkpoint, const TensorInfo& info) {
    const std::string name = concat(info.name, kScaleSuffix);
    const TensorInfo* scale = checkpoint.find(name);
    if (scale == nullptr) {
        fail(Status::kFormat, checkpoint.where(info), ": type F8_E4M3, and its scales '",
             printable(name), "' are missing");
    }
    if (scale->dtype != StoredType::kF32) {
        fail(Status::kUnsupported, checkpoint.where(*scale), ": type ",
             stored_type_name(scale->dtype), ", scales are F32");
    }
    const int64_t wanted[] = {ceil_div(info.shape[0], kFp8Block),
                              ceil_div(info.shape[1], kFp8Block)};
    check_shape(checkpoint, *scale, wanted);
    return *scale;
}

DType type_in_memory(WeightKind kind, DType stored) {
    if (kind == WeightKind::kVector) return DType::kF32;
    // BF16 keeps 8 significant bits of a product of 4 bits and a scale; FP8 again would keep 4.
    if (kind == WeightKind::kKeyUp && stored == DType::kF8E4M3) return DType::kBF16;
    return stored;
}

StoredWeight match(const Checkpoint& checkpoint, const ModelConfig& config,
                   const WeightSpec& spec) {
    const std::vector<int64_t> shape = stored_shape(config, spec);
    const TensorInfo* info = checkpoint.find(spec.tensor);
    if (info == nullptr) {
        fail(Status::kFormat, checkpoint.directory().path(), ": tensor '", spec.tensor,
             "' is missing, config needs it with shape ", shape_text(shape));
    }
    check_shape(checkpoint, *info, shape);
    const DType stored = check_type(checkpoint, *info, spec.kind);
    const TensorInfo* scale =
        stored == DType::kF8E4M3 ? &check_scale(checkpoint, *info) : nullptr;
    return {info, scale, stored, type_in_memory(spec.kind, stored)};
}

/// Number of the layer in `model.layers.N.`, or nothing.
std::optional<int64_t> layer_of(std::string_view name) {
    constexpr std::string_view kPrefix = "model.layers.";
    if (!name.starts_with(kPrefix)) return std::nullopt;
    name.remove_prefix(kPrefix.size());
    int64_t layer = 0;
    const char* end = name.data() + name.size();
    const std::from_chars_result result = std::from_chars(name.data(), end, layer);
    if (result.ec != std::errc() || result.ptr == end || *result.ptr != '.') return std::nullopt;
    return layer;
}

/// Position tables that old versions of transformers wrote into checkpoints; computed here.
bool is_position_table(std::string_view name) { return name.ends_with("rotary_emb.inv_freq"); }

}  // namespace

std::vector<StoredWeight> match_tensors(const Checkpoint& checkpoint, const ModelConfig& config,
                                        const std::vector<WeightSpec>& weights) {
    std::vector<StoredWeight> stored;
    stored.reserve(weights.size());
    std::vector<const StoredWeight*> first_of_group;
    for (const WeightSpec& spec : weights) {
        stored.push_back(match(checkpoint, config, spec));
        if (spec.same_type < 0) continue;
        const size_t group = static_cast<size_t>(spec.same_type);
        if (group >= first_of_group.size()) first_of_group.resize(group + 1, nullptr);
        if (first_of_group[group] == nullptr) first_of_group[group] = &stored.back();
        const StoredWeight& first = *first_of_group[group];
        // One kernel reads all matrices of a feed-forward network.
        if (stored.back().stored != first.stored) {
            fail(Status::kUnsupported, checkpoint.where(*stored.back().data), ": type ",
                 dtype_name(stored.back().stored), ", but '", printable(first.data->name),
                 "' of the same network is ", dtype_name(first.stored));
        }
    }
    return stored;
}

std::vector<std::string> unused_tensor_notes(const Checkpoint& checkpoint,
                                             const ModelConfig& config,
                                             const std::vector<WeightSpec>& weights) {
    constexpr size_t kNotesMax = 8;
    std::vector<std::string_view> used;
    used.reserve(weights.size());
    for (const WeightSpec& spec : weights) used.push_back(spec.tensor);
    std::ranges::sort(used);
    std::vector<std::string> notes;
    size_t n_unused = 0;
    for (const TensorInfo& info : checkpoint.tensors()) {
        const std::optional<int64_t> layer = layer_of(info.name);
        if (!layer || *layer < 0 || *layer >= config.num_hidden_layers) continue;
        std::string_view weight = info.name;
        if (weight.ends_with(kScaleSuffix)) weight.remove_suffix(kScaleSuffix.size());
        if (std::ranges::binary_search(used, weight) || is_position_table(weight)) continue;
        if (++n_unused <= kNotesMax) {
            notes.push_back(concat(checkpoint.where(info), ": not used by ", config.model_type));
        }
    }
    if (n_unused > kNotesMax) {
        notes.push_back(
            concat(n_unused - kNotesMax, " more tensors in loaded layers are not used"));
    }
    return notes;
}

}  // namespace fathom
