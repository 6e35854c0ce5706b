// The state of a running kernel: launch, blocks, warps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "machine/async.h"
#include "machine/clocks.h"
#include "machine/device_memory.h"
#include "machine/findings.h"
#include "machine/program.h"
#include "machine/sector_shadow.h"
#include "machine/shared_shadow.h"

namespace virtual_gpu {

constexpr uint32_t kAllLanes = ~uint32_t{0};

// Generic addresses of memory that is not global. No host address has these bits set, so a pointer
// of one kind is never taken for another.
constexpr uint64_t kSharedWindow = uint64_t{1} << 50;
constexpr uint64_t kLocalWindow = uint64_t{2} << 50;
constexpr uint64_t kParamWindow = uint64_t{3} << 50;
constexpr uint64_t kWindowBytes = uint64_t{1} << 32;

// The driver's numbers for a kernel that failed.
enum class LaunchError { kNone = 0, kIllegalAddress = 700, kMisaligned = 716, kFailure = 719 };

struct Dim {
    uint32_t x = 1;
    uint32_t y = 1;
    uint32_t z = 1;
    uint64_t count() const { return uint64_t{x} * y * z; }
};

struct Settings {
    bool check = true;  // Uninitialised reads and races; bounds and alignment are always checked.
    bool count = true;  // Sectors and wavefronts; warp instructions are always counted.
    uint32_t seed = 0;  // 0: warps and blocks in their natural order.
};

struct LaunchRequest {
    Dim grid;
    Dim block;
    uint32_t dynamic_shared_bytes = 0;
    bool is_cooperative = false;
    std::vector<uint8_t> parameters;
    uint32_t depends_on = 0;  // Number of the launch that may still run when this one begins.
    KernelCounters* counters = nullptr;  // Where to count; the kernel's own if there is none.
};

// Lanes of one warp that are at the same instruction.
struct Fragment {
    int32_t pc;
    uint32_t mask;
    bool is_waiting;  // At a .sync instruction, for lanes that are elsewhere.
};

// Why a warp gives way to the others.
enum class Stop : uint8_t { kNone, kYield, kBarrier, kWait, kPoll, kExit };

enum class WarpState : uint8_t { kReady, kAtBarrier, kDone };

// A cp.async of a whole warp that has been issued and not carried out.
struct PendingCopy {
    const Instruction* instruction;
    uint32_t mask;
    uint64_t serial;  // When it was issued.
    uint32_t to[32];
    uint64_t from[32];
    uint8_t source_bytes[32];  // The rest of the destination becomes 0.
    uint32_t group[32];
};

struct BarrierArrival {
    uint32_t id = 0;
    uint32_t threads = 0;    // Expected in all; 0: every thread of the block.
    uint32_t reduction = 0;  // The lanes' predicates, for bar.red.
    const Instruction* instruction = nullptr;
};

// A wgmma that has been issued and not carried out.
struct PendingMatrix {
    const Instruction* instruction = nullptr;
    uint64_t a = 0;  // Descriptors of the operands in shared memory.
    uint64_t b = 0;
    bool accumulates = false;
    uint32_t group = 0;
    uint32_t clock = 0;  // The agent's.
};

// The wgmma of one warp.
struct MatrixState {
    std::vector<PendingMatrix> pending;
    uint32_t committed = 0;
    std::vector<uint8_t> fenced;  // The registers as they were at the last wgmma.fence.
    // Registers that pending instructions own, one entry for 64 bytes of the register file.
    std::vector<uint8_t> in_flight;
};

struct Block;
struct Launch;

struct Warp {
    uint8_t* registers = nullptr;
    Block* block = nullptr;
    Launch* launch = nullptr;
    uint32_t index = 0;  // In the block.
    uint32_t live = 0;   // Lanes that have not returned.

    int32_t pc = 0;
    int32_t next = 0;  // Where the lanes in 'mask' go on.
    uint32_t mask = 0;
    int32_t limit = 0;  // From this pc on the other fragments must be looked at.
    std::vector<Fragment> parked;
    Stop stop = Stop::kNone;
    WarpState state = WarpState::kReady;
    int64_t budget = 0;  // Instructions until this warp gives way.

    BarrierArrival arrival;
    WarpClock clock;
    std::vector<PendingCopy> copies;
    uint32_t committed[32] = {};  // Groups of cp.async a lane.
    uint8_t* local = nullptr;     // [32, local_bytes]
    uint8_t* local_written = nullptr;

    uint32_t bulk_groups[32] = {};  // Committed groups of bulk stores a lane.
    MatrixState matrix;
    bool has_waited_for_grid = false;  // griddepcontrol.wait was executed.

    uint32_t grid_index = 0;  // In the grid.
    uint32_t global_index() const { return grid_index; }
};

struct Block {
    Dim index;
    uint64_t linear = 0;
    std::vector<Warp> warps;
    std::vector<uint8_t> shared;
    std::vector<uint8_t> shared_written;  // One bit a byte.
    uint32_t shared_bytes = 0;
    SharedShadow shadow;
    std::vector<uint8_t> register_file;
    std::vector<uint8_t> local;
    struct Barrier {  // Arrivals that did not stop ('bar.arrive').
        uint32_t threads = 0;
        uint32_t expected = 0;
        std::vector<std::vector<uint32_t>> known;  // What each knew when it arrived.
        std::vector<Knowledge> others;
    };
    Barrier arrived[16];
    uint32_t full_barriers = 0;  // Barriers that all live warps passed together.
    uint32_t live_warps = 0;
    AsyncState async;
};

struct Launch {
    Kernel* kernel = nullptr;
    LaunchRequest request;
    Settings settings;
    DeviceMemory* memory = nullptr;
    SectorShadow* sectors = nullptr;
    Findings* findings = nullptr;
    InstructionCounters* counters = nullptr;
    KernelCounters* kernel_counters = nullptr;
    RegionCounters* regions = nullptr;  // By number of the allocation's name.
    uint32_t warps_a_block = 0;
    uint64_t progress = 0;  // Rises with everything that can end another warp's waiting.
    bool has_partial_barriers = false;
    SyncLocations sync;  // Where warps of different blocks meet.
    LaunchError error = LaunchError::kNone;
    uint64_t executed = 0;
    uint64_t random_state = 0;
    // For a launch that may begin before the one it depends on has ended: that one's number.
    uint32_t depends_on = 0;
};

inline size_t pc_of(const Warp& warp, const Instruction& instruction) {
    return static_cast<size_t>(&instruction - warp.launch->kernel->code.data());
}

inline int first_lane(uint32_t mask) { return __builtin_ctz(mask); }

// Records a finding of 'lane'. An error other than kNone ends the kernel.
void report(Warp& warp, const Instruction& instruction, const char* kind, int lane,
            const std::string& detail, LaunchError error = LaunchError::kNone);

// "k.cu:12 (inlined at k.cu:30)"
std::string where(const Warp& warp, size_t pc);

}  // namespace virtual_gpu
