// The fundamental types and state spaces of PTX.
#pragma once

#include <cstdint>
#include <string_view>

namespace virtual_gpu {

enum class Type : uint8_t {
    kNone,
    kPredicate,
    kB8,
    kU8,
    kS8,
    kB16,
    kU16,
    kS16,
    kF16,
    kBF16,
    kB32,
    kU32,
    kS32,
    kF32,
    kTF32,
    kF16x2,
    kBF16x2,
    kB64,
    kU64,
    kS64,
    kF64,
    kE4M3,
    kE5M2,
    kE4M3x2,
    kE5M2x2,
    kB128,
};

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kParam, kConst };

// The type that a suffix without its dot names ("u32"), kNone if it names none.
Type type_named(std::string_view name);

// How many bits a value has; a predicate has 1, kNone 0.
int type_bits(Type type);

bool type_is_signed(Type type);
bool type_is_float(Type type);

const char* space_name(Space space);

}  // namespace virtual_gpu
