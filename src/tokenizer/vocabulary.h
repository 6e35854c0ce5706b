#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

/// The bytes of every token, one after the other.
class TokenBytes {
public:
    void reserve(size_t n_tokens, size_t bytes);
    void push_back(std::string_view bytes);
    int32_t size() const { return static_cast<int32_t>(ends_.size()) - 1; }
    std::string_view operator[](int32_t id) const {
        const size_t index = static_cast<size_t>(id);
        return {bytes_.data() + ends_[index], ends_[index + 1] - ends_[index]};
    }

private:
    std::string bytes_;
    std::vector<uint32_t> ends_{0};  // [size + 1]
};

/// What every kind of tokenizer knows about its ids, which run from 0 to size - 1 with holes where
/// the files define none: those have no bytes.
struct Vocabulary {
    enum Flag : uint8_t {
        kMergeable = 1,  // can result from ordinary text
        kControl = 2,    // an added or control token of any kind
        kSpecial = 4,    // marked special: skip_special leaves it out
    };

    TokenBytes bytes;
    std::vector<uint8_t> flags;  // [size]

    int32_t size() const { return bytes.size(); }
    bool has(int32_t id, Flag flag) const {
        return id >= 0 && id < size() && (flags[static_cast<size_t>(id)] & flag) != 0;
    }
};

/// Finds mergeable tokens by their bytes. The vocabulary outlives it.
class TokenIndex {
public:
    explicit TokenIndex(const Vocabulary& vocabulary);

    /// Id of the mergeable token with these bytes, or -1.
    int32_t find(std::string_view bytes) const { return slots_[find_slot(bytes)].id; }

private:
    struct Slot {
        uint32_t tag = 0;  // upper half of the hash
        int32_t id = -1;
    };
    size_t find_slot(std::string_view bytes) const;

    const TokenBytes& bytes_;
    std::vector<Slot> slots_;  // open addressing, a power of two
};

}  // namespace fathom
