#pragma once

// Which rows go through which expert, as the router's kernel has sorted them.

#include "cuda/weight_decode.cuh"

namespace fathom::cuda {

/// The rows of a tile that go through one expert: of the sorted choices, or, for the shared expert,
/// the tile's own.
struct Members {
    const int* choice;  // null: every row of the tile
    int begin;
    int end;

    __device__ __forceinline__ int at(int i) const { return choice != nullptr ? choice[i] : i; }
};

__device__ __forceinline__ Members members_of(const GroupArgs& group, int tile, int slot) {
    const int* begin = group.begin + tile * (group.most_active + 1) + slot;
    return {group.choice, begin[0], begin[1]};
}

__device__ __forceinline__ Members tile_rows(int tile, int n_rows) {
    return {nullptr, tile * kRowTile, min((tile + 1) * kRowTile, n_rows)};
}

}  // namespace fathom::cuda
