// atom and red.
#include <cstring>

#include "machine/access.h"
#include "machine/decoder.h"
#include "machine/lanes.h"
#include "machine/numeric.h"
#include "machine/sync.h"

namespace virtual_gpu {
namespace {

enum class Update : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor, kExchange, kCompare, kInc, kDec };

// 'mode': the update, and whether the old value is wanted.
constexpr uint8_t kUpdateMask = 15;
constexpr uint8_t kReturnsOld = 16;

template <class T>
uint64_t update_integer(Update update, T old, T value, T desired) {
    using U = std::make_unsigned_t<T>;
    switch (update) {
        case Update::kAdd: return U(U(old) + U(value));
        case Update::kMin: return U(old < value ? old : value);
        case Update::kMax: return U(old > value ? old : value);
        case Update::kAnd: return U(old & value);
        case Update::kOr: return U(old | value);
        case Update::kXor: return U(old ^ value);
        case Update::kExchange: return U(value);
        case Update::kCompare: return U(old == value ? desired : old);
        case Update::kInc: return U(U(old) >= U(value) ? 0 : old + 1);
        default: return U(old == 0 || U(old) > U(value) ? value : old - 1);
    }
}

uint64_t add_pair(uint64_t old, uint64_t value, Type type) {
    uint32_t sum = 0;
    for (int shift = 0; shift < 32; shift += 16) {
        const auto a = static_cast<uint16_t>(old >> shift);
        const auto b = static_cast<uint16_t>(value >> shift);
        const uint16_t part = type == Type::kF16x2
                                  ? float_to_f16(f16_to_float(a) + f16_to_float(b))
                                  : float_to_bf16(bf16_to_float(a) + bf16_to_float(b));
        sum |= uint32_t{part} << shift;
    }
    return sum;
}

uint64_t updated(Update update, Type type, uint64_t old, uint64_t value, uint64_t desired) {
    switch (type) {
        case Type::kF32:
            return float_to_bits(canonical(bits_to_float(static_cast<uint32_t>(old)) +
                                           bits_to_float(static_cast<uint32_t>(value))));
        case Type::kF64:
            return std::bit_cast<uint64_t>(std::bit_cast<double>(old) +
                                           std::bit_cast<double>(value));
        case Type::kF16x2:
        case Type::kBF16x2: return add_pair(old, value, type);
        case Type::kS32:
            return update_integer<int32_t>(update, int32_t(old), int32_t(value), int32_t(desired));
        case Type::kU32:
        case Type::kB32:
            return update_integer<uint32_t>(update, uint32_t(old), uint32_t(value),
                                            uint32_t(desired));
        case Type::kS64:
            return update_integer<int64_t>(update, int64_t(old), int64_t(value), int64_t(desired));
        case Type::kB16:
            return update_integer<uint16_t>(update, uint16_t(old), uint16_t(value),
                                            uint16_t(desired));
        default: return update_integer<uint64_t>(update, old, value, desired);
    }
}

// Lanes act one after the other, lowest first; the hardware promises no order, and float sums in
// another order would differ, so nothing may depend on it.
void run_atomic(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const bool returns_old = (instruction.mode & kReturnsOld) != 0;
    const auto update = static_cast<Update>(instruction.mode & kUpdateMask);
    const int at = returns_old ? 1 : 0;
    Access access;
    access.mask = mask;
    access.bytes = instruction.bytes;
    access.kind = AccessKind::kAtomic;
    read_addresses(warp, instruction, at, &access);
    const uint64_t progress = warp.launch->progress;
    resolve(warp, instruction, instruction.space, &access);
    warp.launch->progress = progress;
    if (instruction.space != Space::kShared) {
        acquire(warp, instruction, access);
        release(warp, instruction, access);
    }
    for_each_lane(access.mask, [&](int lane) {
        uint64_t old = 0;
        std::memcpy(&old, access.host[lane], instruction.bytes);
        const uint64_t value = operand(warp, instruction, at + 1, lane);
        const uint64_t desired =
            update == Update::kCompare ? operand(warp, instruction, at + 2, lane) : 0;
        const uint64_t result = updated(update, instruction.type, old, value, desired);
        std::memcpy(access.host[lane], &result, instruction.bytes);
        // A compare that fails changes nothing: a warp that only spins makes no progress.
        warp.launch->progress += result != old;
        if (returns_old) {
            write_lane(warp, instruction.op[0], instruction.width[0], lane, old);
        }
    });
}

template <bool kHasResult>
void decode_atomic(Decoding& d) {
    const int order = d.take_one_of({"relaxed", "acquire", "release", "acq_rel"});
    d.ignore({"cta", "cluster", "gpu", "sys", "noftz"});
    const int space = d.take_one_of({"global", "shared", "shared::cta"});
    d.out().space = space == 0 ? Space::kGlobal : space > 0 ? Space::kShared : Space::kGeneric;
    const int update =
        d.take_one_of({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
    if (update < 0) {
        d.fail("it names no operation");
    }
    const Type type = d.need_type();
    Instruction& out = d.out();
    out.type = type;
    out.bytes = static_cast<uint8_t>(type_bits(type) / 8);
    out.mode = static_cast<uint8_t>(update | (order > 0 ? kOrdered : 0));
    out.is_strong = true;
    if (kHasResult) {
        out.mode |= kReturnsOld;
        d.destination(type);
    }
    d.address();
    d.values(static_cast<Update>(update) == Update::kCompare ? 2 : 1, type);
    const bool is_sum = static_cast<Update>(update) == Update::kAdd;
    const bool is_known = type_is_float(type) ? is_sum && type_bits(type) >= 32
                                              : type_bits(type) >= 32 || type == Type::kB16;
    out.run = is_known ? run_atomic : nullptr;
}

constexpr Opcode kOpcodes[] = {{"atom", decode_atomic<true>}, {"red", decode_atomic<false>}};

}  // namespace

std::span<const Opcode> atomic_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
