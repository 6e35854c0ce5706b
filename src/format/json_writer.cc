#include "format/json_writer.h"

#include <cmath>

#include "base/text.h"

namespace fathom {

size_t utf8_character_bytes(std::string_view text) {
    if (text.empty()) return 0;
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    if (first < 0x80) return 1;
    const size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < n) return 0;
    for (size_t i = 1; i < n; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
    }
    // The second byte decides about overlong forms, surrogates and the end of Unicode.
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) > 0x9f) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return n;
}

void JsonWriter::separate() {
    if (!first_) append(text_, style_ == Style::kSpaced ? std::string_view(", ") : ",");
    first_ = false;
}

void JsonWriter::quote(std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    text_.push_back('"');
    while (!text.empty()) {
        const unsigned char c = static_cast<unsigned char>(text.front());
        const size_t n = utf8_character_bytes(text);
        if (n > 1) {
            text_.append(text.substr(0, n));
        } else if (n == 0) {
            text_.append("\xef\xbf\xbd");
        } else if (c == '"' || c == '\\') {
            text_.push_back('\\');
            text_.push_back(text.front());
        } else if (c == '\n') {
            text_.append("\\n");
        } else if (c == '\r') {
            text_.append("\\r");
        } else if (c == '\t') {
            text_.append("\\t");
        } else if (c == '\b') {
            text_.append("\\b");
        } else if (c == '\f') {
            text_.append("\\f");
        } else if (c < 0x20) {
            text_.append("\\u00");
            text_.push_back(kHex[c >> 4]);
            text_.push_back(kHex[c & 15]);
        } else {
            text_.push_back(text.front());
        }
        text.remove_prefix(n == 0 ? 1 : n);
    }
    text_.push_back('"');
}

JsonWriter& JsonWriter::open(char bracket) {
    separate();
    text_.push_back(bracket);
    first_ = true;
    return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
    text_.push_back(bracket);
    first_ = false;
    return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
    separate();
    quote(name);
    append(text_, style_ == Style::kSpaced ? std::string_view(": ") : ":");
    first_ = true;
    return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
    separate();
    quote(text);
    return *this;
}

JsonWriter& JsonWriter::integer(int64_t value) {
    separate();
    append(text_, value);
    return *this;
}

JsonWriter& JsonWriter::unsigned_integer(uint64_t value) {
    separate();
    append(text_, value);
    return *this;
}

JsonWriter& JsonWriter::number(double value) {
    if (!std::isfinite(value)) return null();
    separate();
    append(text_, value);
    return *this;
}

JsonWriter& JsonWriter::literal(std::string_view json) {
    separate();
    text_.append(json);
    return *this;
}

}  // namespace fathom
