#include "machine/sector_shadow.h"

#include <sys/mman.h>

#include <stdexcept>
#include <string>

#include "machine/warp.h"

namespace virtual_gpu {

SectorShadow::SectorShadow(const DeviceMemory& memory) : base_(memory.base()) {
    void* at = mmap(nullptr, DeviceMemory::kSpan / 32 * sizeof(Cell), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        throw std::runtime_error("virtual GPU: the system gives no address space");
    }
    cells_ = static_cast<Cell*>(at);
}

SectorShadow::~SectorShadow() { munmap(cells_, DeviceMemory::kSpan / 32 * sizeof(Cell)); }

bool SectorShadow::follows(const Warp& warp, uint32_t other, uint32_t clock) const {
    const uint32_t a_block = warp.launch->warps_a_block;
    if (other / a_block == warp.block->linear) {
        return other % a_block == warp.index || warp.clock.follows(other % a_block, clock);
    }
    return warp.clock.follows_other_block(other, clock);
}

// A launch that may begin early must wait before it touches what the launch before it writes, and
// before it overwrites what that one reads.
void SectorShadow::check_dependence(Warp& warp, const Instruction& instruction, const Cell& cell,
                                    uint64_t address, uint32_t touched, int lane, AccessKind kind) {
    const uint32_t conflicts = cell.write_bytes | (kind == AccessKind::kRead ? 0 : cell.read_bytes);
    if (warp.launch->depends_on == 0 || cell.launch != warp.launch->depends_on ||
        warp.has_waited_for_grid || (conflicts & touched) == 0 || !warp.launch->settings.check) {
        return;
    }
    report(warp, instruction, "race-launch", lane,
           std::string(kind == AccessKind::kRead ? "read" : "write") + " of " +
               warp.launch->memory->describe(address) +
               ", which the launch before it uses, without griddepcontrol.wait");
}

void SectorShadow::note_read(const Warp& warp, const Instruction& instruction, Cell* cell,
                             uint32_t touched) {
    const uint32_t me = warp.global_index();
    if (cell->read_warp == kManyBlocks && cell->read_bytes != 0) {
        cell->read_bytes |= touched;
        if (cell->read_clock != kNotListed) {
            cell->shared_bytes &= touched;
            readers_[cell->read_clock - 1][me] = warp.clock.now;
        }
        return;
    }
    cell->read_pc = static_cast<uint16_t>(pc_of(warp, instruction));
    if (cell->read_bytes == 0 || cell->read_warp == me) {
        cell->read_bytes |= touched;
        cell->read_warp = me;
        cell->read_clock = warp.clock.now;
        return;
    }
    const uint32_t a_block = warp.launch->warps_a_block;
    if (cell->read_warp == kManyInBlock) {
        // The block that the many belong to is not kept; another block's read counts as one of
        // them until it is over, which can hide a race but never invent one.
        cell->read_bytes |= touched;
        cell->read_clock = warp.block->full_barriers;
        return;
    }
    if (follows(warp, cell->read_warp, cell->read_clock)) {
        cell->read_bytes = touched;
        cell->read_warp = me;
        cell->read_clock = warp.clock.now;
        return;
    }
    cell->shared_bytes = cell->read_bytes & touched;
    cell->read_bytes |= touched;
    const bool same_block = cell->read_warp / a_block == warp.block->linear;
    // Where blocks can wait for each other, a list of all readers alone can tell.
    if (warp.launch->request.is_cooperative) {
        list_readers(warp, cell, cell->read_warp, cell->read_clock);
        return;
    }
    cell->read_warp = same_block ? kManyInBlock : kManyBlocks;
    cell->read_clock = same_block ? warp.block->full_barriers : kNotListed;
}

void SectorShadow::list_readers(const Warp& warp, Cell* cell, uint32_t first,
                                uint32_t first_clock) {
    cell->read_warp = kManyBlocks;
    cell->read_clock = kNotListed;
    if (free_lists_.empty() && readers_.size() < kMaxLists) {
        readers_.emplace_back();
        free_lists_.push_back(static_cast<uint32_t>(readers_.size()));
    }
    if (free_lists_.empty()) {
        return;
    }
    cell->read_clock = free_lists_.back();
    free_lists_.pop_back();
    std::vector<uint32_t>& list = readers_[cell->read_clock - 1];
    list.assign(warp.launch->request.grid.count() * warp.launch->warps_a_block, 0);
    list[first] = first_clock;
    list[warp.global_index()] = warp.clock.now;
}

// The cell was copied from one with a list: it gets a list of its own.
void SectorShadow::copy_list(Cell* cell) {
    if (cell->read_warp != kManyBlocks || cell->read_clock == kNotListed) {
        return;
    }
    if (cell->read_bytes == 0 || readers_.size() == kMaxLists) {
        cell->read_clock = kNotListed;
        return;
    }
    readers_.push_back(std::vector<uint32_t>(readers_[cell->read_clock - 1]));
    cell->read_clock = static_cast<uint32_t>(readers_.size());
}

bool SectorShadow::all_listed_are_before(const Warp& warp, const Cell& cell) const {
    const std::vector<uint32_t>& list = readers_[cell.read_clock - 1];
    for (uint32_t other = 0; other < list.size(); other++) {
        if (list[other] != 0 && other != warp.global_index() &&
            !follows(warp, other, list[other])) {
            return false;
        }
    }
    return true;
}

// A write must come after every read of those bytes. Where the cell no longer knows each reader,
// only what is certain is reported: of bytes that several read, one reader at least is another.
void SectorShadow::check_reads(Warp& warp, const Instruction& instruction, const Cell& cell,
                               uint32_t touched, uint64_t address, int lane) {
    bool is_race = false;
    if (cell.read_warp >= kManyInBlock && (cell.shared_bytes & touched) == 0) {
        return;
    }
    if (cell.read_warp == kManyBlocks && cell.read_clock != kNotListed) {
        is_race = !all_listed_are_before(warp, cell);
    } else if (cell.read_warp == kManyBlocks) {
        is_race = !warp.launch->request.is_cooperative && warp.clock.others.empty();
    } else if (cell.read_warp == kManyInBlock) {
        is_race = !warp.launch->has_partial_barriers && warp.clock.others.empty() &&
                  warp.block->full_barriers <= cell.read_clock;
    } else {
        is_race = !follows(warp, cell.read_warp, cell.read_clock);
    }
    const std::vector<Instruction>& code = warp.launch->kernel->code;
    if (is_race && !(code[cell.read_pc].is_strong && instruction.is_strong)) {
        report(warp, instruction, "race-global", lane,
               "write to " + warp.launch->memory->describe(address) +
                   " is not ordered after a read at " + where(warp, cell.read_pc));
    }
}

// Whether a whole cell would have to forget somebody: warps that touch different bytes.
bool SectorShadow::must_split(const Warp& warp, const Cell& cell, uint32_t touched,
                              AccessKind kind) const {
    const uint32_t me = warp.global_index();
    if (kind == AccessKind::kRead) {
        return cell.read_bytes != 0 && cell.read_warp != me && cell.read_warp < kManyInBlock &&
               (cell.read_bytes & ~touched) != 0;
    }
    return cell.write_bytes != 0 && cell.write_warp != me && (cell.write_bytes & ~touched) != 0;
}

void SectorShadow::split(Cell* cell, uint64_t address) {
    Granules& granules = split_[address / 32];
    for (int i = 0; i < 8; i++) {
        const uint32_t bytes = 0xfu << (4 * i);
        granules[i] = *cell;
        granules[i].write_bytes &= bytes;
        granules[i].read_bytes &= bytes;
        granules[i].shared_bytes &= bytes;
        copy_list(&granules[i]);
    }
    cell->write_warp = kSplit;
}

void SectorShadow::note_split(Warp& warp, const Instruction& instruction, uint64_t address,
                              uint32_t touched, int lane, AccessKind kind) {
    Granules& granules = split_[address / 32];
    for (int i = 0; i < 8; i++) {
        const uint32_t part = touched & (0xfu << (4 * i));
        if (part != 0) {
            note_whole(warp, instruction, &granules[i], address + 4 * i, part, lane, kind);
        }
    }
}

void SectorShadow::note(Warp& warp, const Instruction& instruction, Cell* cell, uint64_t address,
                        uint32_t touched, int lane, AccessKind kind) {
    if (!warp.launch->settings.check) {
        return;
    }
    if (cell->write_warp != kSplit && must_split(warp, *cell, touched, kind)) {
        split(cell, address);
    }
    if (cell->write_warp == kSplit) {
        // The whole cell goes on knowing which bytes were touched, for the launch after this.
        (kind == AccessKind::kRead ? cell->read_bytes : cell->write_bytes) |= touched;
        note_split(warp, instruction, address, touched, lane, kind);
    } else {
        note_whole(warp, instruction, cell, address, touched, lane, kind);
    }
}

void SectorShadow::note_whole(Warp& warp, const Instruction& instruction, Cell* cell,
                              uint64_t address, uint32_t touched, int lane, AccessKind kind) {
    const uint32_t me = warp.global_index();
    if ((cell->write_bytes & touched) != 0 && cell->write_warp != me &&
        !follows(warp, cell->write_warp, cell->write_clock)) {
        const Instruction& writer = warp.launch->kernel->code[cell->write_pc];
        if (!(writer.is_strong && instruction.is_strong)) {
            const uint32_t a_block = warp.launch->warps_a_block;
            report(warp, instruction, "race-global", lane,
                   std::string(kind == AccessKind::kRead ? "read" : "write") + " of " +
                       warp.launch->memory->describe(address) +
                       " is not ordered after the write by block " +
                       std::to_string(cell->write_warp / a_block) + " warp " +
                       std::to_string(cell->write_warp % a_block) + " at " +
                       where(warp, cell->write_pc));
        }
    }
    if (kind == AccessKind::kRead) {
        note_read(warp, instruction, cell, touched);
        return;
    }
    if ((cell->read_bytes & touched) != 0) {
        check_reads(warp, instruction, *cell, touched, address, lane);
    }
    const bool is_more = cell->write_warp == me && cell->write_clock == warp.clock.now;
    cell->write_bytes = is_more ? cell->write_bytes | touched : touched;
    cell->write_warp = me;
    cell->write_clock = warp.clock.now;
    cell->write_pc = static_cast<uint16_t>(pc_of(warp, instruction));
    const bool had_list =
        cell->read_bytes != 0 && cell->read_warp == kManyBlocks && cell->read_clock != kNotListed;
    cell->read_bytes &= ~touched;
    cell->shared_bytes &= ~touched;
    if (had_list && cell->read_bytes == 0) {
        free_lists_.push_back(cell->read_clock);
        cell->read_clock = kNotListed;
    }
}

}  // namespace virtual_gpu
