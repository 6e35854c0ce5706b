#include "machine/access_global.h"

#include <algorithm>

#include "machine/access.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

void check_bounds(Warp& warp, const Instruction& instruction, Access* access) {
    DeviceMemory& memory = *warp.launch->memory;
    for_each_lane(access->mask, [&](int lane) {
        access->host[lane] = memory.find(access->address[lane], access->bytes);
        if (access->host[lane] == nullptr) {
            access->mask &= ~(1u << lane);
            report(warp, instruction, "out-of-bounds", lane,
                   std::to_string(access->bytes) + " bytes at " +
                       memory.describe(access->address[lane]),
                   LaunchError::kIllegalAddress);
        }
    });
}

void check_written(Warp& warp, const Instruction& instruction, const Access& access) {
    DeviceMemory& memory = *warp.launch->memory;
    for_each_lane(access.mask, [&](int lane) {
        const uint64_t address = access.address[lane];
        memory.find(address, access.bytes);
        if (memory.last_is_host()) {
            return;
        }
        if (access.kind != AccessKind::kWrite && !memory.is_written(address, access.bytes)) {
            report(warp, instruction, "uninitialised", lane,
                   "read of " + std::to_string(access.bytes) + " bytes " +
                       memory.describe(address) + ", which nobody wrote");
        }
        if (access.kind != AccessKind::kRead) {
            memory.mark_written(address, access.bytes);
        }
    });
}

// How many sectors were touched for the first time.
struct Firsts {
    uint64_t in_launch = 0;
    uint64_t in_step = 0;
    void add(uint32_t bits) {
        in_launch += bits & SectorShadow::kFirstInLaunch;
        in_step += bits / SectorShadow::kFirstInStep;
    }
};

struct Traffic {
    uint64_t bytes;
    uint64_t sectors;
    Firsts firsts;
    AccessKind kind;
};

// Adds to the instruction, and to the name of the allocation that was looked up last.
void count(Warp& warp, const Instruction& instruction, const Traffic& traffic) {
    InstructionCounters& counters = warp.launch->counters[pc_of(warp, instruction)];
    const bool is_write = traffic.kind == AccessKind::kWrite;
    const uint64_t ideal = (traffic.bytes + 31) / 32;
    counters.bytes += traffic.bytes;
    counters.sectors += traffic.sectors;
    counters.ideal_sectors += ideal;
    counters.unique_sectors += traffic.firsts.in_launch;
    counters.unique_reads += is_write ? 0 : traffic.firsts.in_launch;
    counters.step_reads += is_write ? 0 : traffic.firsts.in_step;
    const uint32_t name = warp.launch->memory->last_name();
    add(&warp.launch->regions[name],
        {traffic.bytes, traffic.sectors, ideal, is_write ? 0 : traffic.firsts.in_launch,
         is_write ? 0 : traffic.firsts.in_step});
}

// Sectors of all lanes together, each once: one request of the warp asks for it once.
void visit_sectors(Warp& warp, const Instruction& instruction, const Access& access) {
    struct Piece {
        uint64_t sector;
        uint32_t touched;
        int lane;
    };
    Piece pieces[32];
    int n = 0;
    for_each_lane(access.mask, [&](int lane) {
        const uint64_t sector = access.address[lane] / 32;
        const auto touched = static_cast<uint32_t>(((uint64_t{1} << access.bytes) - 1)
                                                   << (access.address[lane] % 32));
        // Neighbouring lanes mostly share a sector, so the last piece is the first to look at.
        for (int i = n; i-- > 0;) {
            if (pieces[i].sector == sector) {
                pieces[i].touched |= touched;
                return;
            }
        }
        pieces[n++] = {sector, touched, lane};
    });
    const uint64_t bytes = static_cast<uint64_t>(__builtin_popcount(access.mask)) * access.bytes;
    Firsts firsts;
    for (int i = 0; i < n; i++) {
        firsts.add(warp.launch->sectors->access(warp, instruction, pieces[i].sector * 32,
                                                pieces[i].touched, pieces[i].lane, access.kind));
    }
    // Lanes of one instruction seldom point into allocations of different names.
    warp.launch->memory->find(access.address[first_lane(access.mask)], access.bytes);
    count(warp, instruction, {bytes, static_cast<uint64_t>(n), firsts, access.kind});
}

