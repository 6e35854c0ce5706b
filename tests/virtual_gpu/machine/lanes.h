// How handlers walk over the 32 lanes of a warp.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "machine/warp.h"

namespace virtual_gpu {

template <class T>
T* reg(Warp& warp, uint32_t place) {
    return reinterpret_cast<T*>(warp.registers + place);
}

inline uint32_t& predicate(Warp& warp, uint32_t place) { return *reg<uint32_t>(warp, place); }

inline void set_predicate(Warp& warp, uint32_t place, uint32_t mask, uint32_t value) {
    uint32_t& bits = predicate(warp, place);
    bits = (bits & ~mask) | (value & mask);
}

template <class Body>
void for_each_lane(uint32_t mask, Body body) {
    for (; mask != 0; mask &= mask - 1) {
        body(first_lane(mask));
    }
}

// Lane l of the result, if it takes part. Written so that the compiler makes vector code of both
// branches: whole warps are the rule, and a blend is cheaper than a loop over set bits.
template <class T, class Value>
void write_lanes(T* out, uint32_t mask, Value value) {
    if (mask == kAllLanes) {
#pragma GCC ivdep
        for (int lane = 0; lane < 32; lane++) {
            out[lane] = value(lane);
        }
    } else {
#pragma GCC ivdep
        for (int lane = 0; lane < 32; lane++) {
            const T result = value(lane);
            out[lane] = (mask >> lane & 1) != 0 ? result : out[lane];
        }
    }
}

// Handlers for functions of one, two and three registers. F must be total: it is evaluated for
// lanes that do not take part, too.
template <auto F, class D, class A>
void unary(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const A* a = reg<A>(warp, instruction.op[1]);
    write_lanes(reg<D>(warp, instruction.op[0]), mask,
                [=](int lane) { return static_cast<D>(F(a[lane])); });
}

template <auto F, class D, class A, class B = A>
void binary(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const A* a = reg<A>(warp, instruction.op[1]);
    const B* b = reg<B>(warp, instruction.op[2]);
    write_lanes(reg<D>(warp, instruction.op[0]), mask,
                [=](int lane) { return static_cast<D>(F(a[lane], b[lane])); });
}

template <auto F, class D, class A, class B = A, class C = A>
void ternary(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const A* a = reg<A>(warp, instruction.op[1]);
    const B* b = reg<B>(warp, instruction.op[2]);
    const C* c = reg<C>(warp, instruction.op[3]);
    write_lanes(reg<D>(warp, instruction.op[0]), mask,
                [=](int lane) { return static_cast<D>(F(a[lane], b[lane], c[lane])); });
}

// One bit a lane: whether its value is not 0. The values are 0 or -1.
inline uint32_t pack_lanes(const int32_t* values) {
    uint32_t bits = 0;
    for (int part = 0; part < 4; part++) {
        const __m256i eight = _mm256_load_si256(reinterpret_cast<const __m256i*>(values) + part);
        const int packed = _mm256_movemask_ps(_mm256_castsi256_ps(eight));
        bits |= static_cast<uint32_t>(packed) << (part * 8);
    }
    return bits;
}

// A register of any width as 64 bits, zero-extended, and back; for the rare instructions.
inline uint64_t read_lane(Warp& warp, uint32_t place, int width, int lane) {
    switch (width) {
        case 1: return predicate(warp, place) >> lane & 1;
        case 32: return reg<uint32_t>(warp, place)[lane];
        case 64: return reg<uint64_t>(warp, place)[lane];
        default: return reg<uint16_t>(warp, place)[lane];
    }
}

inline void write_lane(Warp& warp, uint32_t place, int width, int lane, uint64_t value) {
    switch (width) {
        case 1: set_predicate(warp, place, 1u << lane, value != 0 ? kAllLanes : 0); break;
        case 32: reg<uint32_t>(warp, place)[lane] = static_cast<uint32_t>(value); break;
        case 64: reg<uint64_t>(warp, place)[lane] = value; break;
        default: reg<uint16_t>(warp, place)[lane] = static_cast<uint16_t>(value);
    }
}

// Operand n of an instruction for one lane.
inline uint64_t operand(Warp& warp, const Instruction& instruction, int n, int lane) {
    return read_lane(warp, instruction.op[n], instruction.width[n], lane);
}

// For .sync instructions: whether all lanes that 'wanted' names, of those still alive, are here. If
// not, the lanes that are here wait and the instruction is tried again when more arrive.
inline bool all_lanes_are_here(Warp& warp, uint32_t wanted, uint32_t mask) {
    wanted &= warp.live;
    if ((mask & wanted) == wanted || warp.parked.empty()) {
        return true;
    }
    warp.stop = Stop::kWait;
    return false;
}

}  // namespace virtual_gpu
