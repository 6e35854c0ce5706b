#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fathom {

/// The KV cache as numbers: pages 0 to n_pages - 1 with reference counts. The bytes are the
/// backend's. Everything is taken at construction; reserve and release are O(1) and allocate
/// nothing.
class KvPool {
public:
    explicit KvPool(int32_t n_pages);

    int32_t n_pages() const { return static_cast<int32_t>(references_.size()); }
    int32_t n_free() const { return static_cast<int32_t>(free_.size()); }
    int32_t n_used() const { return n_pages() - n_free(); }
    int32_t references(int32_t page) const { return references_[static_cast<size_t>(page)]; }

    /// A free page, now with one reference; -1 when there is none.
    int32_t reserve();
    void retain(int32_t page);

    /// Drops one reference; the page is free when the last one goes.
    void release(int32_t page);

private:
    std::vector<int32_t> references_;  // [n_pages]
    std::vector<int32_t> free_;        // a stack: the page freed last is warm in the caches
};

}  // namespace fathom
