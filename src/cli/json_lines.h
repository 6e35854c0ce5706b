#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// JSON in and out of the command, one object a line. The only file that includes the JSON library.
namespace fathom::cli {

/// One object read from a line, or written to one. Fields keep their order.
class JsonLine {
public:
    JsonLine();
    ~JsonLine();
    JsonLine(JsonLine&&) noexcept;
    JsonLine(const JsonLine&) = delete;
    JsonLine& operator=(const JsonLine&) = delete;

    /// Throws Failure naming what is wrong.
    static JsonLine parse(std::string_view text);
    std::string dump() const;

    bool has(const char* field) const;
    std::string text(const char* field) const;
    bool boolean(const char* field, bool fallback) const;
    std::vector<int32_t> ids(const char* field) const;
    /// The field as JSON text.
    std::string raw(const char* field) const;

    void set(const char* field, std::string_view text);
    void set(const char* field, const char* text) { set(field, std::string_view(text)); }
    void set(const char* field, bool value);
    void set(const char* field, int64_t value);
    void set(const char* field, uint64_t value);
    void set(const char* field, double value);
    void set(const char* field, const std::vector<int32_t>& values);
    /// The first value is written as null: there is no probability of the first token.
    void set_logprobs(const char* field, const std::vector<float>& values);
    void set(const char* field, JsonLine object);

private:
    struct Value;
    Value* value_;
};

/// Reads stdin line by line, calls `body` with each object and prints its result; a failure names
/// the line. Empty lines are skipped.
void for_each_json_line(const std::function<JsonLine(const JsonLine& in)>& body);

}  // namespace fathom::cli
