#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

// Text assembly without iostream, printf or locale: a host may run under any locale, and a number
// in a message or a file must read the same everywhere.
namespace fathom {

inline void append(std::string& out, std::string_view part) { out.append(part); }
inline void append(std::string& out, char part) { out.push_back(part); }

template <std::integral Integer>
    requires(!std::same_as<Integer, char> && !std::same_as<Integer, bool>)
void append(std::string& out, Integer part) {
    char digits[24];
    const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, part);
    out.append(digits, end.ptr);
}

inline void append(std::string& out, double part) {
    char digits[40];
    const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, part);
    out.append(digits, end.ptr);
}

template <typename... Parts>
std::string concat(const Parts&... parts) {
    std::string out;
    (append(out, parts), ...);
    return out;
}

/// Bytes of untrusted text shown inside a message: control characters and bytes above 0x7e become
/// \xNN, and the text is cut at `limit` bytes. An error message is printed on somebody's terminal.
std::string printable(std::string_view untrusted, size_t limit = 120);

}  // namespace fathom
