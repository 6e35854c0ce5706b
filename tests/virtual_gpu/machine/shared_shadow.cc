#include "machine/shared_shadow.h"

#include <algorithm>
#include <string>

#include "machine/warp.h"

namespace virtual_gpu {

void SharedShadow::resize(uint32_t bytes, uint32_t n_warps) {
    n_warps_ = n_warps;
    cells_.assign(bytes / 4 + 4, Cell{});
    readers_.clear();
    free_rows_.clear();
}

uint32_t SharedShadow::new_row() {
    if (free_rows_.empty()) {
        const auto row = static_cast<uint32_t>(readers_.size() / n_warps_);
        readers_.resize(readers_.size() + n_warps_, 0);
        return row;
    }
    const uint32_t row = free_rows_.back();
    free_rows_.pop_back();
    std::fill_n(readers_.begin() + static_cast<long>(row * n_warps_), n_warps_, 0);
    return row;
}

void SharedShadow::note_read(const Warp& warp, Cell* cell, AgentTime time) {
    if (cell->read_warp == time.agent) {
        cell->read_clock = time.clock;
    } else if (cell->read_warp == kManyReaders) {
        readers_[cell->read_clock * n_warps_ + time.agent] = time.clock;
    } else if (warp.clock.follows(cell->read_warp, cell->read_clock)) {
        cell->read_warp = static_cast<uint8_t>(time.agent);
        cell->read_clock = time.clock;
    } else {
        const uint32_t row = new_row();
        readers_[row * n_warps_ + cell->read_warp] = cell->read_clock;
        readers_[row * n_warps_ + time.agent] = time.clock;
        cell->read_warp = kManyReaders;
        cell->read_clock = row;
    }
}

void SharedShadow::forget_reads(Cell* cell) {
    if (cell->read_warp == kManyReaders) {
        free_rows_.push_back(cell->read_clock);
    }
    cell->read_clock = 0;
}

bool SharedShadow::reads_are_ordered(const Warp& warp, const Cell& cell, uint32_t* reader) const {
    if (cell.read_warp != kManyReaders) {
        *reader = cell.read_warp;
        return cell.read_warp == warp.index || warp.clock.follows(cell.read_warp, cell.read_clock);
    }
    const uint32_t* row = &readers_[cell.read_clock * n_warps_];
    for (uint32_t other = 0; other < n_warps_; other++) {
        if (other != warp.index && !warp.clock.follows(other, row[other])) {
            *reader = other;
            return false;
        }
    }
    return true;
}

void SharedShadow::check_reads(Warp& warp, const Instruction& instruction, const Cell& cell,
                               uint32_t offset, int lane) {
    uint32_t reader = 0;
    if (reads_are_ordered(warp, cell, &reader)) {
        return;
    }
    const std::string who = reader < warp.launch->warps_a_block ? "warp " + std::to_string(reader)
                                                                : "an asynchronous agent";
    report(warp, instruction, "race", lane,
           "write of shared+" + std::to_string(offset) + " is not ordered after a read by " + who +
               " at " + where(warp, cell.read_pc));
}

std::string SharedShadow::writer_of(const Warp& warp, const Cell& cell) {
    return cell.write_warp < warp.launch->warps_a_block
               ? "thread " + std::to_string(cell.write_warp * 32 + cell.write_lane)
               : "an asynchronous copy";
}

// Reports if the last write to these bytes is not ordered before what the lane does now.
void SharedShadow::check_write_before(Warp& warp, const Instruction& instruction, const Cell& cell,
                                      uint32_t offset, int lane, AccessKind kind, uint8_t touched) {
    const char* verb = kind == AccessKind::kRead ? "read" : "write";
    const std::string place = std::string(verb) + " of shared+" + std::to_string(offset);
    if (cell.copy_pc != 0) {
        report(warp, instruction, "copy-in-flight", lane,
               place + " while the copy issued at " + where(warp, cell.copy_pc - 1) +
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
               place + " is not ordered after the write by " + writer_of(warp, cell) + " at " +
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
            note_read(warp, &cell, {warp.index, now});
            cell.read_pc = static_cast<uint32_t>(pc_of(warp, instruction));
            continue;
        }
        check_reads(warp, instruction, cell, static_cast<uint32_t>(index * 4), lane);
        const bool is_more = is_own && cell.write_clock == now;
        cell.write_bytes = is_more ? cell.write_bytes | touched : touched;
        cell.write_clock = now;
        cell.write_warp = static_cast<uint8_t>(warp.index);
        cell.write_lane = static_cast<uint8_t>(lane);
        cell.write_pc = static_cast<uint32_t>(pc_of(warp, instruction));
        forget_reads(&cell);
        cell.read_warp = static_cast<uint8_t>(warp.index);
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

void SharedShadow::async_read(Warp& warp, const Instruction& instruction, uint32_t offset,
                              uint32_t bytes, AgentTime time) {
    for (size_t index = offset / 4; index < (offset + bytes + 3) / 4; index++) {
        Cell& cell = cells_[index];
        const auto at = static_cast<uint32_t>(index * 4);
        const bool is_own = cell.write_warp == warp.index;
        if (cell.copy_pc != 0 ||
            !(is_own || warp.clock.follows(cell.write_warp, cell.write_clock))) {
            check_write_before(warp, instruction, cell, at, 0, AccessKind::kRead, 15);
        } else if (cell.write_warp < warp.launch->warps_a_block && cell.write_clock != 0 &&
                   !is_fenced(warp, cell.write_warp, cell.write_clock)) {
            report(warp, instruction, "proxy", 0,
                   "read of shared+" + std::to_string(at) +
                       " by an asynchronous agent: the write by " + writer_of(warp, cell) + " at " +
                       where(warp, cell.write_pc) + " has no fence.proxy.async after it");
        }
        note_read(warp, &cell, time);
        cell.read_pc = static_cast<uint32_t>(pc_of(warp, instruction));
    }
}

void SharedShadow::start_async_write(Warp& warp, const Instruction& instruction, uint32_t offset,
                                     uint32_t bytes) {
    for (size_t index = offset / 4; index < (offset + bytes + 3) / 4; index++) {
        Cell& cell = cells_[index];
        const auto at = static_cast<uint32_t>(index * 4);
        const bool is_own = cell.write_warp == warp.index;
        if (cell.copy_pc != 0 ||
            !(is_own || warp.clock.follows(cell.write_warp, cell.write_clock))) {
            check_write_before(warp, instruction, cell, at, 0, AccessKind::kWrite, 15);
        }
        check_reads(warp, instruction, cell, at, 0);
        forget_reads(&cell);
        cell.read_warp = static_cast<uint8_t>(warp.index);
        cell.copy_pc = static_cast<uint32_t>(pc_of(warp, instruction) + 1);
    }
}

void SharedShadow::finish_async_write(const Warp& warp, const Instruction& instruction,
                                      uint32_t offset, uint32_t bytes, AgentTime time) {
    for (size_t index = offset / 4; index < (offset + bytes + 3) / 4; index++) {
        Cell& cell = cells_[index];
        cell.copy_pc = 0;
        cell.write_clock = time.clock;
        cell.write_warp = static_cast<uint8_t>(time.agent);
        cell.write_lane = 0;
        cell.write_bytes = 15;
        cell.write_pc = static_cast<uint32_t>(pc_of(warp, instruction));
    }
}

}  // namespace virtual_gpu
