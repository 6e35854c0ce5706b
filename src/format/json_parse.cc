// JsonDocument::parse: RapidJSON's iterative in-situ reader drives a handler that writes the tape.
// The only include site of RapidJSON, renamed into our namespace so that a host with its own copy
// never meets ours.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/hash.h"
#include "base/status.h"
#include "format/json.h"
#include "format/json_tape.h"
#include "format/json_writer.h"

namespace fathom {
[[noreturn, gnu::cold]] static void json_reader_broken() {
    fail(Status::kInternal, "json: the reader broke one of its own invariants");
}
}  // namespace fathom

// Nothing in a guest library may abort: a failed assertion is an exception like any other.
#define RAPIDJSON_ASSERT(condition) \
    ((condition) ? static_cast<void>(0) : ::fathom::json_reader_broken())
#define RAPIDJSON_NAMESPACE fathom::rapidjson
#define RAPIDJSON_NAMESPACE_BEGIN \
    namespace fathom {            \
    namespace rapidjson {
#define RAPIDJSON_NAMESPACE_END \
    }                           \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
// Its stack compares null + size with null before the first use, which clang's sanitizer reports.
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>
#ifdef __clang__
#pragma clang attribute pop
#endif
#pragma GCC diagnostic pop

namespace fathom {
namespace {

/// RapidJSON's own allocator writes through the null pointer that malloc returned.
class ReaderAllocator {
public:
    void* Malloc(size_t bytes) { return bytes == 0 ? nullptr : ::operator new(bytes); }
    void* Realloc(void* old, size_t old_bytes, size_t bytes) {
        void* fresh = Malloc(bytes);
        if (fresh != nullptr && old != nullptr) {
            std::memcpy(fresh, old, std::min(old_bytes, bytes));
        }
        Free(old);
        return fresh;
    }
    static void Free(void* memory) { ::operator delete(memory); }
};

/// Longest number that is read. 767 digits are the most that any double needs.
constexpr size_t kNumberBytes = 1024;

class TapeBuilder {
public:
    TapeBuilder(JsonTape& tape, const JsonLimits& limits) : tape_(tape), limits_(limits) {
        // Two words each: indices on the tape have 32 bits.
        limits_.nodes = std::min(limits_.nodes, uint64_t{1} << 30);
    }

    bool Null() { return word(JsonTape::kNull, 0); }
    bool Bool(bool value) { return word(value ? JsonTape::kTrue : JsonTape::kFalse, 0); }
    bool RawNumber(const char* text, uint32_t bytes, bool copied);
    bool String(const char* text, uint32_t bytes, bool copied);
    bool Key(const char* text, uint32_t bytes, bool copied) { return String(text, bytes, copied); }
    bool StartObject() { return open(JsonTape::kObject); }
    bool StartArray() { return open(JsonTape::kArray); }
    bool EndObject(uint32_t members);
    bool EndArray(uint32_t elements) { return close(elements); }

    // The reader delivers numbers as text and calls none of these.
    bool Int(int) { return false; }
    bool Uint(unsigned) { return false; }
    bool Int64(int64_t) { return false; }
    bool Uint64(uint64_t) { return false; }
    bool Double(double) { return false; }

    /// Why the last call returned false.
    const std::string& problem() const { return problem_; }

private:
    bool refuse(std::string problem) {
        problem_ = std::move(problem);
        return false;
    }
    bool word(uint32_t tag, uint32_t payload);
    bool located(uint32_t tag, const char* text, uint32_t bytes);
    bool open(uint32_t tag);
    bool close(uint32_t count);
    uint32_t duplicate_key(uint32_t object, uint32_t members);
    uint32_t duplicate_key_sorted(uint32_t object, uint32_t members);

    JsonTape& tape_;
    JsonLimits limits_;
    uint64_t nodes_ = 0;
    std::vector<uint32_t> open_;   // indices of the open arrays and objects
    std::vector<uint32_t> table_;  // of duplicate_key
    std::string problem_;
};

bool TapeBuilder::word(uint32_t tag, uint32_t payload) {
    if (++nodes_ > limits_.nodes) {
        return refuse(concat("more than ", limits_.nodes, " values, the limit"));
    }
    tape_.words.push(tag << JsonTape::kPayloadBits | payload);
    return true;
}

bool TapeBuilder::located(uint32_t tag, const char* text, uint32_t bytes) {
    if (!word(tag, bytes)) return false;
    tape_.words.push(static_cast<uint32_t>(text - tape_.text.data()));
    return true;
}

bool TapeBuilder::RawNumber(const char* text, uint32_t bytes, bool) {
    if (bytes > kNumberBytes) {
        return refuse(concat("number of ", bytes, " characters, the limit is ", kNumberBytes));
    }
    int32_t small = 0;
    const char* const end = text + bytes;
    // "-0" keeps its text: as a double it has a sign.
    if (bytes <= 9 && std::from_chars(text, end, small).ptr == end &&
        (small != 0 || *text == '0') && small >= -JsonTape::kSmallBias &&
        small < JsonTape::kSmallBias) {
        return word(JsonTape::kSmall, static_cast<uint32_t>(small + JsonTape::kSmallBias));
    }
    // Underflow to zero is as little the number that was written as overflow to infinity.
    double value = 0;
    const std::from_chars_result result = std::from_chars(text, end, value);
    const char* const exponent = std::find_if(text, end, [](char c) { return (c | 32) == 'e'; });
    const bool zero = std::none_of(text, exponent, [](char c) { return c >= '1' && c <= '9'; });
    if (result.ec != std::errc() || !std::isfinite(value) || (value == 0) != zero) {
        return refuse(concat("number ", printable(std::string_view(text, bytes), 40),
                             " is outside the range of a 64-bit float"));
    }
    return located(JsonTape::kNumber, text, bytes);
}

bool TapeBuilder::String(const char* text, uint32_t bytes, bool) {
    if (bytes > limits_.string_bytes || bytes > JsonTape::kPayloadMax) {
        return refuse(concat("string of ", bytes, " bytes, the limit is ",
                             std::min<uint64_t>(limits_.string_bytes, JsonTape::kPayloadMax)));
    }
    // RapidJSON checks the pairing of high surrogates only; a lone low one comes out as the three
    // bytes ED B0..BF xx, which raw text cannot contain, because it is not UTF-8.
    const char* at = text;
    const char* const end = text + bytes;
    while ((at = static_cast<const char*>(std::memchr(at, 0xed, static_cast<size_t>(end - at)))) !=
           nullptr) {
        if (static_cast<unsigned char>(at[1]) >= 0xa0) {
            return refuse("string with a lone surrogate escape");
        }
        at += 3;
    }
    return located(JsonTape::kString, text, bytes);
}

bool TapeBuilder::open(uint32_t tag) {
    if (open_.size() >= limits_.depth) {
        return refuse(concat("nesting deeper than ", limits_.depth, ", the limit"));
    }
    open_.push_back(tape_.words.size());
    if (!word(tag, 0)) return false;
    tape_.words.push(0);
    return true;
}

bool TapeBuilder::close(uint32_t count) {
    const uint32_t index = open_.back();
    if (count > JsonTape::kPayloadMax) return refuse("too many members");
    open_.pop_back();
    tape_.words[index] |= count;
    tape_.words[index + 1] = tape_.words.size();
    return true;
}

bool TapeBuilder::EndObject(uint32_t members) {
    const uint32_t object = open_.back();
    if (!close(members)) return false;
    if (limits_.duplicate_keys || members < 2) return true;
    const uint32_t key = duplicate_key(object, members);
    if (key == 0) return true;
    return refuse(concat("key \"", printable(tape_.string(key)),
                         "\" appears twice in one object, the second time at byte ",
                         tape_.words[key + 1] - 1));
}

/// Index of a key that repeats an earlier one, 0 if there is none. A hash table of indices; keys
/// that were chosen to collide are sorted instead, so that no file costs quadratic time.
uint32_t TapeBuilder::duplicate_key(uint32_t object, uint32_t members) {
    const uint64_t slots = uint64_t{members} + members / 2 + 1;
    table_.assign(slots, 0);
    uint32_t key = object + 2;
    for (uint32_t i = 0; i < members; ++i) {
        const std::string_view name = tape_.string(key);
        const uint64_t hash = hash64(std::as_bytes(std::span(name)));
        uint64_t slot = ((hash >> 32) * slots) >> 32;
        for (int probes = 0; table_[slot] != 0; ++probes) {
            if (tape_.string(table_[slot]) == name) return key;
            if (probes > 200) return duplicate_key_sorted(object, members);
            slot = slot + 1 == slots ? 0 : slot + 1;
        }
        table_[slot] = key;
        key = tape_.next(key + 2);
    }
    return 0;
}

uint32_t TapeBuilder::duplicate_key_sorted(uint32_t object, uint32_t members) {
    table_.resize(members);
    uint32_t key = object + 2;
    for (uint32_t& entry : table_) {
        entry = key;
        key = tape_.next(key + 2);
    }
    std::sort(table_.begin(), table_.end(), [&](uint32_t a, uint32_t b) {
        const int order = tape_.string(a).compare(tape_.string(b));
        return order != 0 ? order < 0 : a < b;
    });
    for (size_t i = 1; i < table_.size(); ++i) {
        if (tape_.string(table_[i - 1]) == tape_.string(table_[i])) return table_[i];
    }
    return 0;
}

/// Offset of the first byte that is not part of well-formed UTF-8, or the size. RapidJSON could
/// check this too, but its check reads and writes up to three bytes behind a text that ends within
/// a character.
size_t well_formed_bytes(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        if (text.size() - at >= 8) {
            uint64_t eight;
            std::memcpy(&eight, text.data() + at, 8);
            // The first byte is the lowest: every file format here is little-endian too.
            const uint64_t not_ascii = eight & 0x8080808080808080;
            at += static_cast<size_t>(std::countr_zero(not_ascii)) / 8;
            if (not_ascii == 0) continue;
        }
        const size_t n = utf8_character_bytes(text.substr(at));
        if (n == 0) return at;
        at += n;
    }
    return at;
}

constexpr unsigned kFlags = rapidjson::kParseInsituFlag | rapidjson::kParseIterativeFlag |
                            rapidjson::kParseNumbersAsStringsFlag;

}  // namespace

JsonDocument JsonDocument::parse(std::string_view text, const JsonLimits& limits,
                                 std::string_view name) {
    if (text.size() > limits.bytes) {
        fail(Status::kFormat, name, ": text of ", text.size(), " bytes, the limit is ",
             limits.bytes);
    }
    return parse_owned(std::string(text), limits, name);
}

JsonDocument JsonDocument::parse_owned(std::string text, const JsonLimits& limits,
                                       std::string_view name) {
    const uint64_t limit = std::min<uint64_t>(limits.bytes, UINT32_MAX - 1);
    if (text.size() > limit) {
        fail(Status::kFormat, name, ": text of ", text.size(), " bytes, the limit is ", limit);
    }
    if (text.starts_with("\xef\xbb\xbf")) {
        fail(Status::kFormat, name, ": byte 0: a byte order mark, wanted JSON");
    }
    const size_t valid = well_formed_bytes(text);
    if (valid != text.size()) {
        fail(Status::kFormat, name, ": byte ", valid, ": '",
             printable(std::string_view(text).substr(valid, 4)), "' is not UTF-8");
    }
    std::unique_ptr<JsonTape> tape = std::make_unique<JsonTape>();
    tape->name = name;
    tape->text = std::move(text);
    tape->duplicate_keys = limits.duplicate_keys;

    TapeBuilder builder(*tape, limits);
    ReaderAllocator allocator;
    rapidjson::GenericReader<rapidjson::UTF8<>, rapidjson::UTF8<>, ReaderAllocator> reader(
        &allocator);
    rapidjson::InsituStringStream stream(tape->text.data());
    const rapidjson::ParseResult result = reader.Parse<kFlags>(stream, builder);
    if (result.IsError()) {
        const bool ours = result.Code() == rapidjson::kParseErrorTermination;
        fail(Status::kFormat, name, ": byte ", result.Offset(), ": ",
             ours ? builder.problem() : std::string(rapidjson::GetParseError_En(result.Code())));
    }
    // The reader takes the first NUL for the end of the text.
    if (stream.Tell() != tape->text.size()) {
        fail(Status::kFormat, name, ": byte ", stream.Tell(), ": a NUL byte after the document");
    }
    return JsonDocument(std::move(tape));
}

}  // namespace fathom
