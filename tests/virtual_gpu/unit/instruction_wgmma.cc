// wgmma against plain products: every type, operand place, layout and swizzle that the machine
// takes. Layouts are written here as the PTX ISA's section on shared memory layouts has them, with
// coordinates first, and not as the machine computes them.
#include <catch2/catch_test_macros.hpp>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

struct Form {
    const char* shape;  // "k16.f32.bf16.bf16"
    int n;
    int k;
    int bytes;           // Of an element.
    uint32_t swizzle;    // 0, 32, 64, 128.
    bool is_transposed;  // Both operands.
    bool a_in_registers;
    bool is_negative;  // A's values are negated.
    float (*value)(uint32_t bits);
    uint32_t (*element)(Values& values);
    float (*rounded)(float sum) = [](float sum) { return sum; };
};

float bf16_of(uint32_t bits) { return bf16_to_float(static_cast<uint16_t>(bits)); }
float f16_of(uint32_t bits) { return f16_to_float(static_cast<uint16_t>(bits)); }
float tf32_of(uint32_t bits) { return bits_to_float(bits & 0xffffe000); }
float e4m3_of(uint32_t bits) { return e4m3_to_float(static_cast<uint8_t>(bits)); }
float e5m2_of(uint32_t bits) { return e5m2_to_float(static_cast<uint8_t>(bits)); }

// Small whole numbers, so that sums in any order are exact.
uint32_t bf16_element(Values& v) { return float_to_bf16(float(v.next() % 9) - 4); }
uint32_t f16_element(Values& v) { return float_to_f16(float(v.next() % 9) - 4); }
uint32_t tf32_element(Values& v) { return float_to_bits(float(v.next() % 9) - 4); }
uint32_t e4m3_element(Values& v) { return float_to_e4m3(float(v.next() % 9) - 4); }
uint32_t e5m2_element(Values& v) { return float_to_e5m2(float(v.next() % 9) - 4); }

// Where element (row, k) lies: a tile of rows x 128 bytes of K, or of K rows x M, in atoms of eight
// lines. Without swizzle, an atom is 8 pieces of 16 bytes, and atoms follow each other.
uint32_t place_of(const Form& f, int rows, int row, int k) {
    const int line_bytes = f.swizzle == 0 ? 16 : static_cast<int>(f.swizzle);
    const int along =
        (f.is_transposed ? row : k) * f.bytes;  // In the direction that is contiguous.
    const int across = f.is_transposed ? k : row;
    const int extent = (f.is_transposed ? f.k : rows) / 8;  // Atoms across.
    const int atom = along / line_bytes * extent + across / 8;
    const int in_atom = across % 8 * line_bytes + along % line_bytes;
    uint32_t at = static_cast<uint32_t>(atom * 8 * line_bytes + in_atom);
    if (f.swizzle != 0) {
        // Bits 4 and up of the place are mixed with those from bit 7 on.
        const uint32_t mask = f.swizzle / 16 - 1;
        at ^= (at >> 7 & mask) << 4;
    }
    return at;
}

uint64_t descriptor_of(const Form& f, int rows, uint32_t start) {
    const uint32_t line_bytes = f.swizzle == 0 ? 16 : f.swizzle;
    const uint32_t atom = 8 * line_bytes;
    const auto extent = static_cast<uint32_t>((f.is_transposed ? f.k : rows) / 8);
    // From an atom to the next across, and to the next along.
    const uint64_t across = atom;
    const uint64_t along = atom * extent;
    // Where nothing is swizzled, "leading" is along K for either kind; see the ISA's table.
    const bool is_plain_columns = f.is_transposed && f.swizzle == 0;
    const uint64_t leading = is_plain_columns ? across : along;
    const uint64_t stride = is_plain_columns ? along : across;
    const uint64_t mode = f.swizzle == 128 ? 1 : f.swizzle == 64 ? 2 : f.swizzle == 32 ? 3 : 0;
    return start >> 4 | (leading >> 4) << 16 | (stride >> 4) << 32 | mode << 62;
}

