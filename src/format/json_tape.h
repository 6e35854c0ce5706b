#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The memory form of a JSON document; only json*.cc include it.
namespace fathom {

/// An array in blocks: it grows without a copy, so that its peak is its size. A vector would hold
/// three times its content while it doubles.
class JsonWords {
public:
    uint32_t operator[](uint32_t index) const { return blocks_[index >> kBits][index & kMask]; }
    uint32_t& operator[](uint32_t index) { return blocks_[index >> kBits][index & kMask]; }
    uint32_t size() const { return size_; }

    void push(uint32_t word) {
        if ((size_ & kMask) == 0) {
            blocks_.push_back(std::make_unique_for_overwrite<uint32_t[]>(kMask + 1));
        }
        (*this)[size_++] = word;
    }

private:
    static constexpr uint32_t kBits = 12;
    static constexpr uint32_t kMask = (uint32_t{1} << kBits) - 1;

    std::vector<std::unique_ptr<uint32_t[]>> blocks_;
    uint32_t size_ = 0;
};

/// Words of 32 bits; the top 4 of the first word of a value are its tag, the low 28 its payload:
///
///   null, false, true   1 word
///   small integer       1 word     payload: the value + 2^27
///   number              2 words    payload: bytes of its text; then its offset in the text
///   string, key         2 words    payload: bytes; then its offset in the text
///   array, object       2 words    payload: elements or members; then the index behind its end
///
/// Sized by the densest hostile texts: `[1,1,1` costs 2 bytes of tape a byte and `[[],[]` 2.7, so
/// that text, tape and key table stay within four times the file.
struct JsonTape {
    enum Tag : uint32_t { kNull, kFalse, kTrue, kSmall, kNumber, kString, kArray, kObject };
    static constexpr uint32_t kPayloadBits = 28;
    static constexpr uint32_t kPayloadMax = (uint32_t{1} << kPayloadBits) - 1;
    static constexpr int32_t kSmallBias = 1 << 27;

    std::string name;
    std::string text;  // decoded in place
    JsonWords words;
    bool duplicate_keys = false;

    uint32_t tag(uint32_t index) const { return words[index] >> kPayloadBits; }
    uint32_t payload(uint32_t index) const { return words[index] & kPayloadMax; }

    /// Index behind the value at `index`, all that it contains included.
    uint32_t next(uint32_t index) const {
        const uint32_t kind = tag(index);
        if (kind <= kSmall) return index + 1;
        if (kind <= kString) return index + 2;
        return words[index + 1];
    }

    std::string_view string(uint32_t index) const {
        return std::string_view(text).substr(words[index + 1], payload(index));
    }
};

}  // namespace fathom
