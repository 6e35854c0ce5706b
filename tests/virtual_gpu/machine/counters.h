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
    uint64_t unique_sectors = 0;    // Touched for the first time in the launch.
    uint64_t unique_reads = 0;      // Of these, by a read: what DRAM must deliver at least.
    uint64_t step_reads = 0;        // First touched in the whole step, by a read.
    uint64_t wavefronts = 0;        // Passes over the shared memory's 32 banks.
    uint64_t ideal_wavefronts = 0;  // As few as those bytes could have needed.
    uint64_t flops = 0;             // Of mma instructions.
};

// What went to or came from allocations of one name ("weights"): see DeviceMemory::name().
struct RegionCounters {
    uint64_t bytes = 0;
    uint64_t sectors = 0;
    uint64_t ideal_sectors = 0;
    uint64_t unique_reads = 0;
    uint64_t step_reads = 0;
};

struct KernelCounters {
    uint64_t launches = 0;
    uint64_t blocks = 0;
    uint64_t barriers = 0;  // Block-wide ones, counted once a warp that arrives.
    std::vector<InstructionCounters> instructions;
    std::vector<RegionCounters> regions;  // By number of the name; those without a name are 0.
};

// Sums over all instructions of a kernel.
InstructionCounters total(const KernelCounters& counters);
void add(InstructionCounters* sum, const InstructionCounters& one);
void add(RegionCounters* sum, const RegionCounters& one);

// Text in quotes, as JSON wants it.
std::string json_quoted(const std::string& text);
// '"bytes": 12, "sectors": ...': the part about memory.
std::string memory_json(const InstructionCounters& counters);
std::string region_json(const RegionCounters& region);

// One kernel as a JSON object: totals, warp instructions by kind, and the lines that touch memory.
std::string counters_json(const Kernel& kernel, const KernelCounters& counters);

// All kernels of a program that ran, as a JSON object by name.
std::string counters_json(const Program& program);

}  // namespace virtual_gpu
