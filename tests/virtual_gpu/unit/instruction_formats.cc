// The small floating-point formats: every encoding of 16 bits, against arithmetic that shares no
// code with the machine's. The reference decodes by the formats' definition and rounds by search:
// among all values of a format the nearest, and of two the one with the even code.
#include <catch2/catch_test_macros.hpp>
#include <cmath>

#include "unit/one_instruction.h"

using namespace virtual_gpu;

namespace {

using Exact = __float128;  // 113 bits: products and sums of these values fit, where a test says so.

// A format by its definition: sign, exponent and mantissa bits.
struct Format {
    int exponent_bits;
    int mantissa_bits;
    int largest;  // Code of the largest finite value.

    Exact value(int code) const {
        const int exponent = code >> mantissa_bits;
        const int fraction = code & ((1 << mantissa_bits) - 1);
        const int bias = (1 << (exponent_bits - 1)) - 1;
        const double magnitude = exponent == 0 ? fraction : fraction + (1 << mantissa_bits);
        return std::ldexp(magnitude, (exponent == 0 ? 1 : exponent) - bias - mantissa_bits);
    }
    bool is_nan(int code) const { return code > largest + (exponent_bits == 4 ? 0 : 1); }

    // The code nearest to a magnitude. Half a step beyond the largest value is infinity, its code
    // the next; 'saturates' keeps the largest.
    int nearest(Exact magnitude, bool saturates) const {
        int low = 0;
        int high = largest;
        while (low < high) {
            const int middle = (low + high + 1) / 2;
            value(middle) <= magnitude ? low = middle : high = middle - 1;
        }
        const Exact step =
            low == largest ? value(largest) - value(largest - 1) : value(low + 1) - value(low);
        const Exact rest = magnitude - value(low);
        const bool up = rest > step / 2 || (rest == step / 2 && low % 2 == 1);
        return up && !(low == largest && saturates) ? low + 1 : low;
    }
};

constexpr Format kF16 = {5, 10, 0x7bff};
constexpr Format kBf16 = {8, 7, 0x7f7f};
constexpr Format kE4m3 = {4, 3, 0x7e};
constexpr Format kE5m2 = {5, 2, 0x7b};

double signed_value(const Format& format, uint64_t code, int bits) {
    const int magnitude = static_cast<int>(code & ((1u << (bits - 1)) - 1));
    const double value = magnitude == format.largest + 1 && format.exponent_bits != 4
                             ? INFINITY
                             : static_cast<double>(format.value(magnitude));
    return (code >> (bits - 1) & 1) != 0 ? -value : value;
}

bool is_nan16(const Format& format, uint64_t code) {
    return format.is_nan(static_cast<int>(code & 0x7fff));
}

// The 16-bit code of a value, rounded to nearest.
uint64_t rounded16(const Format& format, Exact value, bool is_negative) {
    const Exact magnitude = value < 0 ? -value : value;
    return static_cast<uint64_t>(format.nearest(magnitude, false)) | (is_negative ? 0x8000 : 0);
}

}  // namespace

// Breaks if a 16-bit float is widened wrongly, subnormals, infinities and NaNs included.
TEST_CASE("cvt from f16 and bf16 for all encodings", "[instruction]") {
    for (const Format& format : {kF16, kBf16}) {
        const std::string body = &format == &kF16 || format.mantissa_bits == 10
                                     ? "cvt.f32.f16 %d, %a;"
                                     : "cvt.f32.bf16 %d, %a;";
        const auto found = run_instruction(body, "b32", "b16", {all_16_bits()});
        for (uint64_t code = 0; code < 65536; code++) {
            const auto bits = static_cast<uint32_t>(found[code]);
            if (is_nan16(format, code)) {
                REQUIRE(bits == 0x7fffffff);
            } else {
                const auto wanted = static_cast<float>(signed_value(format, code, 16));
                REQUIRE(bits == std::bit_cast<uint32_t>(wanted));
            }
        }
    }
}

