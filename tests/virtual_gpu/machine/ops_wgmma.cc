// wgmma: matrix products of a warpgroup, with operands in shared memory.
//
// Each warp of the four makes its own 16 rows, so no warp has to wait for another. A product is
// carried out at its wgmma.wait_group and not a moment before; until then its registers belong to
// it, and the shared memory it reads must not change.
#include <cstring>

#include "machine/access.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/matrix_elements.h"
#include "machine/wgmma.h"
#include "machine/wgmma_operand.h"

namespace virtual_gpu {
namespace {

constexpr uint8_t kRegistersA = 1;
constexpr uint8_t kTransposedA = 2;
constexpr uint8_t kTransposedB = 4;
constexpr uint8_t kNegativeA = 8;
constexpr uint8_t kNegativeB = 16;
constexpr uint8_t kNegatedScale = 32;
constexpr uint8_t kInFlight = 1;
constexpr uint8_t kInUse = 2;

// One warp's part: rows of A, all of B, and the sums.
template <class Sum>
struct Tiles {
    alignas(32) Sum a[16][64];
    alignas(32) Sum b[64][256];
    alignas(32) Sum c[16][256];
};

template <class Sum>
Tiles<Sum>& tiles() {
    static thread_local Tiles<Sum> all;
    return all;
}

// Calls visit(piece's address, its row or column block, its k or k block) for all pieces of an
// operand with 'rows' rows from 'first' on.
template <bool kCanTranspose, class Visit>
void for_each_piece(const WgmmaOperand& operand, uint32_t first, uint32_t rows, uint32_t k,
                    Visit visit) {
    if (kCanTranspose && operand.is_transposed()) {
        for (uint32_t at = 0; at < k; at++) {
            for (uint32_t piece = 0; piece < rows / 8; piece++) {
                visit(operand.column_piece(first / 8 + piece, at), piece, at);
            }
        }
        return;
    }
    for (uint32_t row = 0; row < rows; row++) {
        for (uint32_t piece = 0; piece < 2; piece++) {
            visit(operand.row_piece(first + row, piece), row, piece);
        }
    }
}

template <class Element, int K, class Sum>
void read_a_from_registers(Warp& warp, const uint32_t* places, Tiles<Sum>& t) {
    constexpr int kPart = 16 / sizeof(typename Element::Bits);
    for (int r = 0; r < 4; r++) {
        const uint32_t* from = reg<uint32_t>(warp, places[r]);
        for (int g = 0; g < 8; g++) {
            widen_piece<Element>(from + 4 * g, &t.a[g + 8 * (r % 2)][kPart * (r / 2)]);
        }
    }
}

template <class Element, int K, class Sum>
void read_from_shared(Warp& warp, const PendingMatrix& work, Tiles<Sum>& t) {
    constexpr int kPart = 16 / sizeof(typename Element::Bits);
    constexpr bool kCanTranspose = sizeof(typename Element::Bits) == 2;
    const Instruction& instruction = *work.instruction;
    const uint8_t* const shared = warp.block->shared.data();
    const uint32_t n = uint32_t{instruction.vector} * 8;
    Sum values[kPart];
    if ((instruction.mode & kRegistersA) == 0) {
        const WgmmaOperand a(work.a, (instruction.mode & kTransposedA) != 0);
        for_each_piece<kCanTranspose>(
            a, warp.index % 4 * 16, 16, K, [&](uint32_t at, uint32_t i, uint32_t j) {
                widen_piece<Element>(shared + at, values);
                for (int x = 0; x < kPart; x++) {
                    (kCanTranspose && a.is_transposed() ? t.a[8 * i + x][j]
                                                        : t.a[i][kPart * j + x]) = values[x];
                }
            });
    }
    const WgmmaOperand b(work.b, (instruction.mode & kTransposedB) != 0);
    for_each_piece<kCanTranspose>(b, 0, n, K, [&](uint32_t at, uint32_t i, uint32_t j) {
        widen_piece<Element>(shared + at, values);
        for (int x = 0; x < kPart; x++) {
            (kCanTranspose && b.is_transposed() ? t.b[j][8 * i + x] : t.b[kPart * j + x][i]) =
                values[x];
        }
    });
}

// D's register 4 j + i holds row g + 8 (i / 2), column 8 j + 2 t + i % 2.
template <class Sum, class Move>
void for_each_sum(Warp& warp, const Instruction& instruction, Move move) {
    for (uint32_t j = 0; j < instruction.vector; j++) {
        for (uint32_t i = 0; i < 4; i++) {
            Sum* lanes = reg<Sum>(warp, instruction.list[4 * j + i]);
            for (uint32_t lane = 0; lane < 32; lane++) {
                move(lanes[lane], lane / 4 + 8 * (i / 2), 8 * j + 2 * (lane % 4) + i % 2);
            }
        }
    }
}

// Hopper adds FP8 products with 14 bits or so of the sum's mantissa and cuts off the rest
// (DeepSeek-V3 technical report, section 3.3.2), so the machine does.
float cut_fp8_sum(float sum) { return bits_to_float(float_to_bits(sum) & 0xfffffc00); }
int32_t cut_fp8_sum(int32_t sum) { return sum; }

template <class Element, int K, class Sum>
void carry_out_product(Warp& warp, const PendingMatrix& work) {
    const Instruction& instruction = *work.instruction;
    const uint32_t n = uint32_t{instruction.vector} * 8;
    Tiles<Sum>& t = tiles<Sum>();
    if ((instruction.mode & kRegistersA) != 0) {
        read_a_from_registers<Element, K>(warp, instruction.list + 4 * instruction.vector, t);
    }
    read_from_shared<Element, K>(warp, work, t);
    const bool is_negative =
        ((instruction.mode & kNegativeA) != 0) != ((instruction.mode & kNegativeB) != 0);
    for_each_sum<Sum>(warp, instruction, [&](Sum& sum, uint32_t row, uint32_t column) {
        t.c[row][column] = work.accumulates ? sum : 0;
    });
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < K; k++) {
            const Sum a = is_negative ? -t.a[row][k] : t.a[row][k];
            for (uint32_t column = 0; column < n; column++) {
                t.c[row][column] += a * t.b[k][column];
            }
        }
    }
    for_each_sum<Sum>(warp, instruction, [&](Sum& sum, uint32_t row, uint32_t column) {
        sum =
            sizeof(typename Element::Bits) == 1 ? cut_fp8_sum(t.c[row][column]) : t.c[row][column];
    });
    warp.launch->counters[pc_of(warp, instruction)].flops += uint64_t{2} * 16 * n * K;
}