// Neighbouring bytes inside one allocation; each lane has 'a_lane' of them.
void count_row(Warp& warp, const Instruction& instruction, const Touch& row, uint32_t a_lane) {
    Firsts firsts;
    const uint64_t first = row.address / 32;
    const uint64_t end = row.address + row.bytes;
    for (uint64_t sector = first; sector * 32 < end; sector++) {
        const uint64_t from = std::max(sector * 32, row.address) - sector * 32;
        const uint64_t to = std::min(sector * 32 + 32, end) - sector * 32;
        const auto touched = static_cast<uint32_t>((uint64_t{1} << to) - (uint64_t{1} << from));
        const uint64_t lane = row.lane + (sector * 32 + from - row.address) / a_lane;
        firsts.add(warp.launch->sectors->access(warp, instruction, sector * 32, touched,
                                                static_cast<int>(lane), row.kind));
    }
    warp.launch->memory->find(row.address, row.bytes);
    count(warp, instruction, {row.bytes, (end + 31) / 32 - first, firsts, row.kind});
}

// The common case, a row of lanes side by side inside one allocation: one check for all.
bool resolve_row(Warp& warp, const Instruction& instruction, Access* access) {
    DeviceMemory& memory = *warp.launch->memory;
    const uint64_t address = access->address[0];
    const uint32_t bytes = access->bytes * 32;
    uint8_t* host = memory.find(address, bytes);
    if (host == nullptr || memory.last_is_host()) {
        return false;
    }
    for (int lane = 0; lane < 32; lane++) {
        access->host[lane] = host + static_cast<size_t>(lane) * access->bytes;
    }
    const Settings& settings = warp.launch->settings;
    if (settings.check && access->kind != AccessKind::kWrite &&
        !memory.is_written(address, bytes)) {
        check_written(warp, instruction, *access);  // It names the first lane.
    }
    if (settings.check && access->kind != AccessKind::kRead) {
        memory.mark_written(address, bytes);
    }
    if (!settings.count) {
        return true;
    }
    count_row(warp, instruction, {address, bytes, 0, access->kind}, access->bytes);
    return true;
}

}  // namespace

bool touch_global(Warp& warp, const Instruction& instruction, const Touch& touch) {
    DeviceMemory& memory = *warp.launch->memory;
    if (memory.find(touch.address, touch.bytes) == nullptr) {
        report(warp, instruction, "out-of-bounds", touch.lane,
               std::to_string(touch.bytes) + " bytes at " + memory.describe(touch.address),
               LaunchError::kIllegalAddress);
        return false;
    }
    if (memory.last_is_host()) {
        return true;
    }
    if (warp.launch->settings.check && touch.kind == AccessKind::kRead &&
        !memory.is_written(touch.address, touch.bytes)) {
        report(warp, instruction, "uninitialised", touch.lane,
               "read of " + std::to_string(touch.bytes) + " bytes " +
                   memory.describe(touch.address) + ", which nobody wrote");
    }
    if (touch.kind != AccessKind::kRead) {
        memory.mark_written(touch.address, touch.bytes);
    }
    if (warp.launch->settings.count) {
        count_row(warp, instruction, touch, touch.bytes);
    }
    return true;
}

void resolve_global(Warp& warp, const Instruction& instruction, Access* access) {
    if (access->is_row && resolve_row(warp, instruction, access)) {
        return;
    }
    check_bounds(warp, instruction, access);
    if (access->mask == 0) {
        return;
    }
    if (warp.launch->settings.check) {
        check_written(warp, instruction, *access);
    }
    if (warp.launch->settings.count && !warp.launch->memory->last_is_host()) {
        visit_sectors(warp, instruction, *access);
    }
}

}  // namespace virtual_gpu