// Breaks if rounding to bf16 or f16 is not to nearest even. The inputs are every upper half of a
// float with lower halves around the ties of both formats.
TEST_CASE("cvt.rn to bf16 and f16 rounds to nearest even", "[instruction]") {
    for (const uint64_t low : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0x1000u, 0xf000u}) {
        std::vector<uint64_t> inputs = all_16_bits();
        for (uint64_t& input : inputs) {
            input = input << 16 | low;
        }
        const auto bf16 = run_instruction("cvt.rn.bf16.f32 %d, %a;", "b16", "b32", {inputs});
        const auto f16 = run_instruction("cvt.rn.f16.f32 %d, %a;", "b16", "b32", {inputs});
        const auto pairs = run_instruction("mov.b32 %c, %a; cvt.rn.bf16x2.f32 %d, %a, %c;", "b32",
                                           "f32", {inputs});
        for (size_t i = 0; i < inputs.size(); i++) {
            const float value = std::bit_cast<float>(static_cast<uint32_t>(inputs[i]));
            const uint64_t wanted_bf16 = value != value ? 0x7fff
                                         : std::isinf(value)
                                             ? 0x7f80u | (value < 0 ? 0x8000u : 0u)
                                             : rounded16(kBf16, value, std::signbit(value));
            const uint64_t wanted_f16 = value != value ? 0x7fff
                                        : std::isinf(value)
                                            ? 0x7c00u | (value < 0 ? 0x8000u : 0u)
                                            : rounded16(kF16, value, std::signbit(value));
            REQUIRE(bf16[i] == wanted_bf16);
            REQUIRE(f16[i] == wanted_f16);
            REQUIRE(pairs[i] == (wanted_bf16 << 16 | wanted_bf16));
        }
    }
}

// Breaks if an FP8 pair is unpacked in the wrong order or with the wrong value.
TEST_CASE("cvt from e4m3x2 and e5m2x2 for all encodings", "[instruction]") {
    for (const bool is_e4m3 : {true, false}) {
        const Format& format = is_e4m3 ? kE4m3 : kE5m2;
        const auto found =
            run_instruction(is_e4m3 ? "cvt.rn.f16x2.e4m3x2 %d, %a;" : "cvt.rn.f16x2.e5m2x2 %d, %a;",
                            "b32", "b16", {all_16_bits()});
        for (uint64_t both = 0; both < 65536; both++) {
            for (const int half : {0, 1}) {
                const uint64_t code = both >> (8 * half) & 0xff;
                const uint64_t bits = found[both] >> (16 * half) & 0xffff;
                const int magnitude = static_cast<int>(code & 0x7f);
                if (is_e4m3 ? magnitude == 0x7f : format.is_nan(magnitude)) {
                    REQUIRE(bits == 0x7fff);
                } else {
                    REQUIRE(signed_value(kF16, bits, 16) == signed_value(format, code, 8));
                    REQUIRE((bits >> 15) == (code >> 7));
                }
            }
        }
    }
}

// Breaks if rounding to FP8 is not to nearest even, or too large values do not saturate.
TEST_CASE("cvt.rn.satfinite to FP8 for all bf16 values", "[instruction]") {
    std::vector<uint64_t> inputs = all_16_bits();
    for (uint64_t& input : inputs) {
        input <<= 16;
    }
    for (const bool is_e4m3 : {true, false}) {
        const Format& format = is_e4m3 ? kE4m3 : kE5m2;
        const auto found = run_instruction(is_e4m3 ? "mov.b32 %b, 0f3F800000;"
                                                     "cvt.rn.satfinite.e4m3x2.f32 %d, %a, %b;"
                                                   : "mov.b32 %b, 0f3F800000;"
                                                     "cvt.rn.satfinite.e5m2x2.f32 %d, %a, %b;",
                                           "b16", "f32", {inputs});
        const auto one = static_cast<uint64_t>(format.nearest(1, true));
        for (size_t i = 0; i < inputs.size(); i++) {
            const float value = std::bit_cast<float>(static_cast<uint32_t>(inputs[i]));
            const uint64_t sign = std::signbit(value) ? 0x80 : 0;
            const uint64_t wanted =
                value != value ? 0x7f
                : std::isinf(value)
                    ? sign | static_cast<uint64_t>(format.largest)
                    : sign | static_cast<uint64_t>(format.nearest(std::fabs(value), true));
            REQUIRE(found[i] == (wanted << 8 | one));  // The first source is the upper half.
        }
    }
}

// Breaks if a half-precision operation rounds twice. Every encoding meets a fixed partner; products
// and sums are exact in 113 bits, as the partners' exponents are near the middle.
TEST_CASE("f16 arithmetic rounds once", "[instruction]") {
    Values values{5};
    std::vector<uint64_t> b(65536);
    std::vector<uint64_t> c(65536);
    for (size_t i = 0; i < b.size(); i++) {
        b[i] = values.next() % 0x7c00;
        c[i] = (values.next() % 0x7c00) | (values.next() % 2) << 15;
    }
    const auto sums = run_instruction("add.rn.f16 %d, %a, %b;", "b16", "b16", {all_16_bits(), b});
    const auto products = run_instruction("mul.f16 %d, %a, %b;", "b16", "b16", {all_16_bits(), b});
    const auto fused =
        run_instruction("fma.rn.f16 %d, %a, %b, %c;", "b16", "b16", {all_16_bits(), b, c});
    for (uint64_t code = 0; code < 65536; code++) {
        const double x = signed_value(kF16, code, 16);
        if (is_nan16(kF16, code) || std::isinf(x)) {
            continue;
        }
        const Exact y = signed_value(kF16, b[code], 16);
        const Exact z = signed_value(kF16, c[code], 16);
        const Exact sum = x + y;
        const Exact product = x * y;
        const Exact all = product + z;
        REQUIRE(sums[code] == rounded16(kF16, sum, sum < 0));
        REQUIRE(products[code] == rounded16(kF16, product, code >= 0x8000));
        if (all != 0) {
            REQUIRE(fused[code] == rounded16(kF16, all, all < 0));
        }
    }
}

