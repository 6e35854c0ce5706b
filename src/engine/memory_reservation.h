#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace fathom {

class EngineCore;

/// Bytes that count against an engine's budget as long as this lives.
class MemoryReservation {
public:
    MemoryReservation() = default;
    MemoryReservation(std::shared_ptr<EngineCore> core, uint64_t bytes, std::string_view parts);
    MemoryReservation(MemoryReservation&& other) noexcept;
    MemoryReservation& operator=(MemoryReservation&& other) noexcept;
    ~MemoryReservation();

private:
    std::shared_ptr<EngineCore> core_;
    uint64_t bytes_ = 0;
};

}  // namespace fathom
