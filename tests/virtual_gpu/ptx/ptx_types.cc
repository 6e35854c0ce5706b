#include "ptx/ptx_types.h"

namespace virtual_gpu {
namespace {

struct Row {
    std::string_view name;
    Type type;
    int bits;
};

constexpr Row kTypes[] = {
    {"", Type::kNone, 0},          {"pred", Type::kPredicate, 1}, {"b8", Type::kB8, 8},
    {"u8", Type::kU8, 8},          {"s8", Type::kS8, 8},          {"b16", Type::kB16, 16},
    {"u16", Type::kU16, 16},       {"s16", Type::kS16, 16},       {"f16", Type::kF16, 16},
    {"bf16", Type::kBF16, 16},     {"b32", Type::kB32, 32},       {"u32", Type::kU32, 32},
    {"s32", Type::kS32, 32},       {"f32", Type::kF32, 32},       {"tf32", Type::kTF32, 32},
    {"f16x2", Type::kF16x2, 32},   {"bf16x2", Type::kBF16x2, 32}, {"b64", Type::kB64, 64},
    {"u64", Type::kU64, 64},       {"s64", Type::kS64, 64},       {"f64", Type::kF64, 64},
    {"e4m3", Type::kE4M3, 8},      {"e5m2", Type::kE5M2, 8},      {"e4m3x2", Type::kE4M3x2, 16},
    {"e5m2x2", Type::kE5M2x2, 16}, {"b128", Type::kB128, 128},
};

}  // namespace

Type type_named(std::string_view name) {
    if (name.empty()) {
        return Type::kNone;
    }
    for (const Row& row : kTypes) {
        if (row.name == name) {
            return row.type;
        }
    }
    return Type::kNone;
}

int type_bits(Type type) { return kTypes[static_cast<int>(type)].bits; }

bool type_is_signed(Type type) {
    return type == Type::kS8 || type == Type::kS16 || type == Type::kS32 || type == Type::kS64;
}

bool type_is_float(Type type) {
    switch (type) {
        case Type::kF16:
        case Type::kBF16:
        case Type::kF32:
        case Type::kTF32:
        case Type::kF16x2:
        case Type::kBF16x2:
        case Type::kF64:
        case Type::kE4M3:
        case Type::kE5M2:
        case Type::kE4M3x2:
        case Type::kE5M2x2: return true;
        default: return false;
    }
}

const char* space_name(Space space) {
    static constexpr const char* kNames[] = {"generic", "global", "shared",
                                             "local",   "param",  "const"};
    return kNames[static_cast<int>(space)];
}

}  // namespace virtual_gpu
