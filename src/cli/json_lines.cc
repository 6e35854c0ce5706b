#include "cli/json_lines.h"

#include <cstdio>

#include <nlohmann/json.hpp>

#include "cli/command_line.h"
#include "cli/terminal.h"

namespace fathom::cli {

using Json = nlohmann::ordered_json;

struct JsonLine::Value {
    Json json = Json::object();
};

namespace {

constexpr size_t kMaxLineBytes = size_t{256} << 20;

/// nlohmann parses any nesting without recursion but copies and destroys with it.
void check_depth(std::string_view text) {
    constexpr int kMaxDepth = 64;
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kMaxDepth) {
                throw Failure("JSON nests deeper than " + std::to_string(kMaxDepth) + " levels");
            }
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
}

/// False at the end of the input.
bool read_line(std::string& line) {
    line.clear();
    int c;
    while ((c = getc(stdin)) != EOF) {
        if (c == '\n') return true;
        if (line.size() == kMaxLineBytes) throw Failure("line is longer than 256 MiB");
        line.push_back(static_cast<char>(c));
    }
    if (ferror(stdin) != 0) throw Failure("stdin: reading failed");
    return !line.empty();
}

}  // namespace

JsonLine::JsonLine() : value_(new Value) {}
JsonLine::~JsonLine() { delete value_; }
JsonLine::JsonLine(JsonLine&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}

JsonLine JsonLine::parse(std::string_view text) {
    check_depth(text);
    JsonLine line;
    try {
        line.value_->json = Json::parse(text);
    } catch (const Json::exception& error) {
        throw Failure(error.what());
    }
    if (!line.value_->json.is_object()) throw Failure("found no JSON object");
    return line;
}

std::string JsonLine::dump() const {
    return value_->json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool JsonLine::has(const char* field) const {
    const auto found = value_->json.find(field);
    return found != value_->json.end() && !found->is_null();
}

std::string JsonLine::text(const char* field) const {
    if (!has(field)) throw Failure(std::string("field \"") + field + "\" is missing");
    const Json& json = value_->json.at(field);
    if (!json.is_string()) {
        throw Failure(std::string("field \"") + field + "\": found " + json.type_name() +
                      ", wanted a string");
    }
    return json.get<std::string>();
}

bool JsonLine::boolean(const char* field, bool fallback) const {
    if (!has(field)) return fallback;
    const Json& json = value_->json.at(field);
    if (!json.is_boolean()) {
        throw Failure(std::string("field \"") + field + "\": found " + json.type_name() +
                      ", wanted true or false");
    }
    return json.get<bool>();
}

std::vector<int32_t> JsonLine::ids(const char* field) const {
    const std::string wanted = std::string("field \"") + field +
                               "\": wanted an array of token ids from 0 to 2147483647";
    if (!has(field) || !value_->json.at(field).is_array()) throw Failure(wanted);
    std::vector<int32_t> ids;
    for (const Json& element : value_->json.at(field)) {
        if (!element.is_number_integer()) throw Failure(wanted + ", found " + element.dump());
        const int64_t id = element.get<int64_t>();
        if (id < 0 || id > INT32_MAX) throw Failure(wanted + ", found " + element.dump());
        ids.push_back(static_cast<int32_t>(id));
    }
    return ids;
}

std::string JsonLine::raw(const char* field) const {
    if (!has(field)) throw Failure(std::string("field \"") + field + "\" is missing");
    return value_->json.at(field).dump();
}

void JsonLine::set(const char* field, std::string_view text) { value_->json[field] = text; }
void JsonLine::set(const char* field, bool value) { value_->json[field] = value; }
void JsonLine::set(const char* field, int64_t value) { value_->json[field] = value; }
void JsonLine::set(const char* field, uint64_t value) { value_->json[field] = value; }
void JsonLine::set(const char* field, double value) { value_->json[field] = value; }
void JsonLine::set(const char* field, const std::vector<int32_t>& values) {
    value_->json[field] = values;
}
void JsonLine::set(const char* field, JsonLine object) {
    value_->json[field] = std::move(object.value_->json);
}

void JsonLine::set_logprobs(const char* field, const std::vector<float>& values) {
    Json array = Json::array();
    for (size_t i = 0; i < values.size(); ++i) {
        array.push_back(i == 0 ? Json(nullptr) : Json(static_cast<double>(values[i])));
    }
    value_->json[field] = std::move(array);
}

void for_each_json_line(const std::function<JsonLine(const JsonLine& in)>& body) {
    std::string text;
    for (int64_t number = 1; read_line(text); ++number) {
        if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
        try {
            print(body(JsonLine::parse(text)).dump() + "\n");
        } catch (const Failure& failure) {
            throw Failure("stdin line " + std::to_string(number) + ": " + failure.what());
        }
    }
}

}  // namespace fathom::cli
