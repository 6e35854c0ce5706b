// Tensor-core instructions of sm_80 to sm_90: ldmatrix, mma.sync.
//
// Fragment layouts are those of the PTX ISA, section "Matrix Fragments for mma.m16n8k16" and its
// neighbours: lane l is group g = l / 4, member t = l % 4. The order in which the hardware adds the
// products is not documented; here it is ascending k, in float with fused multiply-add.
#include <cstring>

#include "machine/access.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/numeric.h"

namespace virtual_gpu {
namespace {

bool whole_warp(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (mask == kAllLanes) {
        return true;
    }
    report(warp, instruction, "divergent-warp-instruction", first_lane(mask),
           "an instruction of the whole warp is executed by a part of it", LaunchError::kFailure);
    return false;
}

// Lane 8 m + r gives the address of row r of matrix m; 'vector' matrices of 8 x 8 16-bit values.
void run_ldmatrix(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!whole_warp(warp, instruction, mask)) {
        return;
    }
    const int n = instruction.vector;
    Access access;
    access.mask = n == 4 ? kAllLanes : (1u << (8 * n)) - 1;
    access.bytes = 16;
    const uint32_t wanted = access.mask;
    read_addresses(warp, instruction, n, &access);
    resolve(warp, instruction, Space::kShared, &access);
    if (access.mask != wanted) {
        return;
    }
    const bool transposed = instruction.mode != 0;
    for (int matrix = 0; matrix < n; matrix++) {
        uint8_t* const* row = access.host + 8 * matrix;
        uint32_t* out = reg<uint32_t>(warp, instruction.op[matrix]);
        for (int lane = 0; lane < 32; lane++) {
            const int g = lane / 4;
            const int t = lane % 4;
            if (!transposed) {
                std::memcpy(&out[lane], row[g] + 4 * t, 4);
            } else {
                uint16_t low;
                uint16_t high;
                std::memcpy(&low, row[2 * t] + 2 * g, 2);
                std::memcpy(&high, row[2 * t + 1] + 2 * g, 2);
                out[lane] = uint32_t{high} << 16 | low;
            }
        }
    }
}

void decode_ldmatrix(Decoding& d) {
    d.ignore({"sync", "aligned"});
    if (!d.take("m8n8")) {
        d.fail("only .m8n8 is supported");
    }
    const int n = d.take_one_of({"x1", "x2", "x4"});
    d.out().mode = d.take("trans");
    if (n < 0 || (!d.take("shared") && !d.take("shared::cta")) || d.need_type() != Type::kB16) {
        d.fail("only .x1, .x2 and .x4 of .shared.b16 are supported");
    }
    d.out().vector = static_cast<uint8_t>(1 << n);
    if (d.vector(Type::kB32) != d.out().vector) {
        d.fail("the vector has another length");
    }
    d.address();
    d.out().run = run_ldmatrix;
}

struct Bf16Pair {
    static constexpr int kPacked = 2;
    static float at(uint32_t bits, int i) {
        return bits_to_float(i == 0 ? bits << 16 : bits & 0xffff0000);
    }
};

struct F16Pair {
    static constexpr int kPacked = 2;
    static float at(uint32_t bits, int i) {
        return f16_to_float(static_cast<uint16_t>(bits >> (16 * i)));
    }
};

struct Tf32One {  // The lower 13 bits of a tf32 register do not count.
    static constexpr int kPacked = 1;
    static float at(uint32_t bits, int) { return bits_to_float(bits & 0xffffe000); }
};

struct E4m3Quad {
    static constexpr int kPacked = 4;
    static float at(uint32_t bits, int i) {
        return e4m3_to_float(static_cast<uint8_t>(bits >> (8 * i)));
    }
};

struct S8Quad {
    static constexpr int kPacked = 4;
    static int32_t at(uint32_t bits, int i) { return static_cast<int8_t>(bits >> (8 * i)); }
};

// The list holds 4 places of D, the places of A and of B, and 4 of C, in the order of the text.
// Register r of A holds row g + 8 (r % 2), columns from K/2 (r / 2); of B rows from K/2 r, column
// g.
template <class Format, int K, class Sum>
void run_mma(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!whole_warp(warp, instruction, mask)) {
        return;
    }
    constexpr int kPacked = Format::kPacked;
    constexpr int kHalves = K / (4 * kPacked);  // 1 or 2 registers along k.
    alignas(32) Sum a[16][K];
    alignas(32) Sum b[K][8];
    alignas(32) Sum c[16][8];
    const uint32_t* places = instruction.list + 4;
    for (int r = 0; r < 2 * kHalves; r++) {
        const uint32_t* from = reg<uint32_t>(warp, places[r]);
        for (int lane = 0; lane < 32; lane++) {
            Sum* to = &a[lane / 4 + 8 * (r % 2)][(lane % 4) * kPacked + 4 * kPacked * (r / 2)];
            for (int i = 0; i < kPacked; i++) {
                to[i] = Format::at(from[lane], i);
            }
        }
    }
    places += 2 * kHalves;
    for (int r = 0; r < kHalves; r++) {
        const uint32_t* from = reg<uint32_t>(warp, places[r]);
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < kPacked; i++) {
                b[(lane % 4) * kPacked + 4 * kPacked * r + i][lane / 4] = Format::at(from[lane], i);
            }
        }
    }
    places += kHalves;
    for (int r = 0; r < 4; r++) {
        const Sum* from = reg<Sum>(warp, places[r]);
        for (int lane = 0; lane < 32; lane++) {
            c[lane / 4 + 8 * (r / 2)][(lane % 4) * 2 + r % 2] = from[lane];
        }
    }
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < K; k++) {
            for (int n = 0; n < 8; n++) {
                if constexpr (std::is_same_v<Sum, float>) {
                    c[row][n] = std::fma(a[row][k], b[k][n], c[row][n]);
                } else {
                    c[row][n] += a[row][k] * b[k][n];
                }
            }
        }
    }
    for (int r = 0; r < 4; r++) {
        Sum* to = reg<Sum>(warp, instruction.list[r]);
        for (int lane = 0; lane < 32; lane++) {
            to[lane] = c[lane / 4 + 8 * (r / 2)][(lane % 4) * 2 + r % 2];
        }
    }
    warp.launch->counters[pc_of(warp, instruction)].flops += 2 * 16 * 8 * K;
}

