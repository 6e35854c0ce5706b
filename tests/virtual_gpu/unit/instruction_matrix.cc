// mma and ldmatrix against the fragment layouts of the PTX ISA, written out element by element.
#include <catch2/catch_test_macros.hpp>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

struct Place {
    int row;
    int column;
};

// Where element i of lane l's fragment lies. g is the group of four lanes, t the place in it.
struct Shape {
    const char* suffix;
    int k;
    int element_bits;
    int a_registers;
    bool is_integer;
    double (*value)(uint32_t bits);

    int packed() const { return 32 / element_bits; }
    Place a(int lane, int i) const {
        const int g = lane / 4;
        const int t = lane % 4;
        if (element_bits == 32) {  // m16n8k8 of tf32
            return {g + (i % 2 == 1 ? 8 : 0), t + (i >= 2 ? 4 : 0)};
        }
        if (element_bits == 16) {
            const bool lower = i % 4 >= 2;
            return {g + (lower ? 8 : 0), 2 * t + (i & 1) + (i >= 4 ? 8 : 0)};
        }
        const bool lower = (i >= 4 && i < 8) || i >= 12;
        return {g + (lower ? 8 : 0), 4 * t + (i & 3) + (i >= 8 ? 16 : 0)};
    }
    Place b(int lane, int i) const {
        const int g = lane / 4;
        const int t = lane % 4;
        if (element_bits == 32) {
            return {t + 4 * i, g};
        }
        if (element_bits == 16) {
            return {2 * t + (i & 1) + (i >= 2 ? 8 : 0), g};
        }
        return {4 * t + (i & 3) + (i >= 4 ? 16 : 0), g};
    }
};

Place sum_place(int lane, int i) { return {lane / 4 + (i >= 2 ? 8 : 0), lane % 4 * 2 + (i & 1)}; }

double bf16_value(uint32_t bits) { return bf16_to_float(static_cast<uint16_t>(bits)); }
double f16_value(uint32_t bits) { return f16_to_float(static_cast<uint16_t>(bits)); }
double tf32_value(uint32_t bits) { return bits_to_float(bits & 0xffffe000); }
double e4m3_value(uint32_t bits) { return e4m3_to_float(static_cast<uint8_t>(bits)); }
double s8_value(uint32_t bits) { return static_cast<int8_t>(bits); }

const Shape kShapes[] = {
    {"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, 4, false, bf16_value},
    {"m16n8k16.row.col.f32.f16.f16.f32", 16, 16, 4, false, f16_value},
    {"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 16, 2, false, bf16_value},
    {"m16n8k8.row.col.f32.f16.f16.f32", 8, 16, 2, false, f16_value},
    {"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 32, 4, false, tf32_value},
    {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 32, 8, 4, false, e4m3_value},
    {"m16n8k32.row.col.s32.s8.s8.s32", 32, 8, 4, true, s8_value},
};

std::string braces(const char* name, int n) {
    std::string text = "{";
    for (int i = 0; i < n; i++) {
        text += (i == 0 ? "" : ",") + std::string(name) + std::to_string(i);
    }
    return text + "}";
}

// Loads the fragments of 32 lanes, [lane, register], multiplies, stores the four sums.
std::string mma_kernel(const Shape& shape) {
    const int n_a = shape.a_registers;
    const int n_b = n_a / 2;
    std::string text =
        ".version 9.0\n.target sm_90a\n.address_size 64\n"
        ".visible .entry k(.param .u64 pa, .param .u64 pb, .param .u64 pc, .param .u64 pd) {\n"
        ".reg .b32 %a<4>, %b<2>, %c<4>, %d<4>, %r<2>;\n.reg .b64 %rd<4>;\n"
        "mov.u32 %r0, %tid.x;\n";
    const auto each = [&](const char* parameter, const char* name, int n, bool is_load) {
        text += "ld.param.u64 %rd0, [" + std::string(parameter) + "]; mul.wide.u32 %rd1, %r0, " +
                std::to_string(4 * n) + "; add.s64 %rd0, %rd0, %rd1;\n";
        for (int i = 0; i < n; i++) {
            const std::string at = "[%rd0+" + std::to_string(4 * i) + "]";
            const std::string value = name + std::to_string(i);
            text += is_load ? "ld.global.b32 " + value + ", " + at + ";\n"
                            : "st.global.b32 " + at + ", " + value + ";\n";
        }
    };
    each("pa", "%a", n_a, true);
    each("pb", "%b", n_b, true);
    each("pc", "%c", 4, true);
    text += "mma.sync.aligned." + std::string(shape.suffix) + " " + braces("%d", 4) + "," +
            braces("%a", n_a) + "," + braces("%b", n_b) + "," + braces("%c", 4) + ";\n";
    each("pd", "%d", 4, false);
    return text + "ret;\n}\n";
}

// A small value of the format, with a few bits of mantissa and both signs.
uint32_t element(const Shape& shape, Values* values) {
    const float value = static_cast<float>(static_cast<int>(values->next() % 31) - 15) / 8;
    if (shape.is_integer) {
        return static_cast<uint32_t>(values->next() & 0xff);
    }
    if (shape.element_bits == 32) {
        return float_to_bits(value) | 0x1fff;  // The low bits must not count.
    }
    if (shape.element_bits == 8) {
        return float_to_e4m3(value);
    }
    return shape.value == f16_value ? float_to_f16(value) : float_to_bf16(value);
}

}  // namespace

// Breaks if an element of a fragment is taken for another row, column or k.
TEST_CASE("mma multiplies as the ISA lays its fragments out", "[instruction]") {
    for (const Shape& shape : kShapes) {
        INFO(shape.suffix);
        Values values{9};
        const int n_a = shape.a_registers;
        std::vector<uint32_t> a(32 * n_a);
        std::vector<uint32_t> b(32 * n_a / 2);
        std::vector<uint32_t> c(32 * 4);
        double matrix_a[16][32] = {};
        double matrix_b[32][8] = {};
        double wanted[16][8] = {};
        const int packed = shape.packed();
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < n_a * packed; i++) {
                const uint32_t bits = element(shape, &values);
                a[lane * n_a + i / packed] |= bits << (i % packed * (32 / packed) % 32);
                matrix_a[shape.a(lane, i).row][shape.a(lane, i).column] = shape.value(bits);
            }
            for (int i = 0; i < n_a / 2 * packed; i++) {
                const uint32_t bits = element(shape, &values);
                b[lane * n_a / 2 + i / packed] |= bits << (i % packed * (32 / packed) % 32);
                matrix_b[shape.b(lane, i).row][shape.b(lane, i).column] = shape.value(bits);
            }
            for (int i = 0; i < 4; i++) {
                const int start = static_cast<int>(values.next() % 100) - 50;
                c[lane * 4 + i] = shape.is_integer ? static_cast<uint32_t>(start)
                                                   : float_to_bits(static_cast<float>(start));
                wanted[sum_place(lane, i).row][sum_place(lane, i).column] = start;
            }
        }
        for (int row = 0; row < 16; row++) {
            for (int column = 0; column < 8; column++) {
                for (int k = 0; k < shape.k; k++) {
                    wanted[row][column] += matrix_a[row][k] * matrix_b[k][column];
                }
            }
        }
        Machine machine(1 << 24);
        const auto program = machine.load(mma_kernel(shape));
        Kernel& kernel = *program->kernels.at("k");
        const uint64_t d = machine.memory().allocate(32 * 4 * 4);
        REQUIRE(machine.run(&kernel, request_for(kernel, {1}, {32}, upload(machine, a),
                                                 upload(machine, b), upload(machine, c), d)) ==
                LaunchError::kNone);
        const std::vector<uint32_t> found = download<uint32_t>(machine, d, 32 * 4);
        for (int lane = 0; lane < 32; lane++) {
            for (int i = 0; i < 4; i++) {
                const Place at = sum_place(lane, i);
                const uint32_t bits = found[lane * 4 + i];
                const double value = shape.is_integer ? static_cast<int32_t>(bits)
                                                      : static_cast<double>(bits_to_float(bits));
                // Few mantissa bits and small sums: every order of adding is exact.
                REQUIRE(value == wanted[at.row][at.column]);
            }
        }
    }
}

