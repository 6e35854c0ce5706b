#include "tokenizer/vocabulary.h"

#include <cstring>
#include <span>

#include "base/hash.h"
#include "tokenizer/hash_table.h"

namespace fathom {
namespace {

/// Hash of a token's bytes. Most pieces fit one word, which spares them the general function.
uint64_t hash_bytes(std::string_view bytes) {
    if (bytes.size() > 8) return hash64(std::as_bytes(std::span(bytes.data(), bytes.size())));
    uint64_t word = 0;
    if (bytes.size() >= 4) {
        uint32_t low;
        uint32_t high;
        std::memcpy(&low, bytes.data(), 4);
        std::memcpy(&high, bytes.data() + bytes.size() - 4, 4);
        word = (uint64_t{high} << 32) | low;
    } else if (!bytes.empty()) {
        const auto at = [&](size_t i) { return uint64_t{static_cast<unsigned char>(bytes[i])}; };
        word = at(0) | (at(bytes.size() / 2) << 8) | (at(bytes.size() - 1) << 16);
    }
    return mix(word ^ (uint64_t{bytes.size()} << 56));
}

}  // namespace

void TokenBytes::reserve(size_t n_tokens, size_t bytes) {
    ends_.reserve(n_tokens + 1);
    bytes_.reserve(bytes);
}

void TokenBytes::push_back(std::string_view bytes) {
    bytes_.append(bytes);
    ends_.push_back(static_cast<uint32_t>(bytes_.size()));
}

TokenIndex::TokenIndex(const Vocabulary& vocabulary)
    : bytes_(vocabulary.bytes), slots_(table_size(static_cast<size_t>(vocabulary.size()))) {
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
        if (!vocabulary.has(id, Vocabulary::kMergeable)) continue;
        const std::string_view bytes = bytes_[id];
        slots_[find_slot(bytes)] = {static_cast<uint32_t>(hash_bytes(bytes) >> 32), id};
    }
}

size_t TokenIndex::find_slot(std::string_view bytes) const {
    const uint64_t hash = hash_bytes(bytes);
    const uint32_t tag = static_cast<uint32_t>(hash >> 32);
    size_t slot = static_cast<size_t>(hash >> 20);
    for (;; ++slot) {
        slot &= slots_.size() - 1;
        const Slot& found = slots_[slot];
        if (found.id < 0 || (found.tag == tag && bytes_[found.id] == bytes)) return slot;
    }
}

}  // namespace fathom
