#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/status.h"
#include "fathom/fathom.h"

// Size-first structs by the rule of clone3 and openat2: a caller's struct may be smaller than ours
// (missing fields are zero) or larger (the unknown tail must be zero).
namespace fathom::abi {

/// Id, first version's size and name of every struct of the interface.
struct StructVersion {
    uint32_t id;
    uint32_t first_size;
    const char* name;
};
const StructVersion* find_struct(uint32_t id);

template <typename Struct>
inline constexpr uint32_t kStructId = 0;
template <>
inline constexpr uint32_t kStructId<fathom_engine_options> = FATHOM_STRUCT_ENGINE_OPTIONS;
template <>
inline constexpr uint32_t kStructId<fathom_engine_stats> = FATHOM_STRUCT_ENGINE_STATS;
template <>
inline constexpr uint32_t kStructId<fathom_device_info> = FATHOM_STRUCT_DEVICE_INFO;
template <>
inline constexpr uint32_t kStructId<fathom_source> = FATHOM_STRUCT_SOURCE;
template <>
inline constexpr uint32_t kStructId<fathom_model_options> = FATHOM_STRUCT_MODEL_OPTIONS;
template <>
inline constexpr uint32_t kStructId<fathom_model_description> = FATHOM_STRUCT_MODEL_DESCRIPTION;
template <>
inline constexpr uint32_t kStructId<fathom_memory_plan> = FATHOM_STRUCT_MEMORY_PLAN;
template <>
inline constexpr uint32_t kStructId<fathom_tokenizer_description> =
    FATHOM_STRUCT_TOKENIZER_DESCRIPTION;
template <>
inline constexpr uint32_t kStructId<fathom_prompt_options> = FATHOM_STRUCT_PROMPT_OPTIONS;
template <>
inline constexpr uint32_t kStructId<fathom_message> = FATHOM_STRUCT_MESSAGE;
template <>
inline constexpr uint32_t kStructId<fathom_session_options> = FATHOM_STRUCT_SESSION_OPTIONS;
template <>
inline constexpr uint32_t kStructId<fathom_session_description> =
    FATHOM_STRUCT_SESSION_DESCRIPTION;
template <>
inline constexpr uint32_t kStructId<fathom_generate_options> = FATHOM_STRUCT_GENERATE_OPTIONS;
template <>
inline constexpr uint32_t kStructId<fathom_event> = FATHOM_STRUCT_EVENT;
template <>
inline constexpr uint32_t kStructId<fathom_usage> = FATHOM_STRUCT_USAGE;

/// Throws unless `size` bytes can be a version of the struct.
void check_struct_size(uint32_t id, uint32_t size);

/// The caller's options as this library's version of the struct; all zero for NULL.
template <typename Struct>
Struct read_options(const Struct* given) {
    Struct known = {};
    if (given == nullptr) return known;
    const uint32_t size = given->struct_size;
    check_struct_size(kStructId<Struct>, size);
    std::memcpy(&known, given, std::min<size_t>(size, sizeof known));
    const auto* bytes = reinterpret_cast<const unsigned char*>(given);
    for (size_t i = sizeof known; i < size; ++i) {
        if (bytes[i] != 0) {
            fail(Status::kUnsupported, find_struct(kStructId<Struct>)->name, ": byte ", i,
                 " is not zero and belongs to a field that this library (", sizeof known,
                 " bytes) does not know; use a newer library");
        }
    }
    return known;
}

/// Throws unless a field of an option struct is one of [low, high]; reserved fields are 0 to 0.
inline void require_range(const char* field, int64_t found, int64_t low, int64_t high) {
    if (found < low || found > high) {
        fail(Status::kInvalidArgument, field, ": found ", found, ", wanted ", low, " to ", high);
    }
}

/// Fills the caller's result struct as far as it is large; what lies beyond ours becomes zero.
template <typename Struct>
void write_result(Struct known, Struct* out) {
    if (out == nullptr) {
        fail(Status::kInvalidArgument, find_struct(kStructId<Struct>)->name, ": found NULL");
    }
    const uint32_t size = out->struct_size;
    check_struct_size(kStructId<Struct>, size);
    known.struct_size = size;
    std::memcpy(static_cast<void*>(out), &known, std::min<size_t>(size, sizeof known));
    if (size > sizeof known) {
        std::memset(reinterpret_cast<unsigned char*>(out) + sizeof known, 0, size - sizeof known);
    }
}

/// A name in a result struct: cut to fit, NUL-terminated.
template <size_t kSize>
void copy_name(std::string_view name, char (&out)[kSize]) {
    const size_t bytes = std::min(name.size(), kSize - 1);
    std::memcpy(out, name.data(), bytes);
    out[bytes] = '\0';
}

}  // namespace fathom::abi