// A kernel that copies both operands into shared memory byte by byte, multiplies once, and stores
// each thread's registers.
std::string ptx_of(const Form& f, uint32_t a_bytes, uint32_t b_bytes) {
    const int n_sums = f.n / 2;
    std::string d;
    for (int i = 0; i < n_sums; i++) {
        d += (i == 0 ? "%d" : ", %d") + std::to_string(i);
    }
    std::string text =
        ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 k_0, "
        ".param .u64 k_1, .param .u64 k_2, .param .u64 k_3, .param .u64 k_4) {\n"
        ".reg .b64 %rd<8>; .reg .b32 %r<8>; .reg .pred %p; .reg .b32 %d<" +
        std::to_string(n_sums) + ">; .reg .b32 %a<4>;\n.shared .align 1024 .b8 tile[" +
        std::to_string(a_bytes + b_bytes) +
        "];\nmov.u32 %r0, %tid.x; shl.b32 %r0, %r0, 4; mov.u32 %r1, tile;\n"
        "COPY: setp.ge.u32 %p, %r0, " +
        std::to_string(a_bytes + b_bytes) +
        "; @%p bra DONE; cvt.u64.u32 %rd0, %r0; ld.param.u64 %rd1, [k_0]; add.s64 %rd1, %rd1, %rd0;"
        "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1]; add.s32 %r6, %r1, %r0;"
        "st.shared.v4.u32 [%r6], {%r2, %r3, %r4, %r5}; add.s32 %r0, %r0, 2048; bra COPY;\n"
        "DONE: fence.proxy.async.shared::cta; bar.sync 0;\n"
        "ld.param.u64 %rd2, [k_1]; ld.param.u64 %rd3, [k_2];\n"
        "mov.u32 %r0, %tid.x; mul.wide.u32 %rd4, %r0, 16; ld.param.u64 %rd5, [k_4];"
        "add.s64 %rd5, %rd5, %rd4; ld.global.v4.u32 {%a0, %a1, %a2, %a3}, [%rd5];\n";
    for (int i = 0; i < n_sums; i++) {
        text += "mov.b32 %d" + std::to_string(i) + ", 0f3F800000;\n";  // 1 is added to.
    }
    const bool has_flags = f.bytes == 2;
    text += "wgmma.fence.sync.aligned;\nwgmma.mma_async.sync.aligned.m64n" + std::to_string(f.n) +
            f.shape + " {" + d + "}, " + (f.a_in_registers ? "{%a0, %a1, %a2, %a3}" : "%rd2") +
            ", %rd3, 1, " + (f.is_negative ? "-1" : "1") + ", 1";
    if (has_flags) {
        text += f.a_in_registers ? (f.is_transposed ? ", 1" : ", 0")
                                 : (f.is_transposed ? ", 1, 1" : ", 0, 0");
    }
    text +=
        ";\nwgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n"
        "ld.param.u64 %rd6, [k_3]; mul.wide.u32 %rd4, %r0, " +
        std::to_string(4 * n_sums) + "; add.s64 %rd6, %rd6, %rd4;\n";
    for (int i = 0; i < n_sums; i++) {
        text +=
            "st.global.u32 [%rd6+" + std::to_string(4 * i) + "], %d" + std::to_string(i) + ";\n";
    }
    return text + "ret;\n}\n";
}

