#include "format/json.h"

#include <charconv>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "format/json_tape.h"
#include "format/json_writer.h"

namespace fathom {
namespace {

/// The value as a message shows it: kind, and content where it is short.
std::string describe(const JsonTape& tape, uint32_t index) {
    switch (tape.tag(index)) {
        case JsonTape::kNull: return "null";
        case JsonTape::kFalse: return "false";
        case JsonTape::kTrue: return "true";
        case JsonTape::kSmall:
            return concat("number ",
                          static_cast<int32_t>(tape.payload(index)) - JsonTape::kSmallBias);
        case JsonTape::kNumber: return concat("number ", printable(tape.string(index), 40));
        case JsonTape::kString: return concat("string \"", printable(tape.string(index), 40), "\"");
        case JsonTape::kArray: return concat("array of ", tape.payload(index));
        default: return concat("object of ", tape.payload(index));
    }
}

}  // namespace

JsonValue::Kind JsonValue::kind() const {
    switch (tape_->tag(index_)) {
        case JsonTape::kNull: return Kind::kNull;
        case JsonTape::kFalse:
        case JsonTape::kTrue: return Kind::kBool;
        case JsonTape::kSmall:
        case JsonTape::kNumber: return Kind::kNumber;
        case JsonTape::kString: return Kind::kString;
        case JsonTape::kArray: return Kind::kArray;
        default: return Kind::kObject;
    }
}

std::string_view JsonValue::text() const { return tape_->string(index_); }

bool JsonValue::as_bool() const {
    const uint32_t tag = tape_->tag(index_);
    if (tag != JsonTape::kTrue && tag != JsonTape::kFalse) refuse("true or false");
    return tag == JsonTape::kTrue;
}

int64_t JsonValue::as_int64() const {
    const uint32_t tag = tape_->tag(index_);
    if (tag == JsonTape::kSmall) {
        return static_cast<int32_t>(tape_->payload(index_)) - JsonTape::kSmallBias;
    }
    if (tag != JsonTape::kNumber) refuse("integer");
    const std::string_view digits = text();
    int64_t value = 0;
    const std::from_chars_result end =
        std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (end.ec == std::errc::result_out_of_range) refuse("integer of 64 bits");
    if (end.ptr != digits.data() + digits.size()) {
        refuse("integer without fraction or exponent");
    }
    return value;
}

double JsonValue::as_double() const {
    const uint32_t tag = tape_->tag(index_);
    if (tag == JsonTape::kSmall) {
        return static_cast<int32_t>(tape_->payload(index_)) - JsonTape::kSmallBias;
    }
    if (tag != JsonTape::kNumber) refuse("number");
    const std::string_view digits = text();
    double value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
}

std::string_view JsonValue::as_string() const {
    if (tape_->tag(index_) != JsonTape::kString) refuse("string");
    return text();
}

uint64_t JsonValue::size() const {
    if (tape_->tag(index_) < JsonTape::kArray) refuse("array or object");
    return tape_->payload(index_);
}

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
    std::optional<JsonValue> found;
    for (const JsonMember member : members()) {
        if (member.key != key) continue;
        found = member.value;
        if (!tape_->duplicate_keys) break;
    }
    return found;
}

JsonValue JsonValue::at(std::string_view key) const {
    const std::optional<JsonValue> found = find(key);
    if (!found) {
        const std::string here = path();
        fail(Status::kFormat, tape_->name, ": ", here, here.empty() ? "" : ": ", "'",
             printable(key), "' is missing");
    }
    return *found;
}

JsonElements JsonValue::elements() const {
    if (tape_->tag(index_) != JsonTape::kArray) refuse("array");
    return JsonElements(tape_, index_ + 2, tape_->next(index_));
}

JsonMembers JsonValue::members() const {
    if (tape_->tag(index_) != JsonTape::kObject) refuse("object");
    return JsonMembers(tape_, index_ + 2, tape_->next(index_));
}

JsonElements::Iterator& JsonElements::Iterator::operator++() {
    index_ = tape_->next(index_);
    return *this;
}

JsonMember JsonMembers::Iterator::operator*() const {
    return {tape_->string(index_), JsonValue(tape_, index_ + 2)};
}

JsonMembers::Iterator& JsonMembers::Iterator::operator++() {
    index_ = tape_->next(index_ + 2);
    return *this;
}

std::string JsonValue::path() const {
    // The tape has no links to parents: walk down from the root into whatever contains index_.
    std::string path;
    uint32_t at = 0;
    while (at != index_) {
        const bool object = tape_->tag(at) == JsonTape::kObject;
        uint32_t child = at + 2;
        for (uint64_t position = 0;; ++position) {
            const uint32_t value = object ? child + 2 : child;
            const uint32_t end = tape_->next(value);
            if (index_ >= end) {
                child = end;
                continue;
            }
            if (object) {
                if (!path.empty()) path.push_back('.');
                path.append(printable(tape_->string(child), 80));
            } else {
                append(path, concat("[", position, "]"));
            }
            at = value;
            break;
        }
    }
    return path;
}

void JsonValue::refuse(std::string_view wanted) const {
    const std::string here = path();
    fail(Status::kFormat, tape_->name, ": ", here, here.empty() ? "" : ": ", "found ",
         describe(*tape_, index_), ", wanted ", wanted);
}

void JsonValue::write(JsonWriter& out) const {
    // Ends of the open arrays and objects; bounded by JsonLimits::depth.
    std::vector<std::pair<uint32_t, bool>> open;
    const uint32_t last = tape_->next(index_);
    uint32_t at = index_;
    bool key = false;
    while (at != last || !open.empty()) {
        if (!open.empty() && open.back().first == at) {
            open.back().second ? out.end_object() : out.end_array();
            open.pop_back();
            key = !open.empty() && open.back().second;
            continue;
        }
        const uint32_t tag = tape_->tag(at);
        if (key) {
            out.key(tape_->string(at));
            at += 2;
            key = false;
            continue;
        }
        switch (tag) {
            case JsonTape::kNull: out.null(); break;
            case JsonTape::kFalse: out.boolean(false); break;
            case JsonTape::kTrue: out.boolean(true); break;
            case JsonTape::kSmall: out.integer(JsonValue(tape_, at).as_int64()); break;
            case JsonTape::kNumber: out.literal(tape_->string(at)); break;
            case JsonTape::kString: out.string(tape_->string(at)); break;
            case JsonTape::kArray: out.begin_array(); break;
            default: out.begin_object(); break;
        }
        if (tag >= JsonTape::kArray) open.emplace_back(tape_->next(at), tag == JsonTape::kObject);
        at = tag >= JsonTape::kArray ? at + 2 : tape_->next(at);
        key = !open.empty() && open.back().second;
    }
}

JsonDocument::JsonDocument(std::unique_ptr<JsonTape> tape) : tape_(std::move(tape)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

JsonValue JsonDocument::root() const { return JsonValue(tape_.get(), 0); }
const std::string& JsonDocument::name() const { return tape_->name; }

}  // namespace fathom
