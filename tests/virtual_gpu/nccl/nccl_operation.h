// Collectives and messages as steps that never block: a stream asks again and again until one is
// done, so that a thread that drives several ranks can turn to the others meanwhile.
#pragma once

#include <vector>

#include "nccl/nccl_comm.h"

namespace virtual_nccl {

enum class Kind : uint8_t {
    kAllReduce = 1,
    kReduce,
    kReduceScatter,
    kAllGather,
    kBroadcast,
    kSend,
    kReceive
};

struct Operation {
    Comm* comm = nullptr;
    Kind kind = Kind::kAllReduce;
    uint64_t from = 0;  // Device addresses.
    uint64_t to = 0;
    size_t count = 0;  // Elements, as the caller gave them.
    ncclDataType_t type = ncclInt8;
    ncclRedOp_t reduction = ncclSum;
    int peer = 0;  // Root, or the other side of a message.

    // How far it is.
    bool has_begun = false;
    bool is_done = false;
    bool has_put = false;
    bool hangs = false;
    uint64_t round = 0;  // Of the communicator, when this began.
    uint64_t done = 0;   // Rounds, or pieces of a message.
};

// Takes what steps can be taken. True if the operation is over.
bool advance(Operation* operation);

// What one stream does at once: the operations of a group, or a single one.
struct Work {
    std::vector<Operation> operations;
    // 0: all done. Otherwise ask again.
    bool poll();
};

size_t bytes_of(ncclDataType_t type);

// A piece of the device's memory where the host finds it; nullptr if it is not there.
uint8_t* device_bytes(uint64_t address, size_t bytes, bool is_written);

}  // namespace virtual_nccl
