#include "machine/device_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <stdexcept>

namespace virtual_gpu {
namespace {

constexpr uint64_t kRedZone = 4096;

uint8_t* reserve(uint64_t bytes, int protection) {
    void* at = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        throw std::runtime_error("virtual GPU: the system gives no address space");
    }
    return static_cast<uint8_t*>(at);
}

std::string hex(uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

}  // namespace

DeviceMemory::DeviceMemory(uint64_t capacity) : capacity_(capacity) {
    base_ = reinterpret_cast<uint64_t>(reserve(kSpan, PROT_NONE));
    shift_ = reinterpret_cast<uint64_t>(reserve(kSpan, PROT_READ | PROT_WRITE)) - base_;
    written_ = reserve(kSpan / 8, PROT_READ | PROT_WRITE);
    next_ = base_ + kRedZone;
}

DeviceMemory::~DeviceMemory() {
    munmap(reinterpret_cast<void*>(base_), kSpan);
    munmap(reinterpret_cast<void*>(base_ + shift_), kSpan);
    munmap(written_, kSpan / 8);
}

uint64_t DeviceMemory::allocate(uint64_t bytes) {
    const uint64_t taken = (bytes + 255) / 256 * 256;
    if (bytes == 0 || taken < bytes || taken > capacity_ - used_ ||
        taken + kRedZone > base_ + kSpan - next_) {
        return 0;
    }
    const uint64_t address = next_;
    next_ += taken + kRedZone;
    used_ += taken;
    ranges_[address] = {address, address + bytes, shift_, 0};
    return address;
}

bool DeviceMemory::free(uint64_t address) {
    const auto found = ranges_.find(address);
    if (found == ranges_.end() || found->second.shift == 0) {
        return false;
    }
    const uint64_t bytes = found->second.end - address;
    used_ -= (bytes + 255) / 256 * 256;
    freed_[address] = found->second;
    ranges_.erase(found);
    cached_ = {};
    // Pages that hold nothing else go back to the system.
    const uint64_t first = (address + shift_ + 4095) / 4096 * 4096;
    const uint64_t last = (address + shift_ + bytes) / 4096 * 4096;
    if (last > first) {
        madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    }
    return true;
}

void DeviceMemory::map_host(void* address, uint64_t bytes) {
    const auto at = reinterpret_cast<uint64_t>(address);
    ranges_[at] = {at, at + bytes, 0, 0};
}

bool DeviceMemory::unmap_host(void* address) {
    const auto found = ranges_.find(reinterpret_cast<uint64_t>(address));
    if (found == ranges_.end() || found->second.shift != 0) {
        return false;
    }
    ranges_.erase(found);
    cached_ = {};
    return true;
}

bool DeviceMemory::name(uint64_t address, const std::string& name) {
    constexpr size_t kMaxNames = 64;
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin() || address >= (--after)->second.end) {
        return false;
    }
    size_t number = 0;
    while (number < names_.size() && names_[number] != name) {
        number += 1;
    }
    if (number == kMaxNames) {
        return false;
    }
    if (number == names_.size()) {
        names_.push_back(name);
    }
    after->second.name = static_cast<uint32_t>(number);
    cached_ = {};
    return true;
}

uint8_t* DeviceMemory::find_slowly(uint64_t address, uint64_t bytes) {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin() || address + bytes < address) {
        return nullptr;
    }
    const Range& range = (--after)->second;
    if (address + bytes > range.end) {
        return nullptr;
    }
    cached_ = range;
    return reinterpret_cast<uint8_t*>(address + range.shift);
}

std::string DeviceMemory::describe(uint64_t address) const {
    const auto before = [address](const std::map<uint64_t, Range>& ranges) -> const Range* {
        auto after = ranges.upper_bound(address);
        return after == ranges.begin() ? nullptr : &(--after)->second;
    };
    const Range* freed = before(freed_);
    if (freed != nullptr && address < freed->end) {
        return "inside the " + std::to_string(freed->end - freed->begin) + "-byte allocation " +
               hex(freed->begin) + ", which was freed";
    }
    const Range* live = before(ranges_);
    if (live == nullptr) {
        return address < 4096 ? "near address 0" : "before every allocation";
    }
    const std::string allocation =
        "the " + std::to_string(live->end - live->begin) + "-byte allocation " + hex(live->begin);
    if (address < live->end) {
        return std::to_string(live->end - address) + " bytes before the end of " + allocation;
    }
    return std::to_string(address - live->end) + " bytes past the end of " + allocation;
}

void DeviceMemory::mark_written(uint64_t address, uint64_t bytes, bool is_written) {
    uint64_t at = address - base_;
    const uint64_t end = at + bytes;
    const auto one = [this, is_written](uint64_t bit) {
        const uint8_t mask = static_cast<uint8_t>(1 << (bit & 7));
        written_[bit / 8] = is_written ? written_[bit / 8] | mask : written_[bit / 8] & ~mask;
    };
    for (; at < end && at % 8 != 0; at++) {
        one(at);
    }
    if (end - at >= 8 && at < end) {
        std::memset(written_ + at / 8, is_written ? 0xff : 0, (end - at) / 8);
        at += (end - at) / 8 * 8;
    }
    for (; at < end; at++) {
        one(at);
    }
}

bool DeviceMemory::is_written(uint64_t address, uint64_t bytes) const {
    uint64_t at = address - base_;
    const uint64_t end = at + bytes;
    while (at < end) {
        const uint64_t word_bits = std::min<uint64_t>(64 - at % 64, end - at);
        uint64_t word;
        std::memcpy(&word, written_ + at / 64 * 8, 8);
        const uint64_t ones = word_bits == 64 ? ~uint64_t{0} : (uint64_t{1} << word_bits) - 1;
        if ((word >> (at % 64) & ones) != ones) {
            return false;
        }
        at += word_bits;
    }
    return true;
}

void DeviceMemory::copy_marks(uint64_t to, uint64_t from, uint64_t bytes) {
    for (uint64_t i = 0; i < bytes;) {
        // Runs of equal marks, so that a large copy of written bytes is one step.
        const bool mark = is_written(from + i, 1);
        uint64_t run = 1;
        while (i + run < bytes && run < 64 && is_written(from + i + run, 1) == mark) {
            run += 1;
        }
        if (mark && i + run < bytes && is_written(from + i, bytes - i)) {
            run = bytes - i;
        }
        mark_written(to + i, run, mark);
        i += run;
    }
}

}  // namespace virtual_gpu
