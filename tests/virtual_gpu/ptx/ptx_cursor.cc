#include "ptx/ptx_cursor.h"

#include <charconv>
#include <cstring>

namespace virtual_gpu {

bool TokenCursor::parse_integer(std::string_view text, uint64_t* value) {
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.size() > 2 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) {
        base = 2;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        base = 8;
    }
    if (text.size() > 1 && text.back() == 'U') {
        text.remove_suffix(1);
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
    return error == std::errc() && end == text.data() + text.size();
}

uint64_t TokenCursor::literal(char* form) {
    const std::string_view text = peek().text;
    const bool is_real =
        text.size() > 2 && text[0] == '0' && std::strchr("fFdD", text[1]) != nullptr;
    *form = 'i';
    if (!is_real) {
        return integer();
    }
    *form = text[1] == 'f' || text[1] == 'F' ? 'f' : 'd';
    uint64_t bits = 0;
    const std::string hex = "0x" + std::string(text.substr(2));
    if (text.size() != (*form == 'f' ? 10 : 18) || !parse_integer(hex, &bits)) {
        fail("number not understood");
    }
    next();
    return bits;
}

}  // namespace virtual_gpu
