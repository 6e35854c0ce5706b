#include "machine/shared_shadow.h"

#include <algorithm>
#include <string>

#include "machine/warp.h"

namespace virtual_gpu {

void SharedShadow::resize(uint32_t bytes, uint32_t n_warps) {
    n_warps_ = n_warps;
    cells_.assign(bytes / 4 + 8, Cell{});
    is_whole_.assign(bytes / 16 + 2, 1);
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

// Splits a piece of 16 bytes into its cells, which then have lives of their own.
void SharedShadow::split(size_t piece) {
    Cell* cells = &cells_[piece * 4];
    for (int i = 1; i < 4; i++) {
        cells[i] = cells[0];
        if (cells[0].read_warp == kManyReaders) {
            const uint32_t row = new_row();
            std::copy_n(readers_.begin() + static_cast<long>(cells[0].read_clock * n_warps_),
                        n_warps_, readers_.begin() + static_cast<long>(row * n_warps_));
            cells[i].read_clock = row;
        }
    }
    is_whole_[piece] = 0;
}

// Calls f(cell, place, bytes touched) for the cells of a range, and once for a whole piece.
// 'makes_whole': after it the cells of a piece that it covers are equal.
template <class F>
void SharedShadow::visit(uint32_t offset, uint32_t bytes, bool makes_whole, F f) {
    const uint32_t end = offset + bytes;
    for (uint32_t piece = offset / 16; piece * 16 < end; piece++) {
        Cell* cells = &cells_[size_t{piece} * 4];
        const uint32_t at = piece * 16;
        if (offset <= at && at + 16 <= end) {
            if (is_whole_[piece] != 0) {
                f(cells[0], at, uint8_t{15});
                continue;
            }
            for (uint32_t i = 0; i < 4; i++) {
                f(cells[i], at + 4 * i, uint8_t{15});
            }
            is_whole_[piece] = makes_whole;
            continue;
        }
        if (is_whole_[piece] != 0) {
            split(piece);
        }
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t from = std::max(offset, at + 4 * i);
            const uint32_t to = std::min(end, at + 4 * i + 4);
            if (from < to) {
                const uint32_t touched = (1u << (to - at - 4 * i)) - (1u << (from - at - 4 * i));
                f(cells[i], at + 4 * i, static_cast<uint8_t>(touched));
            }
        }
    }
}

void SharedShadow::access(Warp& warp, const Instruction& instruction, uint32_t offset,
                          uint32_t bytes, int lane, AccessKind kind) {
    const uint32_t now = warp.clock.now;
    const auto pc = static_cast<uint32_t>(pc_of(warp, instruction));
    visit(offset, bytes, kind != AccessKind::kRead, [&](Cell& cell, uint32_t at, uint8_t touched) {
        const bool is_own = cell.write_warp == warp.index;
        const bool is_quiet =
            cell.copy_pc == 0 && (is_own ? cell.write_clock != now || cell.write_lane == lane
                                         : warp.clock.follows(cell.write_warp, cell.write_clock));
        if (!is_quiet) {
            check_write_before(warp, instruction, cell, at, lane, kind, touched);
        }
        if (kind == AccessKind::kRead) {
            note_read(warp, &cell, {warp.index, now});
            cell.read_pc = pc;
            return;
        }
        check_reads(warp, instruction, cell, at, lane);
        const bool is_more = is_own && cell.write_clock == now;
        cell.write_bytes = is_more ? cell.write_bytes | touched : touched;
        cell.write_clock = now;
        cell.write_warp = static_cast<uint8_t>(warp.index);
        cell.write_lane = static_cast<uint8_t>(lane);
        cell.write_pc = pc;
        cell.copy_pc = 0;
        forget_reads(&cell);
        cell.read_warp = static_cast<uint8_t>(warp.index);
    });
}

void SharedShadow::start_copy(Warp& warp, const Instruction& instruction, uint32_t offset,
                              uint32_t bytes, int lane) {
    const auto pc = static_cast<uint32_t>(pc_of(warp, instruction));
    visit(offset, bytes, true, [&](Cell& cell, uint32_t at, uint8_t touched) {
        const bool is_own = cell.write_warp == warp.index;
        const bool is_quiet =
            cell.copy_pc == 0 &&
            (is_own ? cell.write_clock != warp.clock.now || cell.write_lane == lane
                    : warp.clock.follows(cell.write_warp, cell.write_clock));
        if (!is_quiet) {
            check_write_before(warp, instruction, cell, at, lane, AccessKind::kWrite, touched);
        }
        check_reads(warp, instruction, cell, at, lane);
        forget_reads(&cell);
        cell.read_warp = static_cast<uint8_t>(warp.index);
        cell.copy_pc = pc + 1;
    });
}

void SharedShadow::finish(const Instruction& instruction, const Warp& warp, uint32_t offset,
                          uint32_t bytes, AgentTime time, int lane) {
    const auto pc = static_cast<uint32_t>(pc_of(warp, instruction));
    visit(offset, bytes, false, [&](Cell& cell, uint32_t, uint8_t) {
        cell.copy_pc = 0;
        cell.write_clock = time.clock;
        cell.write_warp = static_cast<uint8_t>(time.agent);
        cell.write_lane = static_cast<uint8_t>(lane);
        cell.write_bytes = 15;
        cell.write_pc = pc;
    });
}

void SharedShadow::finish_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                               uint32_t bytes, int lane) {
    finish(instruction, warp, offset, bytes, {warp.index, warp.clock.now}, lane);
}

void SharedShadow::finish_async_write(const Warp& warp, const Instruction& instruction,
                                      uint32_t offset, uint32_t bytes, AgentTime time) {
    finish(instruction, warp, offset, bytes, time, 0);
}

void SharedShadow::forget_copy(uint32_t offset, uint32_t bytes) {
    visit(offset, bytes, false, [](Cell& cell, uint32_t, uint8_t) { cell.copy_pc = 0; });
}

void SharedShadow::async_read(Warp& warp, const Instruction& instruction, uint32_t offset,
                              uint32_t bytes, AgentTime time) {
    const auto pc = static_cast<uint32_t>(pc_of(warp, instruction));
    visit(offset, bytes, false, [&](Cell& cell, uint32_t at, uint8_t) {
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
        cell.read_pc = pc;
    });
}

void SharedShadow::start_async_write(Warp& warp, const Instruction& instruction, uint32_t offset,
                                     uint32_t bytes) {
    const auto pc = static_cast<uint32_t>(pc_of(warp, instruction));
    visit(offset, bytes, true, [&](Cell& cell, uint32_t at, uint8_t) {
        const bool is_own = cell.write_warp == warp.index;
        if (cell.copy_pc != 0 ||
            !(is_own || warp.clock.follows(cell.write_warp, cell.write_clock))) {
            check_write_before(warp, instruction, cell, at, 0, AccessKind::kWrite, 15);
        }
        check_reads(warp, instruction, cell, at, 0);
        forget_reads(&cell);
        cell.read_warp = static_cast<uint8_t>(warp.index);
        cell.copy_pc = pc + 1;
    });
}

}  // namespace virtual_gpu