struct MmaShape {
    std::string_view shape;
    Type type;
    Type sum;
    int a_registers;
    Handler run;
};

constexpr MmaShape kShapes[] = {
    {"m16n8k16", Type::kBF16, Type::kF32, 4, run_mma<Bf16Pair, 16, float>},
    {"m16n8k16", Type::kF16, Type::kF32, 4, run_mma<F16Pair, 16, float>},
    {"m16n8k8", Type::kBF16, Type::kF32, 2, run_mma<Bf16Pair, 8, float>},
    {"m16n8k8", Type::kF16, Type::kF32, 2, run_mma<F16Pair, 8, float>},
    {"m16n8k8", Type::kTF32, Type::kF32, 4, run_mma<Tf32One, 8, float>},
    {"m16n8k32", Type::kE4M3, Type::kF32, 4, run_mma<E4m3Quad, 32, float>},
    {"m16n8k32", Type::kS8, Type::kS32, 4, run_mma<S8Quad, 32, int32_t>},
};

void decode_mma(Decoding& d) {
    d.ignore({"sync", "aligned", "kind::f8f6f4"});
    const int shape = d.take_one_of({"m16n8k8", "m16n8k16", "m16n8k32"});
    if (!d.take("row") || !d.take("col") || shape < 0) {
        d.fail("this shape is not supported");
    }
    static constexpr std::string_view kNames[] = {"m16n8k8", "m16n8k16", "m16n8k32"};
    const Type types[4] = {d.need_type(), d.need_type(), d.need_type(), d.need_type()};
    for (const MmaShape& row : kShapes) {
        if (row.shape != kNames[shape] || types[1] != row.type || types[2] != row.type ||
            types[0] != row.sum || types[3] != row.sum) {
            continue;
        }
        std::vector<uint32_t> list;
        d.list_vector(&list, 4, Type::kB32);
        d.list_vector(&list, row.a_registers, Type::kB32);
        d.list_vector(&list, row.a_registers / 2, Type::kB32);
        d.list_vector(&list, 4, Type::kB32);
        d.keep_list(std::move(list));
        d.out().run = row.run;
        return;
    }
}

constexpr Opcode kOpcodes[] = {{"ldmatrix", decode_ldmatrix}, {"mma", decode_mma}};

}  // namespace

std::span<const Opcode> matrix_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
