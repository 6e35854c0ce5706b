// Who knows what of whom: the order that barriers and atomics give to memory accesses.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

namespace virtual_gpu {

// Up to which of its own clock values the accesses of each warp of other blocks are known to be
// done. Empty in almost every kernel; only fences with atomics fill it.
using Knowledge = std::map<uint32_t, uint32_t>;

inline void join(Knowledge* into, const Knowledge& from) {
    for (const auto& [warp, clock] : from) {
        uint32_t& known = (*into)[warp];
        known = known > clock ? known : clock;
    }
}

// A vector clock. The warp's own entry is the time of what it does now; an access at time t by
// warp w is ordered before what this warp does next if t <= known[w].
struct WarpClock {
    std::vector<uint32_t> known;  // By warp of the block.
    uint32_t now = 1;
    Knowledge others;    // By warp of the grid.
    Knowledge acquired;  // Seen by relaxed atomics; counts from the next fence on.
    std::shared_ptr<const Knowledge> fenced;  // What the last fence made ready to be passed on.

    bool follows(uint32_t warp, uint32_t time) const { return time <= known[warp]; }
    bool follows_other_block(uint32_t warp, uint32_t time) const {
        const auto found = others.find(warp);
        return found != others.end() && time <= found->second;
    }
};

// What the last writers of each location passed on, by address.
using SyncLocations = std::unordered_map<uint64_t, Knowledge>;

}  // namespace virtual_gpu
