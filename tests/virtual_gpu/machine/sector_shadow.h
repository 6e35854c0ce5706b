// For every 32-byte sector of device memory: who touched it in this launch. It finds unordered
// accesses to global memory and counts unique sectors.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "machine/shared_shadow.h"

namespace virtual_gpu {

class DeviceMemory;

class SectorShadow {
public:
    explicit SectorShadow(const DeviceMemory& memory);
    ~SectorShadow();
    SectorShadow(const SectorShadow&) = delete;
    SectorShadow& operator=(const SectorShadow&) = delete;

    // Forgets all accesses, in no time: cells of older launches do not count.
    void begin_launch() {
        launch_ += 1;
        split_.clear();
        readers_.clear();
        free_lists_.clear();
    }
    // The launches from here on are one step: what it reads twice counts once.
    void begin_step() { step_ += 1; }
    uint32_t launch() const { return launch_; }

    // Whether an access is the first one to its sector.
    static constexpr uint32_t kFirstInLaunch = 1;
    static constexpr uint32_t kFirstInStep = 2;

    // Warp accesses the bytes 'touched' (one bit each) of the sector that holds 'address'. Returns
    // bits of the above.
    uint32_t access(Warp& warp, const Instruction& instruction, uint64_t address, uint32_t touched,
                    int lane, AccessKind kind) {
        Cell& cell = cells_[(address - base_) / 32];
        uint32_t first = 0;
        if (cell.launch != launch_) {
            first = kFirstInLaunch | (cell.step != step_ ? kFirstInStep : 0);
            check_dependence(warp, instruction, cell, address, touched, lane, kind);
            cell = Cell{};
            cell.launch = launch_;
            cell.step = step_;
        } else if (kind == AccessKind::kRead && cell.read_warp == kManyBlocks &&
                   cell.read_clock == kNotListed && cell.write_bytes == 0 &&
                   (cell.read_bytes & touched) == touched && cell.write_warp != kSplit) {
            return 0;  // What all blocks read and nobody writes has nothing new to tell.
        }
        note(warp, instruction, &cell, address, touched, lane, kind);
        return first;
    }

private:
    // No single reader: several warps of one block, or of several blocks.
    static constexpr uint32_t kManyInBlock = 0xfffffffe;
    static constexpr uint32_t kManyBlocks = 0xffffffff;
    // With kManyBlocks in 'read_clock': nobody keeps a list of the readers.
    static constexpr uint32_t kNotListed = 0;
    // Sectors whose readers are listed, at most: a list has an entry for every warp of the grid.
    static constexpr size_t kMaxLists = 16384;
    // In 'write_warp': the sector's accesses are kept for each 4 bytes in 'split_'.
    static constexpr uint32_t kSplit = 0xffffffff;

    struct Cell {
        uint32_t launch = 0;
        uint32_t step = 0;
        uint32_t write_bytes = 0;
        uint32_t write_warp = 0;  // Of the grid.
        uint32_t write_clock = 0;
        uint32_t read_bytes = 0;
        uint32_t shared_bytes = 0;  // Read by both of the first two readers, or by all in a list.
        uint32_t read_warp = 0;
        // With kManyInBlock: the block's count of full barriers; with kManyBlocks: the number of a
        // list plus 1, or kNotListed.
        uint32_t read_clock = 0;
        uint16_t write_pc = 0;  // Modulo 65536.
        uint16_t read_pc = 0;
    };
    static_assert(sizeof(Cell) == 40, "about as much shadow as memory");

    using Granules = std::array<Cell, 8>;

    void note(Warp& warp, const Instruction& instruction, Cell* cell, uint64_t address,
              uint32_t touched, int lane, AccessKind kind);
    void note_split(Warp& warp, const Instruction& instruction, uint64_t address, uint32_t touched,
                    int lane, AccessKind kind);
    bool must_split(const Warp& warp, const Cell& cell, uint32_t touched, AccessKind kind) const;
    void split(Cell* cell, uint64_t address);
    void note_whole(Warp& warp, const Instruction& instruction, Cell* cell, uint64_t address,
                    uint32_t touched, int lane, AccessKind kind);
    void note_read(const Warp& warp, const Instruction& instruction, Cell* cell, uint32_t touched);
    void check_reads(Warp& warp, const Instruction& instruction, const Cell& cell, uint32_t touched,
                     uint64_t address, int lane);
    bool follows(const Warp& warp, uint32_t other, uint32_t clock) const;
    void check_dependence(Warp& warp, const Instruction& instruction, const Cell& cell,
                          uint64_t address, uint32_t touched, int lane, AccessKind kind);
    void list_readers(const Warp& warp, Cell* cell, uint32_t first, uint32_t first_clock);
    void copy_list(Cell* cell);
    bool all_listed_are_before(const Warp& warp, const Cell& cell) const;

    uint64_t base_ = 0;
    Cell* cells_ = nullptr;
    uint32_t launch_ = 0;
    uint32_t step_ = 1;
    std::unordered_map<uint64_t, Granules> split_;  // By sector.
    // In a cooperative launch, for sectors that several blocks read: by warp of the grid the clock
    // of its last read, 0 for none.
    std::vector<std::vector<uint32_t>> readers_;
    std::vector<uint32_t> free_lists_;
};

}  // namespace virtual_gpu
