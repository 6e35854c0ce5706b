#include "nccl/nccl_operation.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "machine/numeric.h"

namespace virtual_nccl {
namespace {

template <class T>
T reduce_values(ncclRedOp_t operation, T a, T b) {
    switch (operation) {
        case ncclProd: return static_cast<T>(a * b);
        case ncclMax: return std::max(a, b);
        case ncclMin: return std::min(a, b);
        default: return static_cast<T>(a + b);
    }
}

// In the order of the ranks, so that every rank gets the same bits.
template <class T, class Sum, Sum (*kWiden)(T), T (*kNarrow)(Sum)>
void reduce_slots(const Segment& segment, int n_ranks, ncclRedOp_t operation, size_t count,
                  uint8_t* out) {
    for (size_t i = 0; i < count; i++) {
        Sum sum{};
        for (int rank = 0; rank < n_ranks; rank++) {
            T value;
            std::memcpy(&value, segment.slot[rank] + i * sizeof(T), sizeof(T));
            sum = rank == 0 ? kWiden(value) : reduce_values<Sum>(operation, sum, kWiden(value));
        }
        if (operation == ncclAvg) {
            sum = static_cast<Sum>(sum / static_cast<Sum>(n_ranks));
        }
        const T result = kNarrow(sum);
        std::memcpy(out + i * sizeof(T), &result, sizeof(T));
    }
}

template <class T>
T same(T value) {
    return value;
}

bool reduce(const Operation& op, size_t count, uint8_t* out) {
    const Segment& segment = op.comm->segment();
    const int n = op.comm->n_ranks;
    const ncclRedOp_t operation = op.reduction;
    using namespace virtual_gpu;
    switch (op.type) {
        case ncclFloat32:
            reduce_slots<float, float, same, same>(segment, n, operation, count, out);
            return true;
        case ncclFloat64:
            reduce_slots<double, double, same, same>(segment, n, operation, count, out);
            return true;
        case ncclBfloat16:
            reduce_slots<uint16_t, float, bf16_to_float, float_to_bf16>(segment, n, operation,
                                                                        count, out);
            return true;
        case ncclFloat16:
            reduce_slots<uint16_t, float, f16_to_float, float_to_f16>(segment, n, operation, count,
                                                                      out);
            return true;
        case ncclInt32:
            reduce_slots<int32_t, int32_t, same, same>(segment, n, operation, count, out);
            return true;
        case ncclUint32:
            reduce_slots<uint32_t, uint32_t, same, same>(segment, n, operation, count, out);
            return true;
        case ncclInt64:
            reduce_slots<int64_t, int64_t, same, same>(segment, n, operation, count, out);
            return true;
        case ncclUint64:
            reduce_slots<uint64_t, uint64_t, same, same>(segment, n, operation, count, out);
            return true;
        default: return false;
    }
}

// One round of a collective: which elements, and whose block (for reduce-scatter).
struct Piece {
    size_t first = 0;
    size_t count = 0;
    size_t block = 0;
};

size_t a_round(const Operation& op) { return kSlotBytes / bytes_of(op.type); }

uint64_t n_rounds(const Operation& op) {
    const uint64_t pieces = (op.count + a_round(op) - 1) / a_round(op);
    return op.kind == Kind::kReduceScatter ? pieces * static_cast<uint64_t>(op.comm->n_ranks)
                                           : pieces;
}

Piece piece_of(const Operation& op) {
    const uint64_t pieces = (op.count + a_round(op) - 1) / a_round(op);
    Piece piece;
    piece.block = op.done / pieces;
    piece.first = op.done % pieces * a_round(op);
    piece.count = std::min(a_round(op), op.count - piece.first);
    return piece;
}

bool all_reached(const std::atomic<uint64_t>* counts, int n, uint64_t wanted) {
    return std::all_of(counts, counts + n,
                       [wanted](const std::atomic<uint64_t>& count) { return count >= wanted; });
}

// Ends the operation without its result: the communicator is of no more use.
bool give_up(Operation* op, ncclResult_t error, const std::string& why) {
    op->comm->fail(error, why);
    op->is_done = true;
    return true;
}

bool put_piece(Operation* op, const Piece& piece, uint64_t round) {
    Segment& segment = op->comm->segment();
    const int rank = op->comm->rank;
    const size_t size = bytes_of(op->type);
    const bool has_part = op->kind != Kind::kBroadcast || rank == op->peer;
    if (has_part) {
        const size_t offset =
            op->kind == Kind::kReduceScatter ? piece.block * op->count + piece.first : piece.first;
        const uint8_t* from = device_bytes(op->from + offset * size, piece.count * size, false);
        if (from == nullptr) {
            return give_up(op, ncclInvalidArgument, "the source is no device memory");
        }
        std::memcpy(segment.slot[rank], from, piece.count * size);
    }
    segment.header[rank] = {static_cast<uint64_t>(op->kind), op->count,
                            static_cast<uint64_t>(op->type), static_cast<uint64_t>(op->reduction),
                            static_cast<uint64_t>(op->peer)};
    segment.put[rank] = round + 1;
    op->has_put = true;
    return false;
}

bool take_piece(Operation* op, const Piece& piece) {
    Segment& segment = op->comm->segment();
    const int rank = op->comm->rank;
    const size_t size = bytes_of(op->type);
    const size_t bytes = piece.count * size;
    for (int other = 0; other < op->comm->n_ranks; other++) {
        if (!(segment.header[other] == segment.header[rank])) {
            return give_up(op, ncclInvalidUsage,
                           "rank " + std::to_string(other) + " calls another collective");
        }
    }
    const int n_parts = op->kind == Kind::kAllGather ? op->comm->n_ranks : 1;
    const bool has_part =
        (op->kind != Kind::kReduce || rank == op->peer) &&
        (op->kind != Kind::kReduceScatter || static_cast<size_t>(rank) == piece.block);
    for (int part = 0; has_part && part < n_parts; part++) {
        const size_t at = static_cast<size_t>(part) * op->count + piece.first;
        uint8_t* to = device_bytes(op->to + at * size, bytes, true);
        if (to == nullptr) {
            return give_up(op, ncclInvalidArgument, "the target is no device memory");
        }
        if (op->kind == Kind::kAllGather || op->kind == Kind::kBroadcast) {
            const int source = op->kind == Kind::kAllGather ? part : op->peer;
            std::memcpy(to, segment.slot[source], bytes);
        } else if (!reduce(*op, piece.count, to)) {
            return give_up(op, ncclInvalidArgument, "the stand-in cannot reduce this type");
        }
    }
    return false;
}

bool advance_collective(Operation* op) {
    Segment& segment = op->comm->segment();
    const uint64_t rounds = n_rounds(*op);
    if (!op->has_begun) {
        op->has_begun = true;
        op->round = op->comm->rounds;
        op->comm->rounds += rounds;
    }
    while (op->done < rounds) {
        const uint64_t round = op->round + op->done;
        const Piece piece = piece_of(*op);
        if (!op->has_put) {
            if (!all_reached(segment.taken, op->comm->n_ranks, round)) {
                return false;
            }
            if (put_piece(op, piece, round)) {
                return true;
            }
        }
        if (!all_reached(segment.put, op->comm->n_ranks, round + 1)) {
            return false;
        }
        if (take_piece(op, piece)) {
            return true;
        }
        segment.taken[op->comm->rank] = round + 1;
        op->has_put = false;
        op->done += 1;
    }
    return true;
}

bool advance_message(Operation* op) {
    Segment& segment = op->comm->segment();
    const bool is_send = op->kind == Kind::kSend;
    const int from = is_send ? op->comm->rank : op->peer;
    const int to = is_send ? op->peer : op->comm->rank;
    uint64_t& number = is_send ? op->comm->messages_out[op->peer] : op->comm->messages_in[op->peer];
    const size_t bytes = op->count * bytes_of(op->type);
    for (; op->done * kBoxBytes < bytes; op->done++, number++) {
        const size_t first = op->done * kBoxBytes;
        const size_t part = std::min(kBoxBytes, bytes - first);
        const bool is_ready =
            is_send ? segment.received[from][to] == number : segment.sent[from][to] > number;
        if (!is_ready) {
            return false;
        }
        uint8_t* at = device_bytes((is_send ? op->from : op->to) + first, part, !is_send);
        if (at == nullptr) {
            return give_up(op, ncclInvalidArgument, "the message is no device memory");
        }
        uint8_t* box = segment.box[from][to];
        std::memcpy(is_send ? box : at, is_send ? at : box, part);
        (is_send ? segment.sent : segment.received)[from][to] = number + 1;
    }
    return true;
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
    static constexpr size_t kBytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
    return kBytes[type];
}

bool advance(Operation* op) {
    if (!op->has_begun) {
        op->comm->operations += 1;
        op->hangs =
            settings().hang_rank == op->comm->rank && op->comm->operations >= settings().hang_at;
    }
    if (op->comm->is_aborted || op->comm->error != ncclSuccess) {
        op->is_done = true;
        return true;
    }
    if (op->hangs) {
        op->has_begun = true;
        return false;
    }
    const bool is_message = op->kind == Kind::kSend || op->kind == Kind::kReceive;
    if (is_message) {
        op->has_begun = true;
    }
    op->is_done = is_message ? advance_message(op) : advance_collective(op);
    return op->is_done;
}

bool Work::poll() {
    // Collectives of one communicator go in order, and so do messages of one pair.
    std::vector<std::pair<Comm*, int>> busy;
    bool all_done = true;
    for (Operation& op : operations) {
        const int lane = op.kind == Kind::kSend      ? op.peer
                         : op.kind == Kind::kReceive ? kMaxRanks + op.peer
                                                     : -1;
        const std::pair<Comm*, int> key = {op.comm, lane};
        if (op.is_done || std::find(busy.begin(), busy.end(), key) != busy.end()) {
            all_done = all_done && op.is_done;
            continue;
        }
        if (!advance(&op)) {
            busy.push_back(key);
            all_done = false;
        }
    }
    if (all_done) {
        for (Operation& op : operations) {  // A graph may run it again.
            op.has_begun = op.is_done = op.has_put = op.hangs = false;
            op.done = 0;
        }
    }
    return all_done;
}

}  // namespace virtual_nccl
