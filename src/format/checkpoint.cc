#include "format/checkpoint.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/hash.h"
#include "base/status.h"

namespace fathom {
namespace {

constexpr std::string_view kConfigName = "config.json";
constexpr std::string_view kSingleName = "model.safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

uint64_t mix(uint64_t seed, uint64_t value) {
    return hash64(std::as_bytes(std::span(&value, 1)), seed);
}

uint64_t mix(uint64_t seed, std::string_view text) {
    return hash64(std::as_bytes(std::span(text)), seed);
}

/// Opens a file that another one named, and says so if that fails.
File open_named(const Directory& directory, const std::string& name, std::string_view source) {
    try {
        return directory.open(name);
    } catch (const Error& error) {
        if (source.empty()) throw;
        fail(error.status(), error.message(), " (named by ", source, ")");
    }
}

}  // namespace

Checkpoint::Checkpoint(std::string folder, const CheckpointLimits& limits)
    : directory_(std::move(folder)), limits_(limits) {
    if (directory_.contains(kConfigName)) {
        fingerprint_ = mix(0, directory_.open(kConfigName).read_all(limits_.config_bytes));
    }
    // As the format's own library does: the single file wins where both are there.
    if (directory_.contains(kSingleName)) {
        add_shard(std::string(kSingleName), "");
        sort_tensors();
    } else if (directory_.contains(kIndexName)) {
        open_index();
    } else {
        fail(Status::kFormat, directory_.path(), ": no weights: found neither ", kSingleName,
             " nor ", kIndexName, ", and ", directory_.list(".safetensors").size(),
             " other .safetensors files");
    }
    for (const TensorInfo& info : tensors_) {
        const std::optional<uint64_t> sum = checked_add(tensor_bytes_, info.bytes);
        if (!sum) fail(Status::kFormat, where(info), ": all tensors together exceed 64 bits");
        tensor_bytes_ = *sum;
    }
}

void Checkpoint::add_shard(std::string name, std::string_view source) {
    const File file = open_named(directory_, name, source);
    SafetensorsHeader header = read_safetensors_header(file, limits_.shard);
    if (tensors_.size() + header.tensors.size() > limits_.shard.tensors) {
        fail(Status::kFormat, file.path(), ": brings the checkpoint to ",
             tensors_.size() + header.tensors.size(), " tensors, the limit is ",
             limits_.shard.tensors);
    }
    const int32_t number = static_cast<int32_t>(shards_.size());
    for (TensorInfo& info : header.tensors) {
        info.file = number;
        tensors_.push_back(std::move(info));
    }
    fingerprint_ = mix(mix(mix(fingerprint_, name), header.hash), file.size());
    shards_.push_back({std::move(name), file.size()});
}

void Checkpoint::open_index() {
    JsonLimits json_limits;
    json_limits.depth = 8;
    json_limits.bytes = limits_.index_bytes;
    const File file = directory_.open(kIndexName);
    const JsonDocument index =
        JsonDocument::parse_owned(file.read_all(limits_.index_bytes), json_limits, file.path());
    // metadata.total_size is somebody's claim about the files; the files themselves are at hand.
    const JsonValue weight_map = index.root().at("weight_map");

    std::vector<std::string_view> names;
    names.reserve(weight_map.size());
    for (const JsonMember member : weight_map.members()) {
        const std::string_view name = member.value.as_string();
        if (names.empty() || names.back() != name) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (names.size() > limits_.shards) {
        fail(Status::kFormat, file.path(), ": weight_map names ", names.size(),
             " files, the limit is ", limits_.shards);
    }
    if (names.empty()) weight_map.refuse("at least one tensor");
    for (const std::string_view name : names) {
        add_shard(std::string(name), concat("weight_map in ", kIndexName));
    }
    sort_tensors();
    check_index(weight_map);
}

void Checkpoint::sort_tensors() {
    std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return a.name != b.name ? a.name < b.name : a.file < b.file;
    });
    for (size_t i = 1; i < tensors_.size(); ++i) {
        if (tensors_[i - 1].name != tensors_[i].name) continue;
        fail(Status::kFormat, where(tensors_[i]), ": is also in ",
             printable(shards_[static_cast<size_t>(tensors_[i - 1].file)].name));
    }
}

/// Index and shards name the same tensors. Both have unique names, so equal counts and every entry
/// found are enough.
void Checkpoint::check_index(const JsonValue& weight_map) const {
    std::vector<bool> listed(tensors_.size());
    for (const JsonMember member : weight_map.members()) {
        const std::string_view wanted = member.value.as_string();
        const TensorInfo* info = find(member.key);
        if (info == nullptr) {
            fail(Status::kFormat, directory_.path(), "/", kIndexName, ": weight_map: tensor '",
                 printable(member.key), "' is in no shard, wanted it in ", printable(wanted));
        }
        if (shards_[static_cast<size_t>(info->file)].name != wanted) {
            fail(Status::kFormat, where(*info), ": ", kIndexName, " wants it in ",
                 printable(wanted));
        }
        listed[static_cast<size_t>(info - tensors_.data())] = true;
    }
    for (size_t i = 0; i < listed.size(); ++i) {
        if (!listed[i]) {
            fail(Status::kFormat, where(tensors_[i]), ": is not in weight_map of ", kIndexName);
        }
    }
}

JsonDocument Checkpoint::config() const {
    JsonLimits json_limits;
    json_limits.bytes = limits_.config_bytes;
    const File file = directory_.open(kConfigName);
    return JsonDocument::parse_owned(file.read_all(limits_.config_bytes), json_limits, file.path());
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
    const auto found = std::lower_bound(
        tensors_.begin(), tensors_.end(), name,
        [](const TensorInfo& info, std::string_view key) { return info.name < key; });
    return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

std::string Checkpoint::where(const TensorInfo& info) const {
    return concat(directory_.path(), "/", printable(shards_[static_cast<size_t>(info.file)].name),
                  ": tensor '", printable(info.name), "'");
}

std::shared_ptr<const File> Checkpoint::open_shard(int32_t shard) const {
    const std::lock_guard lock(mutex_);
    OpenShard* oldest = &open_[0];
    for (OpenShard& entry : open_) {
        if (entry.shard == shard) {
            entry.last_use = ++use_;
            return entry.file;
        }
        if (entry.last_use < oldest->last_use) oldest = &entry;
    }
    const Shard& wanted = shards_[static_cast<size_t>(shard)];
    // Closed before the next is opened; a reader that still uses it keeps it open until it is done.
    *oldest = OpenShard();
    std::shared_ptr<const File> file = std::make_shared<const File>(directory_.open(wanted.name));
    if (file->size() != wanted.bytes) {
        fail(Status::kIo, file->path(), ": has ", file->size(), " bytes, had ", wanted.bytes,
             " when its header was checked");
    }
    *oldest = OpenShard{shard, ++use_, file};
    return file;
}

void Checkpoint::read(const TensorInfo& info, uint64_t offset, std::span<std::byte> out) const {
    const std::optional<uint64_t> end = checked_add<uint64_t>(offset, out.size());
    if (!end || *end > info.bytes) {
        fail(Status::kInvalidArgument, where(info), ": reading ", out.size(), " bytes at ", offset,
             ", the tensor has ", info.bytes);
    }
    open_shard(info.file)->read(info.offset + offset, out);
}

void Checkpoint::read(const TensorInfo& info, std::span<std::byte> out) const {
    if (out.size() != info.bytes) {
        fail(Status::kInvalidArgument, where(info), ": reading ", out.size(),
             " bytes, the tensor has ", info.bytes);
    }
    read(info, 0, out);
}

}  // namespace fathom
