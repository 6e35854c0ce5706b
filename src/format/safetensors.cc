#include "format/safetensors.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/hash.h"
#include "base/status.h"
#include "format/json.h"

namespace fathom {
namespace {

struct TypeEntry {
    const char* name;
    uint64_t bits;
};

// In the order of StoredType.
constexpr TypeEntry kTypes[] = {
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
};
static_assert(std::size(kTypes) == static_cast<size_t>(StoredType::kU64) + 1);

constexpr size_t kNameBytesMax = 1024;

/// What the checks of one file share.
struct HeaderContext {
    std::string_view file_name;
    uint64_t data_offset;  // of the data in the file
    uint64_t data_bytes;
};

/// "model.safetensors: tensor 'x'"
std::string tensor_place(const HeaderContext& context, std::string_view name) {
    return concat(context.file_name, ": tensor '", printable(name), "'");
}

std::string shape_text(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) {
        append(text, concat(i == 0 ? "" : ", ", shape[i]));
    }
    return text + "]";
}

StoredType parse_type(const JsonValue& value) {
    const std::string_view name = value.as_string();
    for (size_t i = 0; i < std::size(kTypes); ++i) {
        if (name == kTypes[i].name) return static_cast<StoredType>(i);
    }
    value.refuse("a dtype of the safetensors format");
}

std::vector<int64_t> parse_shape(const JsonValue& value) {
    if (!value.is_array()) value.refuse("array");
    if (value.size() > kTensorDimsMax) {
        value.refuse(concat("at most ", kTensorDimsMax, " dimensions"));
    }
    std::vector<int64_t> shape;
    shape.reserve(value.size());
    for (const JsonValue element : value.elements()) {
        const int64_t dim = element.as_int64();
        if (dim < 0) element.refuse("a dimension of 0 or more");
        shape.push_back(dim);
    }
    return shape;
}

uint64_t parse_offset(const JsonValue& value, uint64_t data_bytes) {
    const int64_t offset = value.as_int64();
    if (offset < 0) value.refuse("an offset of 0 or more");
    if (static_cast<uint64_t>(offset) > data_bytes) {
        value.refuse(concat("an offset within the ", data_bytes, " bytes of data"));
    }
    return static_cast<uint64_t>(offset);
}

/// Bytes that dtype and shape need. The shape may hold anything that is not negative.
uint64_t needed_bytes(const HeaderContext& context, const TensorInfo& info) {
    // A product with a zero in it is zero however large the others are.
    const bool empty = std::find(info.shape.begin(), info.shape.end(), 0) != info.shape.end();
    std::optional<uint64_t> bits = kTypes[static_cast<size_t>(info.dtype)].bits;
    for (const int64_t dim : info.shape) {
        if (bits) bits = checked_mul(*bits, empty ? 0 : static_cast<uint64_t>(dim));
    }
    if (!bits) {
        fail(Status::kFormat, tensor_place(context, info.name), ": shape ", shape_text(info.shape),
             " of ", stored_type_name(info.dtype), " has a size beyond 64 bits");
    }
    if (*bits % 8 != 0) {
        fail(Status::kFormat, tensor_place(context, info.name), ": shape ", shape_text(info.shape),
             " of ", stored_type_name(info.dtype), " is ", *bits,
             " bits, wanted a whole number of bytes");
    }
    return *bits / 8;
}

TensorInfo parse_tensor(const HeaderContext& context, const JsonMember& member) {
    TensorInfo info;
    if (member.key.empty() || member.key.size() > kNameBytesMax ||
        member.key.find('\0') != std::string_view::npos) {
        fail(Status::kFormat, tensor_place(context, member.key), ": name of ", member.key.size(),
             " bytes, wanted 1 to ", kNameBytesMax, " without NUL");
    }
    info.name = member.key;
    info.dtype = parse_type(member.value.at("dtype"));
    info.shape = parse_shape(member.value.at("shape"));
    const JsonValue offsets = member.value.at("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) offsets.refuse("array of begin and end");
    uint64_t range[2];
    size_t i = 0;
    for (const JsonValue offset : offsets.elements()) {
        range[i++] = parse_offset(offset, context.data_bytes);
    }
    if (range[0] > range[1]) {
        fail(Status::kFormat, tensor_place(context, info.name), ": data_offsets [", range[0], ", ",
             range[1], "], wanted begin before end");
    }
    info.offset = context.data_offset + range[0];
    info.bytes = range[1] - range[0];
    const uint64_t needed = needed_bytes(context, info);
    if (needed != info.bytes) {
        fail(Status::kFormat, tensor_place(context, info.name), ": data_offsets [", range[0], ", ",
             range[1], "] span ", info.bytes, " bytes, shape ", shape_text(info.shape), " of ",
             stored_type_name(info.dtype), " needs ", needed);
    }
    return info;
}

void check_metadata(const JsonValue& metadata) {
    for (const JsonMember member : metadata.members()) {
        if (!member.value.is_string()) member.value.refuse("string");
    }
}

/// Every byte of the data belongs to exactly one tensor: what nobody reads could be a second file,
/// and what two tensors share, one of them could not mean.
void check_cover(const HeaderContext& context, const std::vector<TensorInfo>& tensors) {
    std::vector<uint32_t> order(tensors.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
        if (tensors[a].offset != tensors[b].offset) return tensors[a].offset < tensors[b].offset;
        return tensors[a].bytes < tensors[b].bytes;
    });
    uint64_t covered = context.data_offset;
    const TensorInfo* previous = nullptr;
    for (const uint32_t i : order) {
        const TensorInfo& info = tensors[i];
        if (info.offset < covered) {
            fail(Status::kFormat, tensor_place(context, info.name), ": starts at byte ",
                 info.offset, " of the file, inside tensor '", printable(previous->name),
                 "', which ends at byte ", covered);
        }
        if (info.offset > covered) {
            fail(Status::kFormat, tensor_place(context, info.name), ": starts at byte ",
                 info.offset, " of the file, but no tensor covers the bytes from ", covered);
        }
        covered += info.bytes;
        previous = &info;
    }
    const uint64_t end = context.data_offset + context.data_bytes;
    if (covered != end) {
        fail(Status::kFormat, context.file_name, ": the last tensor ends at byte ", covered,
             ", the file at byte ", end, ", wanted no bytes after the tensors");
    }
}

}  // namespace

