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
#include "machine/matrix_elements.h"
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

template <int K>
void multiply(const float (*a)[K], const float (*b)[8], float (*c)[8]) {
    for (int row = 0; row < 16; row += 4) {  // Four rows hide the latency of the additions.
        __m256 sum[4];
        for (int i = 0; i < 4; i++) {
            sum[i] = _mm256_load_ps(c[row + i]);
        }
        for (int k = 0; k < K; k++) {
            const __m256 column = _mm256_load_ps(b[k]);
            for (int i = 0; i < 4; i++) {
                sum[i] = _mm256_fmadd_ps(_mm256_set1_ps(a[row + i][k]), column, sum[i]);
            }
        }
        for (int i = 0; i < 4; i++) {
            _mm256_store_ps(c[row + i], sum[i]);
        }
    }
}

template <int K>
void multiply(const int32_t (*a)[K], const int32_t (*b)[8], int32_t (*c)[8]) {
    for (int row = 0; row < 16; row++) {
        for (int k = 0; k < K; k++) {
            for (int n = 0; n < 8; n++) {
                c[row][n] += a[row][k] * b[k][n];
            }
        }
    }
}

// The four lanes of a group hold neighbouring elements along k, so a group's part of a register is
// a piece of a row of A, or of a column of B, in order.
//
// The list holds 4 places of D, the places of A and of B, and 4 of C, in the order of the text.
// Register r of A holds rows g + 8 (r % 2) and part r / 2 of k; register r of B part r of k of
// column g; register r of C and D row g + 8 (r / 2), column 2 t + r % 2.
template <class Element, int K, class Sum>
void run_mma(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!whole_warp(warp, instruction, mask)) {
        return;
    }
    constexpr int kPart = 16 / sizeof(typename Element::Bits);  // Elements of k a register.
    constexpr int kParts = K / kPart;
    alignas(32) Sum a[16][K];
    alignas(32) Sum b[K][8];
    alignas(32) Sum c[16][8];
    const uint32_t* places_a = instruction.list + 4;
    const uint32_t* places_b = places_a + 2 * kParts;
    const uint32_t* places_c = places_b + kParts;
    for (int r = 0; r < 2 * kParts; r++) {
        const uint32_t* from = reg<uint32_t>(warp, places_a[r]);
        for (int g = 0; g < 8; g++) {
            widen_piece<Element>(from + 4 * g, &a[g + 8 * (r % 2)][kPart * (r / 2)]);
        }
    }
    for (int r = 0; r < kParts; r++) {
        const uint32_t* from = reg<uint32_t>(warp, places_b[r]);
        Sum columns[8][kPart];
        for (int g = 0; g < 8; g++) {
            widen_piece<Element>(from + 4 * g, columns[g]);
        }
        for (int k = 0; k < kPart; k++) {
            for (int g = 0; g < 8; g++) {
                b[kPart * r + k][g] = columns[g][k];
            }
        }
    }
    for (int half = 0; half < 2; half++) {
        const Sum* even = reg<Sum>(warp, places_c[2 * half]);
        const Sum* odd = reg<Sum>(warp, places_c[2 * half + 1]);
        for (int lane = 0; lane < 32; lane++) {
            c[8 * half + lane / 4][lane % 4 * 2] = even[lane];
            c[8 * half + lane / 4][lane % 4 * 2 + 1] = odd[lane];
        }
    }
    multiply<K>(a, b, c);
    for (int half = 0; half < 2; half++) {
        Sum* even = reg<Sum>(warp, instruction.list[2 * half]);
        Sum* odd = reg<Sum>(warp, instruction.list[2 * half + 1]);
        for (int lane = 0; lane < 32; lane++) {
            even[lane] = c[8 * half + lane / 4][lane % 4 * 2];
            odd[lane] = c[8 * half + lane / 4][lane % 4 * 2 + 1];
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
    {"m16n8k16", Type::kBF16, Type::kF32, 4, run_mma<Bf16Element, 16, float>},
    {"m16n8k16", Type::kF16, Type::kF32, 4, run_mma<F16Element, 16, float>},
    {"m16n8k8", Type::kBF16, Type::kF32, 2, run_mma<Bf16Element, 8, float>},
    {"m16n8k8", Type::kF16, Type::kF32, 2, run_mma<F16Element, 8, float>},
    {"m16n8k8", Type::kTF32, Type::kF32, 4, run_mma<Tf32Element, 8, float>},
    {"m16n8k32", Type::kE4M3, Type::kF32, 4, run_mma<E4m3Element, 32, float>},
    {"m16n8k32", Type::kS8, Type::kS32, 4, run_mma<S8Element, 32, int32_t>},
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
        d.out().n_list = static_cast<uint16_t>(list.size());
        d.keep_list(std::move(list));
        d.out().run = row.run;
        return;
    }
}

constexpr Opcode kOpcodes[] = {{"ldmatrix", decode_ldmatrix}, {"mma", decode_mma}};

}  // namespace

std::span<const Opcode> matrix_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