using Product = void (*)(Warp&, const PendingMatrix&);

struct WgmmaShape {
    Type a;
    Type b;
    int k;
    Type sum;
    bool can_transpose;
    Product product;
};

constexpr WgmmaShape kShapes[] = {
    {Type::kBF16, Type::kBF16, 16, Type::kF32, true, carry_out_product<Bf16Element, 16, float>},
    {Type::kF16, Type::kF16, 16, Type::kF32, true, carry_out_product<F16Element, 16, float>},
    {Type::kTF32, Type::kTF32, 8, Type::kF32, false, carry_out_product<Tf32Element, 8, float>},
    {Type::kE4M3, Type::kE4M3, 32, Type::kF32, false, carry_out_product<E4m3Element, 32, float>},
    {Type::kE5M2, Type::kE5M2, 32, Type::kF32, false, carry_out_product<E5m2Element, 32, float>},
    {Type::kS8, Type::kS8, 32, Type::kS32, false, carry_out_product<S8Element, 32, int32_t>},
    {Type::kU8, Type::kU8, 32, Type::kS32, false, carry_out_product<U8Element, 32, int32_t>},
};

// Bounds, writes and order of one operand, at the time of issue.
bool check_operand(Warp& warp, const Instruction& instruction, const WgmmaOperand& operand,
                   uint32_t first, uint32_t rows, AgentTime time) {
    Block& block = *warp.block;
    const auto k = static_cast<uint32_t>(kShapes[instruction.bytes].k);
    const char* problem = nullptr;
    uint32_t where_at = 0;
    for_each_piece<true>(operand, first, rows, k, [&](uint32_t at, uint32_t, uint32_t) {
        if (problem != nullptr) {
            return;
        }
        where_at = at;
        if (at + 16 > block.shared_bytes) {
            problem = "out-of-bounds";
        } else if (warp.launch->settings.check) {
            block.shadow.async_read(warp, instruction, at, 16, time);
            problem = shared_is_written(block, at, 16) ? nullptr : "uninitialised";
        }
    });
    if (problem != nullptr) {
        const bool is_outside = where_at + 16 > block.shared_bytes;
        report(warp, instruction, problem, 0,
               "operand's 16 bytes at shared+" + std::to_string(where_at),
               is_outside ? LaunchError::kIllegalAddress : LaunchError::kNone);
        return !is_outside;
    }
    return true;
}