const char* stored_type_name(StoredType type) { return kTypes[static_cast<size_t>(type)].name; }

std::optional<DType> readable_type(StoredType type) {
    switch (type) {
        case StoredType::kF32: return DType::kF32;
        case StoredType::kF16: return DType::kF16;
        case StoredType::kBF16: return DType::kBF16;
        case StoredType::kF8E4M3: return DType::kF8E4M3;
        default: return std::nullopt;
    }
}

uint64_t safetensors_header_bytes(std::span<const std::byte, 8> start, uint64_t file_bytes,
                                  const SafetensorsLimits& limits, std::string_view file_name) {
    uint64_t length = 0;
    for (size_t i = 8; i-- > 0;) length = length << 8 | std::to_integer<uint64_t>(start[i]);
    if (length > limits.header_bytes) {
        fail(Status::kFormat, file_name, ": byte 0: header length ", length, ", the limit is ",
             limits.header_bytes);
    }
    if (file_bytes < 8 || length > file_bytes - 8) {
        fail(Status::kFormat, file_name, ": byte 0: header length ", length,
             ", but the file has only ", file_bytes, " bytes");
    }
    return length;
}

SafetensorsHeader parse_safetensors_header(std::string header, uint64_t data_bytes,
                                           const SafetensorsLimits& limits,
                                           std::string_view file_name) {
    HeaderContext context{file_name, 8 + header.size(), data_bytes};
    if (!checked_add(context.data_offset, data_bytes)) {
        fail(Status::kInvalidArgument, file_name, ": ", data_bytes, " bytes of data");
    }
    // The format asks for this, so that a file is either safetensors or something else.
    if (!header.starts_with('{')) {
        fail(Status::kFormat, file_name, ": byte 8: header begins with '",
             printable(std::string_view(header).substr(0, 8)), "', wanted '{'");
    }
    SafetensorsHeader result;
    result.hash = hash64(std::as_bytes(std::span(header)));
    JsonLimits json_limits;
    json_limits.depth = 4;
    json_limits.bytes = limits.header_bytes;
    json_limits.string_bytes = uint64_t{1} << 20;
    // Name, object, three keys, dtype, two arrays and their elements.
    json_limits.nodes = (limits.tensors + 64) * (10 + kTensorDimsMax);
    const JsonDocument document =
        JsonDocument::parse_owned(std::move(header), json_limits, concat(file_name, ": header"));

    const JsonValue root = document.root();
    if (root.size() > limits.tensors + 1) {
        fail(Status::kFormat, file_name, ": header names ", root.size(), " tensors, the limit is ",
             limits.tensors);
    }
    result.tensors.reserve(root.size());
    for (const JsonMember member : root.members()) {
        if (member.key == "__metadata__") {
            check_metadata(member.value);
        } else {
            result.tensors.push_back(parse_tensor(context, member));
        }
    }
    check_cover(context, result.tensors);
    return result;
}

SafetensorsHeader read_safetensors_header(const File& file, const SafetensorsLimits& limits) {
    if (file.size() < 8) {
        fail(Status::kFormat, file.path(), ": file of ", file.size(),
             " bytes, wanted at least the 8 of a header length");
    }
    std::byte start[8];
    file.read(0, start);
    const uint64_t length = safetensors_header_bytes(start, file.size(), limits, file.path());
    std::string header(length, '\0');
    file.read(8, std::as_writable_bytes(std::span(header)));
    return parse_safetensors_header(std::move(header), file.size() - 8 - length, limits,
                                    file.path());
}

}  // namespace fathom
