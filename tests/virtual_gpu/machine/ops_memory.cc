// ld, st and the hints that move nothing.
#include <cstring>

#include "machine/access.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/sync.h"

namespace virtual_gpu {
namespace {

// Elements of type E in memory, registers of type R: each lane's vector is spread over registers.
template <class E, class R>
void load(Warp& warp, const Instruction& instruction, uint32_t mask) {
    Access access;
    access.mask = mask;
    access.bytes = instruction.bytes * instruction.vector;
    read_addresses(warp, instruction, instruction.vector, &access);
    resolve(warp, instruction, instruction.space, &access);
    if (instruction.is_strong) {
        acquire(warp, instruction, access);
    }
    const int n = instruction.vector;
    if (access.is_row) {
        const E* row = reinterpret_cast<const E*>(access.host[0]);
        for (int i = 0; i < n; i++) {
            R* out = reg<R>(warp, instruction.op[i]);
#pragma GCC ivdep
            for (int lane = 0; lane < 32; lane++) {
                out[lane] = static_cast<R>(row[lane * n + i]);
            }
        }
        return;
    }
    for (int i = 0; i < n; i++) {
        R* out = reg<R>(warp, instruction.op[i]);
        for_each_lane(access.mask, [&](int lane) {
            E value;
            std::memcpy(&value, access.host[lane] + i * sizeof(E), sizeof(E));
            out[lane] = static_cast<R>(value);
        });
    }
}

template <class E, class R>
void store(Warp& warp, const Instruction& instruction, uint32_t mask) {
    Access access;
    access.mask = mask;
    access.bytes = instruction.bytes * instruction.vector;
    access.kind = instruction.is_strong ? AccessKind::kAtomic : AccessKind::kWrite;
    read_addresses(warp, instruction, 0, &access);
    // A strong store is no read; only its meeting with other strong accesses is allowed.
    access.kind = AccessKind::kWrite;
    resolve(warp, instruction, instruction.space, &access);
    if (instruction.is_strong) {
        release(warp, instruction, access);
    }
    const int n = instruction.vector;
    for (int i = 0; i < n; i++) {
        const R* in = reg<R>(warp, instruction.op[1 + i]);
        for_each_lane(access.mask, [&](int lane) {
            const E value = static_cast<E>(in[lane]);
            std::memcpy(access.host[lane] + i * sizeof(E), &value, sizeof(E));
        });
    }
}

// ld.param: the same for all lanes, and always inside, as the decoder has checked.
void load_param(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint8_t* from = warp.launch->request.parameters.data() + instruction.offset;
    for (int i = 0; i < instruction.vector; i++) {
        uint64_t bits = 0;
        std::memcpy(&bits, from + i * instruction.bytes, instruction.bytes);
        if (type_is_signed(instruction.type)) {
            const int shift = 64 - instruction.bytes * 8;
            bits = static_cast<uint64_t>(static_cast<int64_t>(bits << shift) >> shift);
        }
        for_each_lane(mask, [&](int lane) {
            write_lane(warp, instruction.op[i], instruction.width[i], lane, bits);
        });
    }
}

template <class E>
Handler load_into(int width) {
    switch (width) {
        case 16: return sizeof(E) <= 2 ? load<E, uint16_t> : nullptr;
        case 32: return sizeof(E) <= 4 ? load<E, uint32_t> : nullptr;
        case 64: return load<E, uint64_t>;
        default: return nullptr;
    }
}

Handler load_handler(Type type, int width) {
    const bool is_signed = type_is_signed(type);
    switch (type_bits(type)) {
        case 8: return is_signed ? load_into<int8_t>(width) : load_into<uint8_t>(width);
        case 16: return is_signed ? load_into<int16_t>(width) : load_into<uint16_t>(width);
        case 32: return is_signed ? load_into<int32_t>(width) : load_into<uint32_t>(width);
        case 64: return load_into<uint64_t>(width);
        default: return nullptr;
    }
}

template <class E>
Handler store_from(int width) {
    switch (width) {
        case 16: return sizeof(E) <= 2 ? store<E, uint16_t> : nullptr;
        case 32: return sizeof(E) <= 4 ? store<E, uint32_t> : nullptr;
        case 64: return store<E, uint64_t>;
        default: return nullptr;
    }
}

Handler store_handler(Type type, int width) {
    switch (type_bits(type)) {
        case 8: return store_from<uint8_t>(width);
        case 16: return store_from<uint16_t>(width);
        case 32: return store_from<uint32_t>(width);
        case 64: return store_from<uint64_t>(width);
        default: return nullptr;
    }
}

// Suffixes that ld and st share. What speaks of caches only is taken and forgotten.
void take_memory_suffixes(Decoding& d) {
    static constexpr Space kSpaces[] = {Space::kGlobal, Space::kShared, Space::kShared,
                                        Space::kLocal,  Space::kParam,  Space::kConst};
    const int order = d.take_one_of({"volatile", "relaxed", "acquire", "release", "weak"});
    d.out().is_strong = order >= 0 && order < 4;
    d.out().mode = order == 2 || order == 3 ? kOrdered : 0;
    d.ignore({"cta", "cluster", "gpu", "sys"});
    const int space = d.take_one_of({"global", "shared", "shared::cta", "local", "param", "const"});
    d.out().space = space < 0 ? Space::kGeneric : kSpaces[space];
    d.ignore({"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "L1::evict_normal",
              "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate",
              "L2::evict_normal", "L2::evict_first", "L2::evict_last", "L2::64B", "L2::128B",
              "L2::256B"});
    const bool has_policy = d.take("L2::cache_hint");
    const int vector = d.take_one_of({"v2", "v4", "v8"});
    d.out().vector = static_cast<uint8_t>(vector < 0 ? 1 : 2 << vector);
    d.out().type = d.need_type();
    d.out().bytes = static_cast<uint8_t>(type_bits(d.out().type) / 8);
    if (has_policy) {
        d.fail("cache policies are not supported");
    }
    if (d.out().vector * d.out().bytes > 16) {
        d.fail("vectors of more than 16 bytes are not supported");
    }
}

void check_widths(Decoding& d, int first, int n) {
    for (int i = 1; i < n; i++) {
        if (d.out().width[first + i] != d.out().width[first]) {
            d.fail("registers of different widths in one vector");
        }
    }
}

// What calls pass on lies in local memory.
void settle_param(Decoding& d, size_t ahead) {
    const PtxVariable* variable = d.peek(ahead).variable;
    if (d.out().space == Space::kParam && variable != nullptr && variable->space != Space::kParam) {
        d.out().space = Space::kLocal;
    }
}

void decode_ld(Decoding& d) {
    take_memory_suffixes(d);
    Instruction& out = d.out();
    settle_param(d, 1);
    if (d.vector(out.type) != out.vector) {
        d.fail("the vector has another length");
    }
    check_widths(d, 0, out.vector);
    if (out.space == Space::kParam && d.peek().variable != nullptr) {
        const PtxOperand& at = d.peek();
        out.offset = static_cast<int64_t>(d.kernel().variable_place(*at.variable)) + at.offset;
        d.skip();
        if (at.offset < 0 || at.offset + uint64_t{out.vector} * out.bytes > at.variable->bytes) {
            d.fail("it reads beyond its parameter");
        }
        out.run = load_param;
        return;
    }
    d.address();
    out.run = load_handler(out.type, out.width[0]);
}

void decode_st(Decoding& d) {
    take_memory_suffixes(d);
    Instruction& out = d.out();
    settle_param(d, 0);
    d.address();
    if (d.vector(out.type) != out.vector) {
        d.fail("the vector has another length");
    }
    check_widths(d, 1, out.vector);
    out.run = out.space == Space::kParam || out.space == Space::kConst
                  ? nullptr
                  : store_handler(out.type, out.width[1]);
}

void run_nothing(Warp&, const Instruction&, uint32_t) {}

// A prefetch moves nothing that a program could see. Its address is checked all the same by
// nobody: a prefetch of a bad address does no harm on the card either.
void decode_prefetch(Decoding& d) {
    d.ignore({"global", "local", "L1", "L2", "L2::evict_last", "L2::evict_normal"});
    d.address();
    d.out().offset = 0;
    d.out().run = run_nothing;
}

constexpr Opcode kOpcodes[] = {{"ld", decode_ld},
                               {"ldu", decode_ld},
                               {"st", decode_st},
                               {"prefetch", decode_prefetch},
                               {"prefetchu", decode_prefetch}};

}  // namespace

std::span<const Opcode> memory_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
