#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace fathom {

/// Builds JSON text by appending. The caller opens and closes in pairs; commas and colons are the
/// writer's. kSpaced writes ", " and ": " as Python's json.dumps does, which is the form that the
/// models were trained on; kCompact writes no spaces.
class JsonWriter {
public:
    enum class Style { kCompact, kSpaced };

    explicit JsonWriter(Style style = Style::kCompact) : style_(style) {}

    JsonWriter& begin_object() { return open('{'); }
    JsonWriter& end_object() { return close('}'); }
    JsonWriter& begin_array() { return open('['); }
    JsonWriter& end_array() { return close(']'); }

    JsonWriter& key(std::string_view name);
    /// UTF-8 is kept; bytes that are not UTF-8 become U+FFFD, because the text must stay JSON.
    JsonWriter& string(std::string_view text);
    JsonWriter& integer(int64_t value);
    JsonWriter& unsigned_integer(uint64_t value);
    /// Shortest digits that read back as the same double; NaN and infinities, which JSON lacks,
    /// become null.
    JsonWriter& number(double value);
    JsonWriter& boolean(bool value) { return literal(value ? "true" : "false"); }
    JsonWriter& null() { return literal("null"); }
    /// Text that is already one JSON value.
    JsonWriter& literal(std::string_view json);

    const std::string& text() const { return text_; }
    std::string take() { return std::move(text_); }

private:
    void separate();
    void quote(std::string_view text);
    JsonWriter& open(char bracket);
    JsonWriter& close(char bracket);

    std::string text_;
    Style style_;
    bool first_ = true;  // nothing precedes the next value in its array or object
};

/// Bytes of the well-formed UTF-8 character at the start of `text`, 0 if there is none. Refuses
/// surrogates, overlong forms and values above U+10FFFF.
size_t utf8_character_bytes(std::string_view text);

}  // namespace fathom
