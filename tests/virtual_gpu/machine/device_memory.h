// Device memory: an allocation table, a shadow of what was written, and addresses that the host
// cannot touch.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace virtual_gpu {

// Every address handed out lies in a range that is mapped without any access right, so that a host
// that reads or writes device memory directly dies at that very instruction. The bytes live in a
// second range of the same size; the machine adds the distance.
class DeviceMemory {
public:
    explicit DeviceMemory(uint64_t capacity);
    ~DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;

    // 0 if the capacity does not suffice. Addresses are multiples of 256 and never used again, and
    // between any two allocations lie 4 KiB that belong to nobody.
    uint64_t allocate(uint64_t bytes);
    bool free(uint64_t address);

    // Host memory that kernels may reach by its own address (pinned memory). It counts as written.
    void map_host(void* address, uint64_t bytes);
    bool unmap_host(void* address);

    // Names the allocation that holds 'address', so that its traffic is counted by itself. False
    // if there is none, or too many names.
    bool name(uint64_t address, const std::string& name);
    const std::vector<std::string>& names() const { return names_; }
    uint32_t last_name() const { return cached_.name; }  // Of the last find().

    // Whether the address lies in the range that this device hands out from.
    bool owns(uint64_t address) const { return address - base_ < kSpan; }

    uint64_t capacity() const { return capacity_; }
    void set_capacity(uint64_t bytes) { capacity_ = bytes; }
    uint64_t used() const { return used_; }

    // Where the machine finds the bytes, nullptr unless all of them lie in one allocation.
    uint8_t* find(uint64_t address, uint64_t bytes) {
        if (address >= cached_.begin && address + bytes <= cached_.end &&
            address + bytes >= address) {
            return reinterpret_cast<uint8_t*>(address + cached_.shift);
        }
        return find_slowly(address, bytes);
    }
    // Whether the last find() was host memory, which has no shadow.
    bool last_is_host() const { return cached_.shift == 0; }

    // "96 bytes past the end of the 4096-byte allocation at 0x..." and the like.
    std::string describe(uint64_t address) const;

    // Which bytes were ever written. The range must lie in one device allocation.
    void mark_written(uint64_t address, uint64_t bytes, bool is_written = true);
    bool is_written(uint64_t address, uint64_t bytes) const;

    // Bytes of device memory and their written marks, for copies between allocations.
    void copy_marks(uint64_t to, uint64_t from, uint64_t bytes);

    uint64_t base() const { return base_; }
    uint64_t offset_of(uint64_t address) const { return address - base_; }

    // Sanitised ranges for shadows of others: bytes of device address space ever handed out.
    static constexpr uint64_t kSpan = uint64_t{1} << 38;

private:
    struct Range {
        uint64_t begin = 1;
        uint64_t end = 0;
        uint64_t shift = 0;
        uint32_t name = 0;
    };

    uint8_t* find_slowly(uint64_t address, uint64_t bytes);

    uint64_t capacity_;
    uint64_t used_ = 0;
    uint64_t base_ = 0;
    uint64_t shift_ = 0;  // From a device address to its bytes.
    uint64_t next_ = 0;
    uint8_t* written_ = nullptr;  // One bit a byte.
    std::map<uint64_t, Range> ranges_;
    std::map<uint64_t, Range> freed_;  // For messages only.
    Range cached_;
    std::vector<std::string> names_ = {"other"};
};

}  // namespace virtual_gpu
