#include "machine/block_setup.h"

#include <algorithm>
#include <limits>

#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

// Shared memory that nobody wrote holds this, and so do registers: never a plausible zero.
constexpr uint8_t kPoison = 0xcb;

void fill(Warp& warp, uint32_t place, int bits, uint64_t value) {
    if (bits == 1) {
        predicate(warp, place) = value != 0 ? kAllLanes : 0;
        return;
    }
    for (int lane = 0; lane < 32; lane++) {
        write_lane(warp, place, bits, lane, value);
    }
}

uint32_t special_value(const Launch& launch, const Warp& warp, Special special, uint32_t lane) {
    const Dim& n = launch.request.block;
    const Dim& grid = launch.request.grid;
    const uint32_t thread = warp.index * 32 + lane;
    const uint32_t bit = 1u << lane;
    switch (special) {
        case Special::kTidX: return thread % n.x;
        case Special::kTidY: return thread / n.x % n.y;
        case Special::kTidZ: return thread / n.x / n.y;
        case Special::kNtidX: return n.x;
        case Special::kNtidY: return n.y;
        case Special::kNtidZ: return n.z;
        case Special::kNctaidX: return grid.x;
        case Special::kNctaidY: return grid.y;
        case Special::kNctaidZ: return grid.z;
        case Special::kLaneid: return lane;
        case Special::kWarpid: return warp.index;
        case Special::kNwarpid: return launch.warps_a_block;
        case Special::kNsmid: return 132;
        case Special::kLanemaskEq: return bit;
        case Special::kLanemaskLe: return bit | (bit - 1);
        case Special::kLanemaskLt: return bit - 1;
        case Special::kLanemaskGe: return ~(bit - 1);
        case Special::kLanemaskGt: return ~(bit | (bit - 1));
        case Special::kDynamicSharedBytes: return launch.request.dynamic_shared_bytes;
        case Special::kTotalSharedBytes: return warp.block->shared_bytes;
        case Special::kDynamicSharedBase32:
        case Special::kDynamicSharedBase64: return launch.kernel->static_shared_bytes;
        case Special::kClusterCtas: return 1;
        default: return 0;
    }
}

int special_bits(Special special) { return special == Special::kDynamicSharedBase64 ? 64 : 32; }

void fill_registers(const Launch& launch, Warp& warp) {
    for (const Kernel::Constant& constant : launch.kernel->constants) {
        fill(warp, constant.place, constant.bits, constant.value);
    }
    for (const auto& [special, place] : launch.kernel->specials) {
        for (uint32_t lane = 0; lane < 32; lane++) {
            write_lane(warp, place, special_bits(special), static_cast<int>(lane),
                       special_value(launch, warp, special, lane));
        }
    }
}

void start_warp(Warp* warp, uint32_t clock_base) {
    const Launch& launch = *warp->launch;
    const uint64_t threads = launch.request.block.count() - uint64_t{warp->index} * 32;
    warp->live = threads >= 32 ? kAllLanes : (1u << threads) - 1;
    warp->grid_index =
        static_cast<uint32_t>(warp->block->linear * launch.warps_a_block + warp->index);
    warp->pc = launch.kernel->entry;
    warp->mask = warp->live;
    warp->limit = std::numeric_limits<int32_t>::max();
    warp->parked.clear();
    warp->stop = Stop::kNone;
    warp->state = WarpState::kReady;
    warp->copies.clear();
    std::fill(warp->committed, warp->committed + 32, 0);
    warp->clock = {};
    warp->clock.known.assign(launch.warps_a_block + (launch.kernel->has_async ? kAgents : 0),
                             clock_base);
    std::fill(warp->bulk_groups, warp->bulk_groups + 32, 0);
    warp->matrix = {};
    warp->has_waited_for_grid = false;
    warp->clock.now = clock_base + 1;
    for (const auto& [special, place] : launch.kernel->specials) {
        const Dim& index = warp->block->index;
        switch (special) {
            case Special::kCtaidX: fill(*warp, place, 32, index.x); break;
            case Special::kCtaidY: fill(*warp, place, 32, index.y); break;
            case Special::kCtaidZ: fill(*warp, place, 32, index.z); break;
            case Special::kSmid: fill(*warp, place, 32, warp->block->linear % 132); break;
            default: break;
        }
    }
}

}  // namespace

void setup_block(Launch* launch, Block* block) {
    const Kernel& kernel = *launch->kernel;
    const uint32_t n_warps = launch->warps_a_block;
    block->shared_bytes = kernel.static_shared_bytes + launch->request.dynamic_shared_bytes;
    block->shared.assign(block->shared_bytes + 16, kPoison);
    block->shared_written.assign(block->shared_bytes / 8 + 16, 0);
    if (launch->settings.check) {
        block->shadow.resize(block->shared_bytes, n_warps + (kernel.has_async ? kAgents : 0));
    }
    block->register_file.assign(size_t{kernel.register_bytes} * n_warps + 64, kPoison);
    block->local.assign(size_t{kernel.local_bytes} * 32 * 2 * n_warps + 16, 0);
    auto* const first = reinterpret_cast<uint8_t*>(
        (reinterpret_cast<uint64_t>(block->register_file.data()) + 63) / 64 * 64);
    block->warps.resize(n_warps);
    for (uint32_t i = 0; i < n_warps; i++) {
        Warp& warp = block->warps[i];
        warp.block = block;
        warp.launch = launch;
        warp.index = i;
        warp.registers = first + size_t{kernel.register_bytes} * i;
        warp.local = block->local.data() + size_t{kernel.local_bytes} * 64 * i;
        warp.local_written = warp.local + size_t{kernel.local_bytes} * 32;
        fill_registers(*launch, warp);
    }
}

uint32_t start_block(Block* block, uint64_t linear, uint32_t clock_base) {
    const Launch& launch = *block->warps[0].launch;
    const Dim& grid = launch.request.grid;
    uint32_t base = std::max(clock_base, block->async.clock);
    for (const Warp& warp : block->warps) {
        base = std::max(base, warp.clock.now);
    }
    block->linear = linear;
    block->index = {static_cast<uint32_t>(linear % grid.x),
                    static_cast<uint32_t>(linear / grid.x % grid.y),
                    static_cast<uint32_t>(linear / grid.x / grid.y)};
    std::fill(block->shared_written.begin(), block->shared_written.end(), 0);
    std::fill(block->local.begin(), block->local.end(), 0);
    for (Block::Barrier& barrier : block->arrived) {
        barrier = {};
    }
    block->async = {};
    block->async.clock = base + 1;
    block->async.proxy_fences.resize(block->warps.size());
    block->async.proxy_known.resize(block->warps.size());
    block->full_barriers = 0;
    block->live_warps = static_cast<uint32_t>(block->warps.size());
    for (Warp& warp : block->warps) {
        start_warp(&warp, base);
    }
    return base + 1;
}

}  // namespace virtual_gpu