// Breaks if ldmatrix takes a row from the wrong lane, or transposes the wrong way.
TEST_CASE("ldmatrix hands rows and columns to the right lanes", "[instruction]") {
    for (const int n : {1, 2, 4}) {
        for (const bool transposed : {false, true}) {
            const std::string form = ".x" + std::to_string(n) + (transposed ? ".trans" : "");
            INFO(form);
            // Value 100 r + c at row r of all 8 n rows; rows lie 48 bytes apart, so that a wrong
            // stride shows.
            std::string text =
                ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(.param .u64 pd) "
                "{\n.reg .b32 %v<4>, %r<6>;\n.reg .b64 %rd<3>;\n.reg .b16 %h;\n"
                ".shared .align 16 .b8 tile[1536];\n"
                "mov.u32 %r0, %tid.x; mov.u32 %r1, tile; mad.lo.s32 %r2, %r0, 48, %r1;\n"
                "mul.lo.u32 %r3, %r0, 100;\n";
            for (int column = 0; column < 8; column++) {
                text += "add.u32 %r4, %r3, " + std::to_string(column) + "; cvt.u16.u32 %h, %r4; " +
                        "st.shared.b16 [%r2+" + std::to_string(2 * column) + "], %h;\n";
            }
            text += "bar.sync 0;\nldmatrix.sync.aligned.m8n8" + form + ".shared.b16 " +
                    braces("%v", n) +
                    ", [%r2];\n"
                    "ld.param.u64 %rd0, [pd]; mul.wide.u32 %rd1, %r0, 16; add.s64 %rd0, %rd0, "
                    "%rd1;\n";
            for (int i = 0; i < n; i++) {
                text += "st.global.b32 [%rd0+" + std::to_string(4 * i) + "], %v" +
                        std::to_string(i) + ";\n";
            }
            Machine machine(1 << 24);
            const auto program = machine.load(text + "ret;\n}\n");
            Kernel& kernel = *program->kernels.at("k");
            const uint64_t d = machine.memory().allocate(32 * 16);
            REQUIRE(machine.run(&kernel, request_for(kernel, {1}, {32}, d)) == LaunchError::kNone);
            INFO(findings_text(machine));
            REQUIRE(machine.findings().list().empty());
            const std::vector<uint32_t> found = download<uint32_t>(machine, d, 32 * 4);
            for (int lane = 0; lane < 32; lane++) {
                for (int i = 0; i < n; i++) {
                    const int g = lane / 4;
                    const int t = lane % 4;
                    for (const int half : {0, 1}) {
                        const int row = transposed ? 2 * t + half : g;
                        const int column = transposed ? g : 2 * t + half;
                        REQUIRE((found[lane * 4 + i] >> (16 * half) & 0xffff) ==
                                static_cast<uint32_t>(100 * (8 * i + row) + column));
                    }
                }
            }
        }
    }
}