// How many registers the instruction names: D, then A if it is in registers.
uint32_t n_registers(const Instruction& instruction) {
    return 4u * instruction.vector + ((instruction.mode & kRegistersA) != 0 ? 4 : 0);
}

// Registers that others wrote must be fenced before wgmma touches them.
void check_fence(Warp& warp, const Instruction& instruction) {
    const std::vector<uint8_t>& fenced = warp.matrix.fenced;
    if (fenced.empty()) {
        report(warp, instruction, "wgmma-fence", 0, "there was no wgmma.fence before it");
        return;
    }
    for (uint32_t i = 0; i < n_registers(instruction); i++) {
        const uint32_t place = instruction.list[i];
        if (warp.matrix.in_flight[place / 64] == 0 &&
            std::memcmp(&fenced[place], warp.registers + place, 128) != 0) {
            report(warp, instruction, "wgmma-fence", 0,
                   "its registers were written after the last wgmma.fence");
            return;
        }
    }
}

void mark_registers(Warp& warp, const Instruction& instruction) {
    for (uint32_t i = 0; i < n_registers(instruction); i++) {
        const uint8_t mark = i < 4u * instruction.vector ? kInFlight : kInUse;
        warp.matrix.in_flight[instruction.list[i] / 64] |= mark;
        warp.matrix.in_flight[instruction.list[i] / 64 + 1] |= mark;
    }
}

bool is_whole(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (mask == kAllLanes) {
        return true;
    }
    report(warp, instruction, "divergent-warp-instruction", first_lane(mask),
           "an instruction of the whole warp is executed by a part of it", LaunchError::kFailure);
    return false;
}

// op: A's descriptor, B's, the predicate that says whether D is added to.
void run_wgmma(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!is_whole(warp, instruction, mask)) {
        return;
    }
    warp.matrix.in_flight.resize(warp.launch->kernel->register_bytes / 64 + 2, 0);
    PendingMatrix work;
    work.instruction = &instruction;
    work.a = reg<uint64_t>(warp, instruction.op[0])[0];
    work.b = reg<uint64_t>(warp, instruction.op[1])[0];
    const bool scale = (predicate(warp, instruction.op[2]) & 1) != 0;
    work.accumulates = scale != ((instruction.mode & kNegatedScale) != 0);
    work.group = warp.matrix.committed;
    if (warp.launch->settings.check) {
        check_fence(warp, instruction);
    }
    work.clock = ++warp.block->async.clock;
    const AgentTime time = {warp.launch->warps_a_block + kMatrixAgent + warp.index, work.clock};
    const WgmmaOperand a(work.a, (instruction.mode & kTransposedA) != 0);
    const WgmmaOperand b(work.b, (instruction.mode & kTransposedB) != 0);
    const bool has_a = (instruction.mode & kRegistersA) == 0;
    if ((has_a && !check_operand(warp, instruction, a, warp.index % 4 * 16, 16, time)) ||
        !check_operand(warp, instruction, b, 0, uint32_t{instruction.vector} * 8, time)) {
        return;
    }
    mark_registers(warp, instruction);
    warp.matrix.pending.push_back(work);
}

void run_fence(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (is_whole(warp, instruction, mask) && warp.launch->settings.check) {
        warp.matrix.fenced.assign(warp.registers,
                                  warp.registers + warp.launch->kernel->register_bytes);
    }
}

void run_commit(Warp& warp, const Instruction&, uint32_t) { warp.matrix.committed += 1; }

void run_wait(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!is_whole(warp, instruction, mask)) {
        return;
    }
    MatrixState& state = warp.matrix;
    const auto allowed = static_cast<uint32_t>(instruction.offset);
    size_t done = 0;
    for (; done < state.pending.size(); done++) {
        const PendingMatrix& work = state.pending[done];
        if (work.group >= state.committed || state.committed - work.group <= allowed) {
            break;
        }
        kShapes[work.instruction->bytes].product(warp, work);
        warp.clock.known[warp.launch->warps_a_block + kMatrixAgent + warp.index] = work.clock;
        // What wgmma itself wrote needs no fence before the next one.
        for (uint32_t i = 0; !state.fenced.empty() && i < 4u * work.instruction->vector; i++) {
            const uint32_t place = work.instruction->list[i];
            std::memcpy(&state.fenced[place], warp.registers + place, 128);
        }
    }
    if (done == 0) {
        return;
    }
    state.pending.erase(state.pending.begin(), state.pending.begin() + static_cast<long>(done));
    std::fill(state.in_flight.begin(), state.in_flight.end(), 0);
    for (const PendingMatrix& work : state.pending) {
        mark_registers(warp, *work.instruction);
    }
    warp.launch->progress += 1;
}

