#include "engine/memory_reservation.h"

#include <utility>

#include "engine/engine_core.h"

namespace fathom {

MemoryReservation::MemoryReservation(std::shared_ptr<EngineCore> core, uint64_t bytes,
                                     std::string_view parts)
    : bytes_(bytes) {
    core->reserve_memory(bytes, parts);
    core_ = std::move(core);
}

MemoryReservation::MemoryReservation(MemoryReservation&& other) noexcept
    : core_(std::move(other.core_)), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryReservation& MemoryReservation::operator=(MemoryReservation&& other) noexcept {
    std::swap(core_, other.core_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

MemoryReservation::~MemoryReservation() {
    if (core_ != nullptr) core_->release_memory(bytes_);
}

}  // namespace fathom
