// Runs kernels.
#pragma once

#include <string>
#include <vector>

#include "machine/warp.h"

namespace virtual_gpu {

// The device: memory, shadow, settings and what the checks found so far.
class Machine {
public:
    explicit Machine(uint64_t memory_bytes = uint64_t{16} << 30);

    DeviceMemory& memory() { return memory_; }
    Findings& findings() { return findings_; }
    Settings settings;

    // Counts the launches; 0 before the first.
    uint32_t last_launch() const { return sectors_.launch(); }

    // The kernels that run from here on are one step: what it reads twice, DRAM delivers once.
    void begin_step() { sectors_.begin_step(); }

    std::unique_ptr<Program> load(std::string ptx) {
        return load_program(std::move(ptx), &memory_);
    }

    // Runs all blocks to their end, or to the first error. Adds to the counters
    // that the request names, or to the kernel's own.
    LaunchError run(Kernel* kernel, LaunchRequest request);

private:
    DeviceMemory memory_;
    SectorShadow sectors_;
    Findings findings_;
};

}  // namespace virtual_gpu
