// A kernel as the machine runs it: registers are places in a warp's register file, handlers are
// picked, names are gone.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "machine/counters.h"
#include "ptx/ptx_module.h"

namespace virtual_gpu {

class DeviceMemory;
struct Instruction;
struct Warp;

// Executes one instruction for the lanes in 'mask', which is never 0.
using Handler = void (*)(Warp& warp, const Instruction& instruction, uint32_t mask);

// Operands are byte offsets into the warp's register file. A value of 32 bits takes 32 x 4 bytes
// there, one of 64 bits 32 x 8, one of 16 or 8 bits 32 x 2; a predicate is one 32-bit mask.
// Constants have places too, filled once, so that handlers know only one kind of operand.
struct Instruction {
    Handler run = nullptr;
    int32_t guard = -1;  // Place of the predicate, or -1.
    bool guard_negated = false;
    Type type = Type::kNone;
    Type source_type = Type::kNone;
    Space space = Space::kGeneric;
    uint8_t bytes = 0;   // Of one element in memory.
    uint8_t vector = 1;  // Elements a lane.
    uint8_t mode = 0;    // Which variant; each handler says what it means.
    uint8_t n_ops = 0;
    bool is_strong = false;  // Atomic, volatile, relaxed and the like: may meet others of its kind.
    uint8_t width[6] = {};   // Bits of the register behind each operand.
    uint32_t op[6] = {};
    uint16_t n_list = 0;             // Registers in 'list', where it holds nothing else.
    int32_t target = -1;             // Index of an instruction or of a branch table.
    uint32_t location = 0;           // Index into PtxModule::locations.
    int64_t offset = 0;              // Added to an address.
    const uint32_t* list = nullptr;  // Operands of instructions with more than six.
};

enum class Special : uint8_t {
    kTidX,
    kTidY,
    kTidZ,
    kNtidX,
    kNtidY,
    kNtidZ,
    kCtaidX,
    kCtaidY,
    kCtaidZ,
    kNctaidX,
    kNctaidY,
    kNctaidZ,
    kLaneid,
    kWarpid,
    kNwarpid,
    kSmid,
    kNsmid,
    kLanemaskEq,
    kLanemaskLe,
    kLanemaskLt,
    kLanemaskGe,
    kLanemaskGt,
    kDynamicSharedBytes,
    kTotalSharedBytes,
    kClusterCtaRank,
    kClusterCtas,
    kDynamicSharedBase32,
    kDynamicSharedBase64,
};

struct Parameter {
    uint32_t offset;
    uint32_t bytes;
};

struct Kernel {
    std::string name;
    const PtxModule* source = nullptr;
    std::vector<Instruction> code;  // Of the functions it calls, then its own.
    int32_t entry = 0;
    std::vector<std::string_view> mnemonics;  // One an instruction, for messages and counters.
    std::vector<int> ptx_lines;                // One an instruction.
    std::vector<std::vector<int>> branch_tables;
    std::deque<std::vector<uint32_t>> lists;  // What Instruction::list points into.
    std::vector<Parameter> parameters;
    uint32_t parameter_bytes = 0;
    uint32_t register_bytes = 0;
    uint32_t static_shared_bytes = 0;  // Rounded up to where the dynamic part begins.
    uint32_t local_bytes = 0;          // A lane.
    uint32_t max_threads = 0;          // 0: not limited by the kernel.
    uint32_t required_threads[3] = {0, 0, 0};
    bool has_async = false;  // It uses mbarrier, bulk copies or wgmma.

    struct Constant {
        uint32_t place;
        int bits;
        uint64_t value;
    };
    std::vector<Constant> constants;
    std::vector<std::pair<Special, uint32_t>> specials;  // And their places.

    KernelCounters counters;
};

// A variable of module scope in device memory.
struct Global {
    uint64_t address;
    uint64_t bytes;
};

struct Program {
    std::unique_ptr<PtxModule> source;
    std::map<std::string, std::unique_ptr<Kernel>> kernels;
    std::map<std::string, Global> globals;
};

// Parses and decodes a module and places its variables in 'memory'. Throws PtxError.
std::unique_ptr<Program> load_program(std::string ptx, DeviceMemory* memory);

}  // namespace virtual_gpu
