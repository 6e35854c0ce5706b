// The asynchronous parts of a multiprocessor: barriers in shared memory, bulk copies, wgmma.
//
// Each such part is an agent with an entry of its own in every vector clock, because what it does
// is not ordered by what the warp that asked for it does next, but by the wait that belongs to it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "machine/clocks.h"
#include "machine/shared_shadow.h"

namespace virtual_gpu {

struct Block;
struct Instruction;
struct Warp;

// Agents of a block. Barriers beyond the thirty-second share entries, which can hide a race and
// never invents one.
constexpr uint32_t kBarrierAgents = 32;
constexpr uint32_t kStoreAgent = kBarrierAgents;     // One a warp: bulk copies that read.
constexpr uint32_t kMatrixAgent = kStoreAgent + 32;  // One a warp: wgmma.
constexpr uint32_t kAgents = kMatrixAgent + 32;

// An mbarrier object. Its 8 bytes in shared memory are opaque to programs; the state is here.
struct SharedBarrier {
    uint32_t count = 0;   // Arrivals that each phase expects.
    int64_t pending = 0;  // Of the current phase.
    int64_t bytes = 0;    // Expected from copies and not there yet.
    uint64_t phase = 0;   // Phases completed.
    uint32_t agent = 0;   // Its entry in the clocks, counted from the block's warps.
    uint32_t init_warp = 0;
    uint32_t init_clock = 0;
    size_t init_pc = 0;
    // What those who arrived in this phase knew, and in all phases completed.
    std::vector<uint32_t> arriving;
    std::vector<uint32_t> passed;
    Knowledge others_arriving;
    Knowledge others_passed;
    bool has_waited_for_grid = false;
};

// A bulk copy that has been issued and not carried out, or a cp.async that reports to a barrier.
struct BulkCopy {
    enum class Kind : uint8_t { kLoad, kTensorLoad, kStore, kTensorStore, kAsyncArrive };
    Kind kind = Kind::kLoad;
    const Instruction* instruction = nullptr;
    uint32_t warp = 0;
    int lane = 0;
    uint32_t shared = 0;  // Where in shared memory.
    uint64_t global = 0;  // An address, or that of a tensor map.
    uint32_t bytes = 0;
    uint32_t barrier = 0;
    int32_t coordinates[5] = {};
    uint32_t group = 0;     // Of the lane's bulk groups, for stores.
    uint32_t clock = 0;     // The agent's, for stores.
    uint64_t serial = 0;    // For a cp.async that reports: copies issued before this moment.
    bool has_read = false;  // A store whose bytes are in 'kept' already.
    std::vector<uint8_t> kept;
};

struct AsyncState {
    std::map<uint32_t, SharedBarrier> barriers;  // By place in shared memory.
    uint32_t barriers_made = 0;
    std::deque<BulkCopy> copies;
    uint32_t clock = 0;  // Of all agents; each of their deeds gets a value of its own.
    // By warp: clocks of its fence.proxy.async, and what it knew at the last one.
    std::vector<std::vector<uint32_t>> proxy_fences;
    std::vector<std::vector<uint32_t>> proxy_known;
};

// fence.proxy.async, or fence.mbarrier_init: the warp's generic accesses come before what
// asynchronous agents do after it.
void proxy_fence(Warp& warp);
// Whether a generic write of 'writer' at 'clock' is made visible to asynchronous reads by 'warp'.
bool is_fenced(const Warp& warp, uint32_t writer, uint32_t clock);

// The barrier at 'place', or nullptr and a finding that ends the kernel.
SharedBarrier* find_barrier(Warp& warp, const Instruction& instruction, uint32_t place, int lane);
void init_barrier(Warp& warp, const Instruction& instruction, uint32_t place, uint32_t count);
// The warp goes on knowing what those knew who arrived in the phases completed.
void pass_barrier(Warp& warp, const SharedBarrier& barrier);
// Bytes have arrived, written by the barrier's agent at its 'clock'.
void complete_bytes(Block& block, SharedBarrier* barrier, uint32_t bytes, AgentTime time);
// One arrival, or 'count' of them, by a warp.
void arrive(Warp& warp, const Instruction& instruction, SharedBarrier* barrier, uint32_t count);

// Carries out the copies that report to this barrier, in the order of the seed. Whether there were
// any.
bool carry_out_for(Block& block, uint32_t barrier);
// For stores of one lane: waits until at most 'pending' groups are under way; with 'only_read',
// until they have read.
void wait_for_stores(Warp& warp, int lane, uint32_t pending, bool only_read);
// A warp or its block ends: what nobody waited for is a finding.
void drop_bulk_copies(Warp& warp);

}  // namespace virtual_gpu
