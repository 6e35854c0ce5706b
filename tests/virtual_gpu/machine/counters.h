// What a kernel did, counted by instruction. The same program with the same input and seed counts
// the same on every machine; that is what makes these numbers worth comparing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace virtual_gpu {

struct Kernel;
struct Program;

struct InstructionCounters {
    uint64_t executed = 0;          // Warp instructions.
    uint64_t lanes = 0;             // Lanes that took part, summed.
    uint64_t bytes = 0;             // Moved to or from global memory.
    uint64_t sectors = 0;           // 32-byte sectors of global memory requested.
    uint64_t ideal_sectors = 0;     // As few as those bytes could have needed.
    uint64_t unique_sectors = 0;    // Touched for the first time in the launch: what DRAM delivers.
    uint64_t wavefronts = 0;        // Passes over the shared memory's 32 banks.
    uint64_t ideal_wavefronts = 0;  // As few as those bytes could have needed.
    uint64_t flops = 0;             // Of mma instructions.
};

struct KernelCounters {
    uint64_t launches = 0;
    uint64_t blocks = 0;
    uint64_t barriers = 0;  // Block-wide ones, counted once a warp that arrives.
    std::vector<InstructionCounters> instructions;
};

// Sums over all instructions of a kernel.
InstructionCounters total(const KernelCounters& counters);

// One kernel as a JSON object: totals, warp instructions by kind, and the lines that touch memory.
std::string counters_json(const Kernel& kernel);

// All kernels of a program that ran, as a JSON object by name.
std::string counters_json(const Program& program);

}  // namespace virtual_gpu
