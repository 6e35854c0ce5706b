#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

// JSON from untrusted files and callers as a flat tape: one array of words in document order, so
// that parsing, walking and destroying need no recursion and a file of brackets costs no stack.
// Strings are views into the document's own copy of the text.
namespace fathom {

struct JsonTape;
class JsonElements;
class JsonMembers;
class JsonWriter;

struct JsonLimits {
    uint32_t depth = 64;                         // open arrays and objects at one point
    uint64_t bytes = uint64_t{256} << 20;        // text
    uint64_t nodes = 20'000'000;                 // values and keys
    uint64_t string_bytes = uint64_t{64} << 20;  // one string, escapes decoded
    bool duplicate_keys = false;                 // true: accepted, and find() returns the last
};

/// A value inside a JsonDocument: two words, valid while the document lives, const throughout and
/// so usable from any thread. Accessors of the wrong kind throw Error(kFormat) that names the path:
/// `config.json: rope_scaling.factor: found string "x", wanted number`.
class JsonValue {
public:
    enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

    Kind kind() const;
    bool is_null() const { return kind() == Kind::kNull; }
    bool is_bool() const { return kind() == Kind::kBool; }
    bool is_number() const { return kind() == Kind::kNumber; }
    bool is_string() const { return kind() == Kind::kString; }
    bool is_array() const { return kind() == Kind::kArray; }
    bool is_object() const { return kind() == Kind::kObject; }

    bool as_bool() const;
    /// Exact integers only: a fraction, an exponent (`1e3`) or a value outside int64 is an error.
    int64_t as_int64() const;
    /// Nearest double of any number. The parser has already refused what no double can hold.
    double as_double() const;
    /// Well-formed UTF-8; may contain NUL.
    std::string_view as_string() const;

    /// Elements of an array, members of an object.
    uint64_t size() const;
    /// Member of an object by key, in time linear in the object: iterate instead over large ones.
    std::optional<JsonValue> find(std::string_view key) const;
    /// The same for a member that must be there.
    JsonValue at(std::string_view key) const;
    /// `for (JsonValue element : value.elements())`
    JsonElements elements() const;
    /// `for (JsonMember member : value.members())`, in document order
    JsonMembers members() const;

    /// Where this value is: `vocab.hello`, `shape[2]`, empty for the root. Costs a walk from the
    /// root: for messages.
    std::string path() const;
    /// Throws Error(kFormat) that names document, path and this value as found: for the checks of
    /// the caller, as in `value.refuse("a positive number")`.
    [[noreturn]] void refuse(std::string_view wanted) const;

    /// Appends this value, all it contains included, without recursion.
    void write(JsonWriter& out) const;

private:
    friend class JsonDocument;
    friend class JsonElements;
    friend class JsonMembers;
    JsonValue(const JsonTape* tape, uint32_t index) : tape_(tape), index_(index) {}
    std::string_view text() const;

    const JsonTape* tape_;
    uint32_t index_;  // into the words of the tape
};

struct JsonMember {
    std::string_view key;
    JsonValue value;
};

class JsonElements {
public:
    class Iterator {
    public:
        JsonValue operator*() const { return JsonValue(tape_, index_); }
        Iterator& operator++();
        bool operator==(const Iterator& other) const { return index_ == other.index_; }

    private:
        friend class JsonElements;
        Iterator(const JsonTape* tape, uint32_t index) : tape_(tape), index_(index) {}
        const JsonTape* tape_;
        uint32_t index_;
    };
    Iterator begin() const { return Iterator(tape_, begin_); }
    Iterator end() const { return Iterator(tape_, end_); }

private:
    friend class JsonValue;
    JsonElements(const JsonTape* tape, uint32_t begin, uint32_t end)
        : tape_(tape), begin_(begin), end_(end) {}
    const JsonTape* tape_;
    uint32_t begin_;
    uint32_t end_;
};

class JsonMembers {
public:
    class Iterator {
    public:
        JsonMember operator*() const;
        Iterator& operator++();
        bool operator==(const Iterator& other) const { return index_ == other.index_; }

    private:
        friend class JsonMembers;
        Iterator(const JsonTape* tape, uint32_t index) : tape_(tape), index_(index) {}
        const JsonTape* tape_;
        uint32_t index_;  // of the key; the value follows it
    };
    Iterator begin() const { return Iterator(tape_, begin_); }
    Iterator end() const { return Iterator(tape_, end_); }

private:
    friend class JsonValue;
    JsonMembers(const JsonTape* tape, uint32_t begin, uint32_t end)
        : tape_(tape), begin_(begin), end_(end) {}
    const JsonTape* tape_;
    uint32_t begin_;
    uint32_t end_;
};

/// A parsed text. Values stay valid when the document is moved.
class JsonDocument {
public:
    /// Throws Error(kFormat) with name, byte offset and reason. `name` is the file name or field
    /// that messages begin with.
    static JsonDocument parse(std::string_view text, const JsonLimits& limits,
                              std::string_view name);
    /// The same without a copy of the text.
    static JsonDocument parse_owned(std::string text, const JsonLimits& limits,
                                    std::string_view name);

    JsonDocument(JsonDocument&&) noexcept;
    JsonDocument& operator=(JsonDocument&&) noexcept;
    ~JsonDocument();

    JsonValue root() const;
    const std::string& name() const;

private:
    explicit JsonDocument(std::unique_ptr<JsonTape> tape);

    std::unique_ptr<JsonTape> tape_;
};

}  // namespace fathom
