#pragma once

#include <cstdint>
#include <utility>

#include "base/status.h"
#include "base/thread.h"

namespace fathom {

/// Owner of memory from map_memory.
class MappedMemory {
public:
    MappedMemory() = default;
    explicit MappedMemory(uint64_t bytes) : data_(map_memory(bytes)), bytes_(bytes) {
        if (data_ == nullptr) {
            fail(Status::kNoMemory, "cpu backend: the system has no ", bytes, " bytes of memory");
        }
    }
    ~MappedMemory() { unmap_memory(data_, bytes_); }
    MappedMemory(MappedMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    MappedMemory& operator=(MappedMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    MappedMemory(const MappedMemory&) = delete;
    MappedMemory& operator=(const MappedMemory&) = delete;

    unsigned char* data() const { return static_cast<unsigned char*>(data_); }

private:
    void* data_ = nullptr;
    uint64_t bytes_ = 0;
};

}  // namespace fathom