bool take_shape(Decoding& d, int k) {
    for (int n = 8; n <= 256; n += 8) {
        if (d.take("m64n" + std::to_string(n) + "k" + std::to_string(k))) {
            d.out().vector = static_cast<uint8_t>(n / 8);
            return true;
        }
    }
    return false;
}

void take_flag(Decoding& d, int64_t wanted, uint8_t bit) {
    if (d.operands_left() > 0 &&
        static_cast<int64_t>(static_cast<int32_t>(d.immediate())) == wanted) {
        d.out().mode |= bit;
    }
}

void decode_product(Decoding& d) {
    Instruction& out = d.out();
    const int k = take_shape(d, 16) ? 16 : take_shape(d, 32) ? 32 : take_shape(d, 8) ? 8 : 0;
    const Type sum = d.need_type();
    const Type a = d.need_type();
    const Type b = d.need_type();
    const WgmmaShape* shape = nullptr;
    for (const WgmmaShape& row : kShapes) {
        if (row.a == a && row.b == b && row.sum == sum && row.k == k) {
            shape = &row;
        }
    }
    if (shape == nullptr) {
        d.fail("this shape is not supported");
    }
    out.bytes = static_cast<uint8_t>(shape - kShapes);
    std::vector<uint32_t> list;
    d.list_vector(&list, 4 * out.vector, Type::kB32);
    if (d.peek().kind == OperandKind::kVector) {
        out.mode |= kRegistersA;
        d.list_vector(&list, 4, Type::kB32);
        out.op[0] = d.kernel().constant(64, 0);
        out.width[0] = 64;
        out.n_ops = 1;
    } else {
        d.value(Type::kB64);
    }
    d.value(Type::kB64);
    d.predicate_value();
    out.mode |= d.is_negated ? kNegatedScale : 0;
    take_flag(d, -1, kNegativeA);
    take_flag(d, -1, kNegativeB);
    if (shape->can_transpose) {
        if ((out.mode & kRegistersA) == 0) {
            take_flag(d, 1, kTransposedA);
        }
        take_flag(d, 1, kTransposedB);
    }
    d.keep_list(std::move(list));
    out.run = run_wgmma;
}

void decode_wgmma(Decoding& d) {
    d.ignore({"sync", "aligned"});
    d.kernel().kernel().has_async = true;
    if (d.take("fence")) {
        d.out().run = run_fence;
    } else if (d.take("commit_group")) {
        d.out().run = run_commit;
    } else if (d.take("wait_group")) {
        d.out().offset = static_cast<int64_t>(d.immediate());
        d.out().run = run_wait;
    } else if (d.take("mma_async")) {
        decode_product(d);
    }
}

constexpr Opcode kOpcodes[] = {{"wgmma", decode_wgmma}};

}  // namespace

std::span<const Opcode> wgmma_opcodes() { return kOpcodes; }

void check_matrix_registers(Warp& warp, const Instruction& instruction) {
    const std::vector<uint8_t>& marks = warp.matrix.in_flight;
    if (instruction.run == run_wgmma) {
        return;
    }
    bool is_wrong = false;
    for (int i = 0; i < instruction.n_ops; i++) {
        const uint8_t mark = marks[instruction.op[i] / 64];
        is_wrong = is_wrong || (mark & kInFlight) != 0 || (i == 0 && (mark & kInUse) != 0);
    }
    for (int i = 0; i < instruction.n_list; i++) {
        is_wrong = is_wrong || (marks[instruction.list[i] / 64] & kInFlight) != 0;
    }
    if (is_wrong) {
        report(warp, instruction, "wgmma-in-flight", 0,
               "it touches a register of the wgmma issued at " +
                   where(warp, pc_of(warp, *warp.matrix.pending[0].instruction)) +
                   ", which is not waited for");
    }
}

void drop_products(Warp& warp) {
    if (!warp.matrix.pending.empty()) {
        report(warp, *warp.matrix.pending[0].instruction, "wgmma-never-waited-for", 0,
               "the warp ends while this wgmma is under way");
        warp.matrix.pending.clear();
    }
}

}  // namespace virtual_gpu
