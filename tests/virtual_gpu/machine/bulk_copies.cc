// Bulk copies that are on their way: between global and shared memory, whole or by tensor map.
#include <algorithm>
#include <cstring>

#include "machine/access.h"
#include "machine/access_global.h"
#include "machine/async.h"
#include "machine/copies.h"
#include "machine/lanes.h"
#include "machine/tensor_map.h"

namespace virtual_gpu {
namespace {

bool is_store(const BulkCopy& copy) {
    return copy.kind == BulkCopy::Kind::kStore || copy.kind == BulkCopy::Kind::kTensorStore;
}

uint8_t* bytes_at(Block& block, uint64_t address, uint32_t bytes) {
    return block.warps[0].launch->memory->find(address, bytes);
}

void load_tensor(Block& block, const BulkCopy& copy) {
    TensorMap map;
    std::memcpy(&map, copy.kept.data(), sizeof map);
    uint8_t* const shared = block.shared.data();
    for (uint32_t i = 0; i < tensor_rows(map); i++) {
        const TensorRow row = tensor_row(map, copy.coordinates, i);
        for (uint32_t x = 0; x < map.row_bytes(); x += 16) {
            uint8_t piece[16] = {};
            if (map.fills_with_nan) {
                std::memset(piece, 0xff, sizeof piece);
            }
            const uint32_t from = std::clamp(row.first, x, x + 16);
            const uint32_t to = std::clamp(row.last, from, x + 16);
            if (to > from) {
                std::memcpy(piece + from - x,
                            bytes_at(block, row.address + from - row.first, to - from), to - from);
            }
            const uint32_t at = copy.shared + row.in_box + x;
            std::memcpy(shared + swizzled(at, map.swizzle_bytes), piece, 16);
        }
    }
}

void store_tensor(Block& block, const BulkCopy& copy) {
    TensorMap map;
    std::memcpy(&map, copy.kept.data(), sizeof map);
    const uint8_t* const shared = copy.kept.data() + sizeof map - copy.shared;
    for (uint32_t i = 0; i < tensor_rows(map); i++) {
        const TensorRow row = tensor_row(map, copy.coordinates, i);
        for (uint32_t x = row.first; x < row.last; x++) {
            const uint32_t at = copy.shared + row.in_box + x;
            *bytes_at(block, row.address + x - row.first, 1) =
                shared[swizzled(at, map.swizzle_bytes)];
        }
    }
}

void carry_out_load(Block& block, const BulkCopy& copy) {
    Warp& warp = block.warps[copy.warp];
    if (copy.kind == BulkCopy::Kind::kLoad) {
        std::memcpy(block.shared.data() + copy.shared, bytes_at(block, copy.global, copy.bytes),
                    copy.bytes);
    } else {
        load_tensor(block, copy);
    }
    SharedBarrier& barrier = block.async.barriers.at(copy.barrier);
    const AgentTime time = {barrier.agent, ++block.async.clock};
    if (warp.launch->settings.check) {
        block.shadow.finish_async_write(warp, *copy.instruction, copy.shared, copy.bytes, time);
        for (uint32_t at = 0; at < copy.bytes; at += 16) {
            mark_shared_written(&block, copy.shared + at, 16);
        }
    }
    complete_bytes(block, &barrier, copy.bytes, time);
}

void carry_out_arrival(Block& block, const BulkCopy& copy) {
    Warp& warp = block.warps[copy.warp];
    carry_out_copies(warp, copy.lane, copy.serial);
    arrive(warp, *copy.instruction, &block.async.barriers.at(copy.barrier), 1);
}

void read_for_store(Block& block, BulkCopy* copy) {
    if (!copy->has_read) {
        const uint8_t* from = block.shared.data() + copy->shared;
        copy->kept.insert(copy->kept.end(), from, from + copy->bytes);
        copy->has_read = true;
        Warp& warp = block.warps[copy->warp];
        uint32_t& known = warp.clock.known[warp.launch->warps_a_block + kStoreAgent + copy->warp];
        known = std::max(known, copy->clock);
    }
}

void write_for_store(Block& block, BulkCopy* copy) {
    read_for_store(block, copy);
    if (copy->kind == BulkCopy::Kind::kTensorStore) {
        store_tensor(block, *copy);
    } else {
        std::memcpy(bytes_at(block, copy->global, copy->bytes), copy->kept.data(), copy->bytes);
    }
}

}  // namespace

bool carry_out_for(Block& block, uint32_t barrier) {
    bool any = false;
    for (;;) {
        std::vector<size_t> ready;
        for (size_t i = 0; i < block.async.copies.size(); i++) {
            const BulkCopy& copy = block.async.copies[i];
            if (!is_store(copy) && copy.barrier == barrier &&
                block.async.barriers.count(barrier) != 0) {
                ready.push_back(i);
            }
        }
        if (ready.empty()) {
            return any;
        }
        // The hardware promises no order among copies.
        Launch& launch = *block.warps[0].launch;
        launch.random_state = launch.random_state * 6364136223846793005 + launch.settings.seed;
        const size_t chosen =
            launch.settings.seed == 0 ? 0 : (launch.random_state >> 33) % ready.size();
        const BulkCopy copy = std::move(block.async.copies[ready[chosen]]);
        block.async.copies.erase(block.async.copies.begin() + static_cast<long>(ready[chosen]));
        if (copy.kind == BulkCopy::Kind::kAsyncArrive) {
            carry_out_arrival(block, copy);
        } else {
            carry_out_load(block, copy);
        }
        launch.progress += 1;
        any = true;
    }
}

void wait_for_stores(Warp& warp, int lane, uint32_t pending, bool only_read) {
    Block& block = *warp.block;
    const uint32_t open = warp.bulk_groups[lane];
    std::erase_if(block.async.copies, [&](BulkCopy& copy) {
        if (!is_store(copy) || copy.warp != warp.index || copy.lane != lane || copy.group >= open ||
            open - copy.group <= pending) {
            return false;
        }
        if (only_read) {
            read_for_store(block, &copy);
            return false;
        }
        write_for_store(block, &copy);
        return true;
    });
}

void drop_bulk_copies(Warp& warp) {
    Block& block = *warp.block;
    const bool is_last = block.live_warps == 0;
    std::erase_if(block.async.copies, [&](BulkCopy& copy) {
        const bool is_own_store = is_store(copy) && copy.warp == warp.index;
        if (!is_own_store && !is_last) {
            return false;  // Another warp may wait for a load.
        }
        if (is_own_store && copy.has_read) {
            write_for_store(block, &copy);  // It ends with the kernel at the latest.
            return true;
        }
        Warp& issuer = block.warps[copy.warp];
        report(issuer, *copy.instruction, "copy-never-waited-for", copy.lane,
               is_own_store ? "the warp ends while this copy reads shared memory"
                            : "the block ends while this copy is on its way");
        block.shadow.forget_copy(copy.shared, copy.bytes);
        return true;
    });
}

}  // namespace virtual_gpu