void check(const Form& f) {
    INFO(f.shape << " n " << f.n << " swizzle " << f.swizzle << " transposed " << f.is_transposed
                 << " a in registers " << f.a_in_registers);
    Values v{static_cast<uint64_t>(f.n + f.k)};
    const int wide = f.is_transposed ? 64 : 128 / f.bytes;  // Room along K for a whole line.
    const auto tile_bytes = [&](int rows) {
        return static_cast<uint32_t>(f.is_transposed
                                         ? rows * f.k * f.bytes + 2048
                                         : (rows * wide * f.bytes + 1023) / 1024 * 1024);
    };
    const uint32_t a_bytes = (tile_bytes(64) + 1023) / 1024 * 1024;
    const uint32_t b_bytes = (tile_bytes(f.n) + 1023) / 1024 * 1024;
    std::vector<uint32_t> a(64 * f.k);
    std::vector<uint32_t> b(f.n * f.k);
    std::vector<uint8_t> tiles(a_bytes + b_bytes, 0);
    const auto put = [&](std::vector<uint32_t>& matrix, int rows, uint32_t start) {
        for (int row = 0; row < rows; row++) {
            for (int k = 0; k < f.k; k++) {
                const uint32_t bits = f.element(v);
                matrix[row * f.k + k] = bits;
                std::memcpy(&tiles[start + place_of(f, rows, row, k)], &bits, f.bytes);
            }
        }
    };
    Form plain = f;
    put(a, 64, 0);
    put(b, f.n, a_bytes);
    // A in registers: thread t of warp w has rows 16 w + t / 4 and + 8, four pieces of 4 bytes.
    std::vector<uint32_t> fragments(128 * 4);
    const int packed = 4 / f.bytes;
    for (int thread = 0; thread < 128; thread++) {
        for (int r = 0; r < 4; r++) {
            const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (r % 2);
            for (int i = 0; i < packed; i++) {
                const int k = (thread % 4 + 4 * (r / 2)) * packed + i;
                fragments[thread * 4 + r] |= a[row * f.k + k] << (8 * f.bytes * i);
            }
        }
    }
    Machine machine(uint64_t{1} << 28);
    const auto program = machine.load(ptx_of(f, a_bytes, b_bytes));
    Kernel& kernel = *program->kernels.at("k");
    const uint64_t out = machine.memory().allocate(128 * f.n * 2);
    const LaunchError error = machine.run(
        &kernel,
        request_for(kernel, {1}, {128}, upload(machine, tiles), descriptor_of(plain, 64, 0),
                    descriptor_of(plain, f.n, a_bytes), out, upload(machine, fragments)));
    INFO(findings_text(machine));
    REQUIRE(error == LaunchError::kNone);
    REQUIRE(machine.findings().list().empty());
    const std::vector<float> found = download<float>(machine, out, 128 * f.n / 2);
    for (int thread = 0; thread < 128; thread++) {
        for (int i = 0; i < f.n / 2; i++) {
            const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2 % 2);
            const int column = i / 4 * 8 + thread % 4 * 2 + i % 2;
            float wanted = 0;
            for (int k = 0; k < f.k; k++) {
                wanted += f.value(a[row * f.k + k]) * f.value(b[column * f.k + k]);
            }
            wanted = 1 + (f.is_negative ? -wanted : wanted);
            REQUIRE(found[thread * f.n / 2 + i] == f.rounded(wanted));
        }
    }
}

}  // namespace

// Breaks if an operand's layout, a fragment or a flag of wgmma is misread.
TEST_CASE("wgmma multiplies in every layout", "[hopper][instruction]") {
    for (const uint32_t swizzle : {0u, 32u, 64u, 128u}) {
        for (const bool transposed : {false, true}) {
            check({"k16.f32.bf16.bf16", 64, 16, 2, swizzle, transposed, false, false, bf16_of,
                   bf16_element});
        }
        check(
            {"k32.f32.e4m3.e4m3", 64, 32, 1, swizzle, false, false, false, e4m3_of, e4m3_element});
        check({"k8.f32.tf32.tf32", 32, 8, 4, swizzle, false, false, false, tf32_of, tf32_element});
    }
    check({"k16.f32.f16.f16", 8, 16, 2, 128, false, false, true, f16_of, f16_element});
    check({"k16.f32.bf16.bf16", 256, 16, 2, 128, false, false, false, bf16_of, bf16_element});
    check({"k16.f32.bf16.bf16", 128, 16, 2, 128, false, true, false, bf16_of, bf16_element});
    check({"k32.f32.e5m2.e5m2", 24, 32, 1, 64, false, true, false, e5m2_of, e5m2_element});
}

// Breaks if FP8 sums keep more bits than Hopper's do: a model that is right here would not be
// there.
TEST_CASE("wgmma cuts sums of FP8 products", "[hopper][instruction]") {
    // 1 + 32 products of 16 x 16 is 8193, which 14 bits hold; of 16 x 32 it is 16385, one too many.
    check({"k32.f32.e4m3.e4m3", 64, 32, 1, 128, false, false, false, e4m3_of,
           [](Values&) { return uint32_t{float_to_e4m3(16)}; }});
    check({"k32.f32.e4m3.e4m3", 64, 32, 1, 128, false, false, false, e4m3_of,
           [](Values& v) { return uint32_t{float_to_e4m3(v.state++ < 96 + 64 * 32 ? 16 : 32)}; },
           [](float) { return 16384.0f; }});
}
