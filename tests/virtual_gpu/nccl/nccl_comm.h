// A communicator: ranks that are threads or processes of one machine and meet in shared memory.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "nccl/nccl_types.h"

namespace virtual_nccl {

constexpr int kMaxRanks = 16;
constexpr size_t kSlotBytes = size_t{1} << 20;  // A rank's part of one round.
constexpr size_t kBoxBytes = size_t{1} << 16;   // From one rank to another.

// What a rank says it is doing in a round; all ranks must say the same.
struct RoundHeader {
    uint64_t kind = 0;
    uint64_t count = 0;
    uint64_t type = 0;
    uint64_t operation = 0;
    uint64_t root = 0;
    bool operator==(const RoundHeader&) const = default;
};

// Lies in shared memory, zero at first.
struct Segment {
    std::atomic<uint32_t> joined;
    std::atomic<uint32_t> left;
    std::atomic<int32_t> process[kMaxRanks];
    std::atomic<uint32_t> is_gone[kMaxRanks];  // Destroyed or aborted by its rank.
    // Rounds of collectives: a rank puts its bytes, and takes those of all when all have put.
    std::atomic<uint64_t> put[kMaxRanks];
    std::atomic<uint64_t> taken[kMaxRanks];
    RoundHeader header[kMaxRanks];
    // Messages from rank to rank.
    std::atomic<uint64_t> sent[kMaxRanks][kMaxRanks];
    std::atomic<uint64_t> received[kMaxRanks][kMaxRanks];
    alignas(64) uint8_t slot[kMaxRanks][kSlotBytes];
    alignas(64) uint8_t box[kMaxRanks][kMaxRanks][kBoxBytes];
};

class Comm {
public:
    // Throws std::runtime_error if the system gives no shared memory.
    Comm(const ncclUniqueId& id, int rank, int n_ranks);
    ~Comm();
    Comm(const Comm&) = delete;
    Comm& operator=(const Comm&) = delete;

    bool all_joined() const { return segment_->joined >= static_cast<uint32_t>(n_ranks); }
    // A rank whose process no longer runs, or that gave the communicator up; -1 if there is none.
    int missing_rank() const;
    // Records the first error and why.
    void fail(ncclResult_t error, const std::string& why);

    Segment& segment() { return *segment_; }
    const int rank;
    const int n_ranks;
    void* context = nullptr;  // CUcontext of the device that the rank drives.
    int device = 0;
    uint64_t rounds = 0;  // Begun by this rank.
    uint64_t messages_out[kMaxRanks] = {};
    uint64_t messages_in[kMaxRanks] = {};
    uint64_t operations = 0;  // Begun by this rank.
    std::atomic<int> error = ncclSuccess;
    std::atomic<bool> is_aborted = false;

private:
    Segment* segment_ = nullptr;
    std::string name_;
};

// $FATHOM_VIRTUAL_NCCL: "timeout_ms=30000,hang_rank=1,hang_at=5": how long ranks wait for each
// other to join, and a rank that takes no part from its n-th operation on.
struct Settings {
    uint64_t timeout_ms = 30'000;
    int hang_rank = -1;
    uint64_t hang_at = 0;
};
const Settings& settings();

}  // namespace virtual_nccl