// Breaks if rounding toward zero rounds up, or a tiny addend is lost before it can matter.
TEST_CASE("f32 arithmetic toward zero", "[instruction]") {
    Values values{6};
    std::vector<uint64_t> a(4096);
    std::vector<uint64_t> b(4096);
    std::vector<uint64_t> c(4096);
    for (size_t i = 0; i < a.size(); i++) {
        // Exponents from 2^-20 to 2^19: the exact results fit into 113 bits.
        const auto next = [&values] {
            const uint64_t bits = values.next();
            return (bits & 0x807fffff) | (107 + bits / 0x100000000 % 40) << 23;
        };
        a[i] = next();
        b[i] = i % 3 == 0 ? 0x3f800000 : next();
        c[i] = next();
    }
    const auto sums = run_instruction("add.rz.f32 %d, %a, %c;", "f32", "f32", {a, b, c});
    const auto products = run_instruction("mul.rz.f32 %d, %a, %b;", "f32", "f32", {a, b, c});
    const auto fused = run_instruction("fma.rz.f32 %d, %a, %b, %c;", "f32", "f32", {a, b, c});
    const auto value = [](uint64_t bits) -> Exact {
        return std::bit_cast<float>(static_cast<uint32_t>(bits));
    };
    // The float nearest to zero's side: no larger, and its successor is.
    const auto is_truncated = [&value](uint64_t found, Exact exact) {
        const Exact magnitude = exact < 0 ? -exact : exact;
        return (exact < 0) == ((found >> 31 & 1) != 0) && value(found & 0x7fffffff) <= magnitude &&
               value((found & 0x7fffffff) + 1) > magnitude;
    };
    for (size_t i = 0; i < a.size(); i++) {
        const Exact x = value(a[i]);
        const Exact y = value(b[i]);
        const Exact z = value(c[i]);
        REQUIRE((x + z == 0 || is_truncated(sums[i], x + z)));
        REQUIRE(is_truncated(products[i], x * y));
        REQUIRE((x * y + z == 0 || is_truncated(fused[i], x * y + z)));
    }
}

// Breaks if rounding down or up goes the wrong way, or moves a value that is exact.
TEST_CASE("f32 arithmetic downward and upward", "[instruction]") {
    Values values{7};
    std::vector<uint64_t> a(4096);
    std::vector<uint64_t> b(4096);
    std::vector<uint64_t> c(4096);
    for (size_t i = 0; i < a.size(); i++) {
        const auto next = [&values] {
            const uint64_t bits = values.next();
            return (bits & 0x807fffff) | (107 + bits / 0x100000000 % 40) << 23;
        };
        a[i] = next();
        b[i] = next();
        c[i] = i % 5 == 0 ? a[i] ^ 0x80000000 : next();  // Some sums cancel.
    }
    const auto value = [](uint64_t bits) { return std::bit_cast<float>(uint32_t(bits)); };
    for (const std::string direction : {"rm", "rp"}) {
        const bool is_down = direction == "rm";
        const auto run = [&](const std::string& body) {
            return run_instruction(body, "f32", "f32", {a, b, c});
        };
        const auto sums = run("add." + direction + ".f32 %d, %a, %c;");
        const auto products = run("mul." + direction + ".f32 %d, %a, %b;");
        const auto fused = run("fma." + direction + ".f32 %d, %a, %b, %c;");
        const auto is_right = [&](uint64_t bits, Exact exact) {
            const float found = value(bits);
            const float beyond = std::nextafter(found, is_down ? INFINITY : -INFINITY);
            if (exact == 0) {
                return found == 0 && std::signbit(found) == is_down;
            }
            return is_down ? Exact{found} <= exact && Exact{beyond} > exact
                           : Exact{found} >= exact && Exact{beyond} < exact;
        };
        for (size_t i = 0; i < a.size(); i++) {
            const Exact x = value(a[i]);
            const Exact y = value(b[i]);
            const Exact z = value(c[i]);
            REQUIRE(is_right(sums[i], x + z));
            REQUIRE(is_right(products[i], x * y));
            REQUIRE(is_right(fused[i], x * y + z));
        }
    }
}
