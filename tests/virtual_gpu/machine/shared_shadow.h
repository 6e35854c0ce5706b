// Finds unordered accesses to shared memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace virtual_gpu {

struct Instruction;
struct Warp;

enum class AccessKind : uint8_t { kRead, kWrite, kAtomic };

// An agent's entry in the clocks, warps included, and its time.
struct AgentTime {
    uint32_t agent;
    uint32_t clock;
};

// For every 4 bytes, or 16 that are touched together: who wrote last, who read since then, and
// whether a copy is on its way there (after FastTrack, Flanagan and Freund 2009). One reader is
// kept in the cell; when several warps read without an order between them, each gets an entry.
class SharedShadow {
public:
    // 'n_warps': entries of the clocks, agents included.
    void resize(uint32_t bytes, uint32_t n_warps);

    // 'lane' of 'warp' accesses 'bytes' bytes at 'offset', which are inside. Reports what it finds.
    void access(Warp& warp, const Instruction& instruction, uint32_t offset, uint32_t bytes,
                int lane, AccessKind kind);

    // The copy that cp.async started is on its way, or has arrived.
    void start_copy(Warp& warp, const Instruction& instruction, uint32_t offset, uint32_t bytes,
                    int lane);
    void finish_copy(const Warp& warp, const Instruction& instruction, uint32_t offset,
                     uint32_t bytes, int lane);
    void forget_copy(uint32_t offset, uint32_t bytes);

    // An agent reads on behalf of the warp. The write before must be ordered before what the warp
    // does now, and fenced if an ordinary store made it; later writes must come after the agent's
    // 'clock'.
    void async_read(Warp& warp, const Instruction& instruction, uint32_t offset, uint32_t bytes,
                    AgentTime time);
    // An agent will write: accesses before must be ordered before what the warp does now. Until it
    // has written, every access is a finding.
    void start_async_write(Warp& warp, const Instruction& instruction, uint32_t offset,
                           uint32_t bytes);
    void finish_async_write(const Warp& warp, const Instruction& instruction, uint32_t offset,
                            uint32_t bytes, AgentTime time);

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

    void note_read(const Warp& warp, Cell* cell, AgentTime time);
    void forget_reads(Cell* cell);
    bool reads_are_ordered(const Warp& warp, const Cell& cell, uint32_t* reader) const;
    void check_reads(Warp& warp, const Instruction& instruction, const Cell& cell, uint32_t offset,
                     int lane);
    void check_write_before(Warp& warp, const Instruction& instruction, const Cell& cell,
                            uint32_t offset, int lane, AccessKind kind, uint8_t touched);

    template <class F>
    void visit(uint32_t offset, uint32_t bytes, bool makes_whole, F f);
    void split(size_t piece);
    void finish(const Instruction& instruction, const Warp& warp, uint32_t offset, uint32_t bytes,
                AgentTime time, int lane);

    static std::string writer_of(const Warp& warp, const Cell& cell);
    uint32_t new_row();

    std::vector<Cell> cells_;
    // For each 16 bytes: the first of the four cells stands for all, as long as they are touched
    // together. Tiles for tensor cores always are.
    std::vector<uint8_t> is_whole_;
    // Rows of n_warps_ clocks of last reads; with kManyReaders, read_clock is the row's number.
    std::vector<uint32_t> readers_;
    std::vector<uint32_t> free_rows_;
    uint32_t n_warps_ = 0;
};

}  // namespace virtual_gpu
