// Finds unordered accesses to shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace virtual_gpu {

struct Instruction;
struct Warp;

enum class AccessKind : uint8_t { kRead, kWrite, kAtomic };

// For every 4 bytes: who wrote last, who read since then, and whether a cp.async is on its way
// there (after FastTrack, Flanagan and Freund 2009). One reader is kept in the cell; when several
// warps read without an order between them, each gets an entry of its own.
class SharedShadow {
public:
    void resize(uint32_t bytes, uint32_t n_warps);

    // 'lane' of 'warp' accesses 'bytes' bytes at 'offset', which are inside. Reports what it finds.
    void access(Warp& warp, const Instruction& instruction, uint32_t offset, uint32_t bytes,
                int lane, AccessKind kind);

    // The copy that cp.async started is on its way, or has arrived.
    void start_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                    uint32_t bytes);
    void finish_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                     uint32_t bytes, int lane);
    void forget_copy(uint32_t offset, uint32_t bytes);

private:
    static constexpr uint8_t kManyReaders = 255;

    struct Cell {
        uint32_t write_clock = 0;
        uint32_t read_clock = 0;
        uint32_t write_pc = 0;
        uint32_t read_pc = 0;
        uint32_t copy_pc = 0;  // Plus 1; 0: no copy on its way.
        uint8_t write_warp = 0;
        uint8_t write_lane = 0;
        uint8_t write_bytes = 0;  // Which of the 4.
        uint8_t read_warp = 0;
    };

    void note_read(Warp& warp, Cell* cell, size_t index);
    bool reads_are_ordered(const Warp& warp, const Cell& cell, size_t index,
                           uint32_t* reader) const;
    void check_write_before(Warp& warp, const Instruction& instruction, const Cell& cell,
                            uint32_t offset, int lane, AccessKind kind, uint8_t touched);

    std::vector<Cell> cells_;
    std::vector<uint32_t> readers_;  // [cell, warp]: clock of the last read, if kManyReaders.
    uint32_t n_warps_ = 0;
};

}  // namespace virtual_gpu
