#include "engine/kv_pool.h"

namespace fathom {

KvPool::KvPool(int32_t n_pages) : references_(static_cast<size_t>(n_pages), 0) {
    free_.reserve(static_cast<size_t>(n_pages));
    for (int32_t page = n_pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t KvPool::reserve() {
    if (free_.empty()) return -1;
    const int32_t page = free_.back();
    free_.pop_back();
    references_[static_cast<size_t>(page)] = 1;
    return page;
}

void KvPool::retain(int32_t page) { ++references_[static_cast<size_t>(page)]; }

void KvPool::release(int32_t page) {
    if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace fathom
