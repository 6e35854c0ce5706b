// mov, cvta, isspacep.
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

void move_predicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
    set_predicate(warp, instruction.op[0], mask, predicate(warp, instruction.op[1]));
}

template <class T>
constexpr Handler kMove = unary<[](T a) { return a; }, T, T>;

Handler move_of_width(int width) {
    switch (width) {
        case 1: return move_predicate;
        case 16: return kMove<uint16_t>;
        case 32: return kMove<uint32_t>;
        case 64: return kMove<uint64_t>;
        default: return nullptr;
    }
}

// {a, b, ...} into one register: a is the lowest. 'bytes' holds the bits of one part.
void pack(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const int bits = instruction.bytes;
    const uint64_t ones = (uint64_t{1} << bits) - 1;
    for_each_lane(mask, [&](int lane) {
        uint64_t whole = 0;
        for (int i = 1; i < instruction.n_ops; i++) {
            whole |= (operand(warp, instruction, i, lane) & ones) << ((i - 1) * bits);
        }
        write_lane(warp, instruction.op[0], instruction.width[0], lane, whole);
    });
}

void unpack(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const int bits = instruction.bytes;
    const uint64_t ones = (uint64_t{1} << bits) - 1;
    const int last = instruction.n_ops - 1;
    for_each_lane(mask, [&](int lane) {
        const uint64_t whole = operand(warp, instruction, last, lane);
        for (int i = 0; i < last; i++) {
            write_lane(warp, instruction.op[i], instruction.width[i], lane,
                       whole >> (i * bits) & ones);
        }
    });
}

// %clock and its like: a count of instructions that has run forward since the last look. There is
// no time on this device, and the same program sees the same values in every run.
template <class T>
void run_clock(Warp& warp, const Instruction& instruction, uint32_t mask) {
    T* out = reg<T>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { out[lane] = static_cast<T>(warp.launch->executed); });
}

bool is_clock(const PtxOperand& operand) {
    return operand.kind == OperandKind::kSpecial &&
           (operand.name == "%clock" || operand.name == "%clock64" || operand.name == "%clock_hi" ||
            operand.name == "%globaltimer" || operand.name == "%globaltimer_lo");
}

void decode_mov(Decoding& d) {
    const Type type = d.need_type();
    if (is_clock(d.peek(1))) {
        d.destination(type);
        d.skip();
        d.out().run = type_bits(type) == 64 ? run_clock<uint64_t> : run_clock<uint32_t>;
        return;
    }
    const int bits = type_bits(type);
    const auto part_type = [&](size_t parts) {
        const int part = bits / static_cast<int>(parts);
        d.out().bytes = static_cast<uint8_t>(part);
        return part == 8 ? Type::kB8 : part == 16 ? Type::kB16 : Type::kB32;
    };
    if (d.peek(1).kind == OperandKind::kVector) {
        d.destination(type);
        d.vector(part_type(d.peek().elements.size()));
        d.out().run = pack;
        return;
    }
    if (d.peek().kind == OperandKind::kVector) {
        d.vector(part_type(d.peek().elements.size()));
        d.value(type);
        d.out().run = unpack;
        return;
    }
    d.destination(type);
    if (type == Type::kPredicate) {
        d.predicate_value();
    } else {
        d.value(type);
    }
    const int width = d.out().width[0];
    if (width != d.out().width[1]) {
        d.fail("source and destination differ in width");
    }
    d.out().run = move_of_width(width);
}

// The address of a parameter is generic only behind its window; those of global memory are both.
void decode_cvta(Decoding& d) {
    const bool to_space = d.take("to");
    const int space = d.take_one_of({"global", "const", "shared", "local", "param"});
    d.ignore({"shared::cta"});
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    static constexpr uint64_t kWindow[] = {0, 0, kSharedWindow, kLocalWindow, kParamWindow};
    const uint64_t window = space < 0 ? kSharedWindow : kWindow[space];
    if (type_bits(type) != 64 || d.out().width[1] != 64) {
        return;
    }
    if (window == 0) {
        d.out().run = kMove<uint64_t>;
        return;
    }
    // The window is one bit pattern above every offset, so adding is setting it.
    d.out().op[2] = d.kernel().constant(64, to_space ? 0 - window : window);
    d.out().n_ops = 3;
    d.out().run = binary<[](uint64_t a, uint64_t b) { return a + b; }, uint64_t, uint64_t>;
}

void run_isspacep(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint64_t* a = reg<uint64_t>(warp, instruction.op[1]);
    uint32_t hits = 0;
    for_each_lane(mask, [&](int lane) {
        hits |= static_cast<uint32_t>(a[lane] / kSharedWindow == instruction.mode) << lane;
    });
    set_predicate(warp, instruction.op[0], mask, hits);
}

void decode_isspacep(Decoding& d) {
    const int space = d.take_one_of({"global", "shared", "local", "param", "shared::cta"});
    if (space < 0) {
        d.fail("it names no space");
    }
    d.out().mode = static_cast<uint8_t>(space == 4 ? 1 : space);
    d.destination(Type::kPredicate);
    d.value(Type::kB64);
    d.out().run = run_isspacep;
}

constexpr Opcode kOpcodes[] = {
    {"mov", decode_mov}, {"cvta", decode_cvta}, {"isspacep", decode_isspacep}};

}  // namespace

std::span<const Opcode> move_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
