#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

// Arithmetic on numbers that came from a file or a caller. An empty result means that the exact
// value does not fit; the caller names the field in its error.
namespace fathom {

template <std::integral T>
std::optional<T> checked_add(T a, T b) {
    T result;
    if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
    return result;
}

template <std::integral T>
std::optional<T> checked_mul(T a, T b) {
    T result;
    if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
    return result;
}

/// `value` as the narrower type To, or nothing when it does not fit.
template <std::integral To, std::integral From>
std::optional<To> checked_cast(From value) {
    const To narrow = static_cast<To>(value);
    if (static_cast<From>(narrow) != value) return std::nullopt;
    if ((narrow < To{}) != (value < From{})) return std::nullopt;
    return narrow;
}

/// Smallest multiple of `unit` (a power of two) not below `value`; only for values that our own
/// code bounded.
constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}

constexpr int64_t ceil_div(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace fathom
