// cp.async.bulk, cp.async.bulk.tensor, cp.async.mbarrier.arrive: issuing and waiting.
#include <cstring>

#include "machine/access.h"
#include "machine/access_global.h"
#include "machine/async.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/ops_bulk.h"
#include "machine/tensor_map.h"

namespace virtual_gpu {
namespace {

// The list holds the offsets of the addresses op[0] to op[2], then the places of coordinates.
// 'vector': how many of these; 'mode': BulkCopy::Kind.
uint64_t place(Warp& warp, const Instruction& instruction, int n, int lane) {
    const auto offset = static_cast<int32_t>(instruction.list[n]);
    return operand(warp, instruction, n, lane) + static_cast<uint64_t>(int64_t{offset});
}

bool fail(Warp& warp, const Instruction& instruction, int lane, const char* kind,
          const std::string& what) {
    report(warp, instruction, kind, lane, what,
           std::string(kind) == "misaligned" ? LaunchError::kMisaligned
                                             : LaunchError::kIllegalAddress);
    return false;
}

bool read_map(Warp& warp, const Instruction& instruction, BulkCopy* copy, TensorMap* map) {
    const bool is_param = copy->global / kParamWindow == 1 && copy->global < kParamWindow * 2;
    const uint8_t* host =
        is_param ? warp.launch->request.parameters.data() + (copy->global - kParamWindow)
                 : warp.launch->memory->find(copy->global, sizeof *map);
    const bool is_inside = is_param ? copy->global - kParamWindow + sizeof *map <=
                                          warp.launch->request.parameters.size()
                                    : host != nullptr;
    if (!is_inside || copy->global % 64 != 0) {
        return fail(warp, instruction, copy->lane, is_inside ? "misaligned" : "out-of-bounds",
                    "the tensor map is not where it should be");
    }
    std::memcpy(map, host, sizeof *map);
    if (map->magic != TensorMap::kMagic || map->rank != instruction.vector) {
        return fail(warp, instruction, copy->lane, "bad-tensor-map",
                    "no tensor map of rank " + std::to_string(instruction.vector) + " lies there");
    }
    const auto* bytes = reinterpret_cast<const uint8_t*>(map);
    copy->kept.assign(bytes, bytes + sizeof *map);
    copy->bytes = map->box_bytes();
    return true;
}

bool check_shared(Warp& warp, const Instruction& instruction, const BulkCopy& copy,
                  uint32_t align) {
    if (copy.shared % align != 0 || copy.bytes % 16 != 0 ||
        (align == 16 && copy.global % 16 != 0)) {
        return fail(warp, instruction, copy.lane, "misaligned",
                    std::to_string(copy.bytes) + " bytes at shared+" + std::to_string(copy.shared) +
                        ": addresses must be multiples of " + std::to_string(align) +
                        ", sizes of 16");
    }
    if (uint64_t{copy.shared} + copy.bytes > warp.block->shared_bytes) {
        return fail(warp, instruction, copy.lane, "out-of-bounds",
                    std::to_string(copy.bytes) + " bytes at shared+" + std::to_string(copy.shared) +
                        ", the block has " + std::to_string(warp.block->shared_bytes));
    }
    return true;
}

// The device memory that the copy touches, checked and counted when it is issued.
bool touch_device_memory(Warp& warp, const Instruction& instruction, const BulkCopy& copy,
                         const TensorMap& map, AccessKind kind) {
    if (copy.kind == BulkCopy::Kind::kLoad || copy.kind == BulkCopy::Kind::kStore) {
        return touch_global(warp, instruction, {copy.global, copy.bytes, copy.lane, kind});
    }
    for (uint32_t i = 0; i < tensor_rows(map); i++) {
        const TensorRow row = tensor_row(map, copy.coordinates, i);
        if (row.last > row.first &&
            !touch_global(warp, instruction,
                          {row.address, row.last - row.first, copy.lane, kind})) {
            return false;
        }
    }
    return true;
}

void issue_load(Warp& warp, const Instruction& instruction, BulkCopy copy, const TensorMap& map) {
    const SharedBarrier* barrier = find_barrier(warp, instruction, copy.barrier, copy.lane);
    if (barrier == nullptr ||
        !touch_device_memory(warp, instruction, copy, map, AccessKind::kRead)) {
        return;
    }
    if (warp.launch->settings.check) {
        if (!is_fenced(warp, barrier->init_warp, barrier->init_clock)) {
            report(warp, instruction, "proxy", copy.lane,
                   "the mbarrier initialised at " + where(warp, barrier->init_pc) +
                       " has no fence.mbarrier_init or fence.proxy.async after it");
        }
        warp.block->shadow.start_async_write(warp, instruction, copy.shared, copy.bytes);
    }
    warp.block->async.copies.push_back(std::move(copy));
}

void issue_store(Warp& warp, const Instruction& instruction, BulkCopy copy, const TensorMap& map) {
    if (!touch_device_memory(warp, instruction, copy, map, AccessKind::kWrite)) {
        return;
    }
    copy.clock = ++warp.block->async.clock;
    copy.group = warp.bulk_groups[copy.lane];
    if (warp.launch->settings.check) {
        const uint32_t agent = warp.launch->warps_a_block + kStoreAgent + warp.index;
        warp.block->shadow.async_read(warp, instruction, copy.shared, copy.bytes,
                                      {agent, copy.clock});
        for (uint32_t at = 0; at < copy.bytes; at += 16) {
            if (!shared_is_written(*warp.block, copy.shared + at, 16)) {
                report(
                    warp, instruction, "uninitialised", copy.lane,
                    "read of shared+" + std::to_string(copy.shared + at) + ", which nobody wrote");
                break;
            }
        }
    }
    warp.block->async.copies.push_back(std::move(copy));
}

// Loads: op 0 shared, 1 global or map, 2 barrier, [3 bytes]. Stores: op 0 shared, 1 global or map,
// [3 bytes].
void run_bulk(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const auto kind = static_cast<BulkCopy::Kind>(instruction.mode);
    const bool is_tensor =
        kind == BulkCopy::Kind::kTensorLoad || kind == BulkCopy::Kind::kTensorStore;
    const bool is_load = kind == BulkCopy::Kind::kLoad || kind == BulkCopy::Kind::kTensorLoad;
    for_each_lane(mask, [&](int lane) {
        BulkCopy copy;
        TensorMap map;
        copy.kind = kind;
        copy.instruction = &instruction;
        copy.warp = warp.index;
        copy.lane = lane;
        copy.shared = static_cast<uint32_t>(place(warp, instruction, 0, lane));
        copy.global = place(warp, instruction, 1, lane);
        copy.barrier = static_cast<uint32_t>(place(warp, instruction, 2, lane));
        if (is_tensor) {
            for (int i = 0; i < instruction.vector; i++) {
                copy.coordinates[i] = reg<int32_t>(warp, instruction.list[3 + i])[lane];
            }
            if (!read_map(warp, instruction, &copy, &map)) {
                return;
            }
        } else {
            copy.bytes = static_cast<uint32_t>(operand(warp, instruction, 3, lane));
        }
        if (!check_shared(warp, instruction, copy, is_tensor ? 128 : 16)) {
            return;
        }
        (is_load ? issue_load : issue_store)(warp, instruction, std::move(copy), map);
    });
    warp.launch->progress += 1;
}

void run_commit_bulk(Warp& warp, const Instruction&, uint32_t mask) {
    for_each_lane(mask, [&](int lane) { warp.bulk_groups[lane] += 1; });
}

void run_wait_bulk(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for_each_lane(mask, [&](int lane) {
        wait_for_stores(warp, lane, static_cast<uint32_t>(instruction.offset),
                        instruction.mode != 0);
    });
}

void run_async_arrive(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for_each_lane(mask, [&](int lane) {
        BulkCopy copy;
        copy.kind = BulkCopy::Kind::kAsyncArrive;
        copy.instruction = &instruction;
        copy.warp = warp.index;
        copy.lane = lane;
        copy.serial = warp.launch->executed;
        copy.barrier = static_cast<uint32_t>(operand(warp, instruction, 0, lane) +
                                             static_cast<uint64_t>(instruction.offset));
        SharedBarrier* barrier = find_barrier(warp, instruction, copy.barrier, lane);
        if (barrier != nullptr) {
            barrier->pending += instruction.mode == 0 ? 1 : 0;
            warp.block->async.copies.push_back(std::move(copy));
        }
    });
}

void run_nothing(Warp&, const Instruction&, uint32_t) {}

// An address, its offset to the list.
void take_place(Decoding& d, std::vector<uint32_t>* list) {
    d.address();
    list->push_back(static_cast<uint32_t>(d.out().offset));
    d.out().offset = 0;
}

void absent_place(Decoding& d, std::vector<uint32_t>* list) {
    d.out().op[d.out().n_ops] = d.kernel().constant(32, 0);
    d.out().width[d.out().n_ops] = 32;
    d.out().n_ops += 1;
    list->push_back(0);
}

// The global side, and its coordinates: "[map, {x, y}]".
void take_global(Decoding& d, std::vector<uint32_t>* list, std::vector<uint32_t>* coordinates) {
    if (d.out().vector == 0) {
        take_place(d, list);
        return;
    }
    list->push_back(static_cast<uint32_t>(d.tensor_address(coordinates)));
    if (coordinates->size() != d.out().vector) {
        d.fail("the number of coordinates is not that of dimensions");
    }
}

void decode_transfer(Decoding& d, bool is_tensor) {
    Instruction& out = d.out();
    const int rank = is_tensor ? d.take_one_of({"1d", "2d", "3d", "4d", "5d"}) + 1 : 0;
    d.ignore({"tile"});
    out.vector = static_cast<uint8_t>(rank);
    const std::string_view to = d.take_next();
    const std::string_view from = d.take_next();
    const bool is_load = (to == "shared::cluster" || to == "shared::cta") && from == "global";
    const bool is_store = to == "global" && from == "shared::cta";
    if ((is_tensor && rank == 0) || (!is_load && !is_store) ||
        !d.take(is_load ? "mbarrier::complete_tx::bytes" : "bulk_group")) {
        d.fail("only copies between global and the block's own shared memory are supported");
    }
    const bool has_policy = d.take("L2::cache_hint");
    using Kind = BulkCopy::Kind;
    out.mode = static_cast<uint8_t>(is_load ? (is_tensor ? Kind::kTensorLoad : Kind::kLoad)
                                            : (is_tensor ? Kind::kTensorStore : Kind::kStore));
    std::vector<uint32_t> list;
    std::vector<uint32_t> coordinates;
    if (is_load) {
        take_place(d, &list);
        take_global(d, &list, &coordinates);
    } else {
        take_global(d, &list, &coordinates);
        take_place(d, &list);
        std::swap(list[0], list[1]);
        std::swap(out.op[0], out.op[1]);
        std::swap(out.width[0], out.width[1]);
    }
    const PtxOperand* bytes = is_tensor ? nullptr : &d.peek();
    if (bytes != nullptr) {
        d.skip();
    }
    is_load ? take_place(d, &list) : absent_place(d, &list);
    if (bytes != nullptr) {
        int width = 0;
        out.op[3] = d.place_of(*bytes, Type::kU32, &width);
        out.width[3] = static_cast<uint8_t>(width);
        out.n_ops = 4;
    }
    if (has_policy) {
        d.skip();  // How long the L2 cache should keep it.
    }
    list.insert(list.end(), coordinates.begin(), coordinates.end());
    d.keep_list(std::move(list));
    out.run = run_bulk;
}

}  // namespace

void decode_bulk(Decoding& d) {
    Instruction& out = d.out();
    d.kernel().kernel().has_async = true;
    if (d.take("commit_group")) {
        out.run = run_commit_bulk;
    } else if (d.take("wait_group")) {
        out.mode = d.take("read");
        out.offset = static_cast<int64_t>(d.immediate());
        out.run = run_wait_bulk;
    } else if (d.take("prefetch")) {
        d.ignore(
            {"tensor", "1d", "2d", "3d", "4d", "5d", "L2", "global", "tile", "L2::cache_hint"});
        while (d.operands_left() > 0) {
            d.skip();
        }
        out.run = run_nothing;
    } else {
        decode_transfer(d, d.take("tensor"));
    }
}

void decode_async_arrive(Decoding& d) {
    d.kernel().kernel().has_async = true;
    d.take("arrive");
    d.out().mode = d.take("noinc");
    d.ignore({"shared", "shared::cta"});
    if (d.need_type() != Type::kB64) {
        d.fail("only .b64 is supported");
    }
    d.address();
    d.out().run = run_async_arrive;
}

}  // namespace virtual_gpu
