#include "base/text.h"

namespace fathom {

std::string printable(std::string_view untrusted, size_t limit) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string out;
    const std::string_view shown = untrusted.substr(0, limit);
    for (const char c : shown) {
        const unsigned char byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte <= 0x7e) {
            out.push_back(c);
        } else {
            out.append("\\x");
            out.push_back(kHex[byte >> 4]);
            out.push_back(kHex[byte & 15]);
        }
    }
    if (untrusted.size() > limit) {
        append(out, concat("... (", untrusted.size(), " bytes)"));
    }
    return out;
}

}  // namespace fathom
