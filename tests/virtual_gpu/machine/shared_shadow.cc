#include "machine/shared_shadow.h"

#include <algorithm>
#include <string>

#include "machine/warp.h"

namespace virtual_gpu {

void SharedShadow::resize(uint32_t bytes, uint32_t n_warps) {
    n_warps_ = n_warps;
    cells_.assign(bytes / 4 + 4, Cell{});
    readers_.assign(cells_.size() * n_warps, 0);
}

void SharedShadow::note_read(Warp& warp, Cell* cell, size_t index) {
    const uint32_t now = warp.clock.now;
    if (cell->read_warp == warp.index) {
        cell->read_clock = now;
    } else if (cell->read_warp == kManyReaders) {
        readers_[index * n_warps_ + warp.index] = now;
    } else if (warp.clock.follows(cell->read_warp, cell->read_clock)) {
        cell->read_warp = static_cast<uint8_t>(warp.index);
        cell->read_clock = now;
    } else {
        uint32_t* row = &readers_[index * n_warps_];
        std::fill(row, row + n_warps_, 0);
        row[cell->read_warp] = cell->read_clock;
        row[warp.index] = now;
        cell->read_warp = kManyReaders;
    }
}

bool SharedShadow::reads_are_ordered(const Warp& warp, const Cell& cell, size_t index,
                                     uint32_t* reader) const {
    if (cell.read_warp != kManyReaders) {
        *reader = cell.read_warp;
        return cell.read_warp == warp.index || warp.clock.follows(cell.read_warp, cell.read_clock);
    }
    const uint32_t* row = &readers_[index * n_warps_];
    for (uint32_t other = 0; other < n_warps_; other++) {
        if (other != warp.index && !warp.clock.follows(other, row[other])) {
            *reader = other;
            return false;
        }
    }
    return true;
}

// Reports if the last write to these bytes is not ordered before what the lane does now.
void SharedShadow::check_write_before(Warp& warp, const Instruction& instruction, const Cell& cell,
                                      uint32_t offset, int lane, AccessKind kind, uint8_t touched) {
    const char* verb = kind == AccessKind::kRead ? "read" : "write";
    const std::string place = std::string(verb) + " of shared+" + std::to_string(offset);
    if (cell.copy_pc != 0) {
        report(warp, instruction, "copy-in-flight", lane,
               place + " while the cp.async issued at " + where(warp, cell.copy_pc - 1) +
                   " is not waited for");
        return;
    }
    const std::vector<Instruction>& code = warp.launch->kernel->code;
    const bool both_atomic =
        kind == AccessKind::kAtomic && code[cell.write_pc].run == instruction.run;
    if (cell.write_clock == 0 || (cell.write_bytes & touched) == 0 || both_atomic) {
        return;
    }
    const bool is_own = cell.write_warp == warp.index;
    // Two lanes that write the same place in one instruction: CUDA says that one of them wins.
    const bool is_same = is_own && cell.write_pc == pc_of(warp, instruction);
    const bool is_race = is_own ? cell.write_clock == warp.clock.now && cell.write_lane != lane &&
                                      !(is_same && kind != AccessKind::kRead)
                                : !warp.clock.follows(cell.write_warp, cell.write_clock);
    if (is_race) {
        report(warp, instruction, is_own ? "race-in-warp" : "race", lane,
               place + " is not ordered after the write by thread " +
                   std::to_string(cell.write_warp * 32 + cell.write_lane) + " at " +
                   where(warp, cell.write_pc));
    }
}

void SharedShadow::access(Warp& warp, const Instruction& instruction, uint32_t offset,
                          uint32_t bytes, int lane, AccessKind kind) {
    const uint32_t now = warp.clock.now;
    const uint32_t end = offset + bytes;
    for (size_t index = offset / 4; index <= (end - 1) / 4; index++) {
        Cell& cell = cells_[index];
        const uint32_t from = std::max<uint32_t>(offset, index * 4) - index * 4;
        const uint32_t to = std::min<uint32_t>(end, index * 4 + 4) - index * 4;
        const uint8_t touched = static_cast<uint8_t>((1 << to) - (1 << from));
        const bool is_own = cell.write_warp == warp.index;
        const bool is_quiet =
            cell.copy_pc == 0 && (is_own ? cell.write_clock != now || cell.write_lane == lane
                                         : warp.clock.follows(cell.write_warp, cell.write_clock));
        if (!is_quiet) {
            check_write_before(warp, instruction, cell, index * 4, lane, kind, touched);
        }
        if (kind == AccessKind::kRead) {
            note_read(warp, &cell, index);
            cell.read_pc = static_cast<uint32_t>(pc_of(warp, instruction));
            continue;
        }
        uint32_t reader = 0;
        if (!reads_are_ordered(warp, cell, index, &reader)) {
            report(warp, instruction, "race", lane,
                   "write of shared+" + std::to_string(index * 4) +
                       " is not ordered after a read by warp " + std::to_string(reader) + " at " +
                       where(warp, cell.read_pc));
        }
        const bool is_more = is_own && cell.write_clock == now;
        cell.write_bytes = is_more ? cell.write_bytes | touched : touched;
        cell.write_clock = now;
        cell.write_warp = static_cast<uint8_t>(warp.index);
        cell.write_lane = static_cast<uint8_t>(lane);
        cell.write_pc = static_cast<uint32_t>(pc_of(warp, instruction));
        cell.read_warp = static_cast<uint8_t>(warp.index);
        cell.read_clock = 0;
    }
}

void SharedShadow::start_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                              uint32_t bytes) {
    for (size_t index = offset / 4; index < (offset + bytes) / 4; index++) {
        cells_[index].copy_pc = static_cast<uint32_t>(pc_of(warp, instruction) + 1);
    }
}

void SharedShadow::finish_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                               uint32_t bytes, int lane) {
    for (size_t index = offset / 4; index < (offset + bytes) / 4; index++) {
        Cell& cell = cells_[index];
        cell.copy_pc = 0;
        cell.write_clock = warp.clock.now;
        cell.write_warp = static_cast<uint8_t>(warp.index);
        cell.write_lane = static_cast<uint8_t>(lane);
        cell.write_bytes = 15;
        cell.write_pc = static_cast<uint32_t>(pc_of(warp, instruction));
    }
}

void SharedShadow::forget_copy(uint32_t offset, uint32_t bytes) {
    for (size_t index = offset / 4; index < (offset + bytes) / 4; index++) {
        cells_[index].copy_pc = 0;
    }
}

}  // namespace virtual_gpu
