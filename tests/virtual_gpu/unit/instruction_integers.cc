// Integer, bit and comparison instructions against plain C++.
#include <algorithm>
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "unit/one_instruction.h"

using namespace virtual_gpu;

namespace {

// Edge values first, then random ones, some of them small: 1,024 in all.
std::vector<uint64_t> inputs(uint64_t seed) {
    std::vector<uint64_t> all;
    const uint64_t edges[] = {0,
                              1,
                              2,
                              31,
                              32,
                              33,
                              63,
                              64,
                              255,
                              0x7fff,
                              0x8000,
                              0xffff,
                              0x7fffffff,
                              0x80000000,
                              0xffffffff,
                              1ull << 32,
                              1ull << 63,
                              ~0ull,
                              0x7fffffffffffffffull};
    // Every edge meets every edge: the second source walks at another pace.
    for (size_t i = 0; all.size() < 512; i++) {
        all.push_back(edges[(seed == 0 ? i : seed == 1 ? i / 19 : i / 7) % 19]);
    }
    Values values{seed};
    while (all.size() < 1024) {
        all.push_back(values.next() >> (values.next() % 64));
    }
    return all;
}

using Reference = std::function<uint64_t(uint64_t, uint64_t, uint64_t)>;

struct Row {
    const char* body;
    Reference wanted;
};

void check(const std::string& type, int bits, const std::vector<Row>& rows) {
    const auto a = inputs(0);
    const auto b = inputs(1);
    const auto c = inputs(2);
    const uint64_t ones = ~uint64_t{0} >> (64 - bits);
    for (const Row& row : rows) {
        const auto found = run_instruction(row.body, type, type, {a, b, c});
        for (size_t i = 0; i < a.size(); i++) {
            INFO(row.body << " of " << a[i] << ", " << b[i] << ", " << c[i]);
            REQUIRE((found[i] & ones) ==
                    (row.wanted(a[i] & ones, b[i] & ones, c[i] & ones) & ones));
        }
    }
}

int32_t s(uint64_t value) { return static_cast<int32_t>(value); }
uint32_t u(uint64_t value) { return static_cast<uint32_t>(value); }
int64_t wide(uint64_t value) { return static_cast<int64_t>(value); }

// Bit by bit, unlike the machine.
uint64_t permuted(uint64_t a, uint64_t b, uint64_t selector) {
    uint64_t result = 0;
    for (int bit = 0; bit < 32; bit++) {
        const uint64_t nibble = selector >> (bit / 8 * 4) & 15;
        const uint64_t source = (nibble & 4) != 0 ? b : a;
        const uint64_t from = (nibble & 3) * 8 + ((nibble & 8) != 0 ? 7 : bit % 8);
        result |= (source >> from & 1) << bit;
    }
    return result;
}

uint64_t by_table(uint64_t a, uint64_t b, uint64_t c, uint64_t table) {
    uint64_t result = 0;
    for (int bit = 0; bit < 32; bit++) {
        const uint64_t row = (a >> bit & 1) * 4 + (b >> bit & 1) * 2 + (c >> bit & 1);
        result |= (table >> row & 1) << bit;
    }
    return result;
}

// The ISA's pseudo-code for bfe, for 32 bits.
uint64_t extracted(uint64_t a, uint64_t position, uint64_t length, bool is_signed) {
    position &= 255;
    length &= 255;
    const uint64_t top = std::min<uint64_t>(position + length - 1, 31);
    const uint64_t sign = !is_signed || length == 0 ? 0 : a >> top & 1;
    uint64_t result = 0;
    for (uint64_t i = 0; i < 32; i++) {
        result |= (i < length && position + i <= 31 ? a >> (position + i) & 1 : sign) << i;
    }
    return result;
}

uint64_t inserted(uint64_t a, uint64_t b, uint64_t position, uint64_t length) {
    position &= 255;
    length &= 255;
    uint64_t result = b;
    for (uint64_t i = 0; i < length && position + i <= 31; i++) {
        result = (result & ~(uint64_t{1} << (position + i))) | (i < 32 ? a >> i & 1 : 0)
                                                                   << (position + i);
    }
    return result;
}

}  // namespace

// Breaks if a 32-bit integer instruction wraps, shifts, divides or selects wrongly.
TEST_CASE("32-bit integer instructions", "[instruction]") {
    const auto min = std::numeric_limits<int32_t>::min();
    check("b32", 32,
          {
              {"add.s32 %d, %a, %b;", [](auto a, auto b, auto) { return a + b; }},
              {"sub.u32 %d, %a, %b;", [](auto a, auto b, auto) { return a - b; }},
              {"mul.lo.s32 %d, %a, %b;", [](auto a, auto b, auto) { return a * b; }},
              {"mul.hi.u32 %d, %a, %b;", [](auto a, auto b, auto) { return a * b >> 32; }},
              {"mul.hi.s32 %d, %a, %b;",
               [](auto a, auto b, auto) { return uint64_t(int64_t{s(a)} * s(b)) >> 32; }},
              {"mad.lo.u32 %d, %a, %b, %c;", [](auto a, auto b, auto c) { return a * b + c; }},
              {"div.u32 %d, %a, %b;", [](auto a, auto b, auto) { return b == 0 ? ~0ull : a / b; }},
              {"rem.u32 %d, %a, %b;", [](auto a, auto b, auto) { return b == 0 ? a : a % b; }},
              {"div.s32 %d, %a, %b;",
               [](auto a, auto b, auto) {
                   return b == 0 ? ~0ull : uint64_t(int64_t{s(a)} / int64_t{s(b)});
               }},
              {"rem.s32 %d, %a, %b;",
               [](auto a, auto b, auto) {
                   return b == 0 ? a : uint64_t(int64_t{s(a)} % int64_t{s(b)});
               }},
              {"min.s32 %d, %a, %b;", [](auto a, auto b, auto) { return s(a) < s(b) ? a : b; }},
              {"max.u32 %d, %a, %b;", [](auto a, auto b, auto) { return u(a) > u(b) ? a : b; }},
              {"abs.s32 %d, %a;",
               [min](auto a, auto, auto) { return s(a) == min || s(a) >= 0 ? a : 0 - a; }},
              {"neg.s32 %d, %a;", [](auto a, auto, auto) { return 0 - a; }},
              {"and.b32 %d, %a, %b;", [](auto a, auto b, auto) { return a & b; }},
              {"or.b32 %d, %a, %b;", [](auto a, auto b, auto) { return a | b; }},
              {"xor.b32 %d, %a, %b;", [](auto a, auto b, auto) { return a ^ b; }},
              {"not.b32 %d, %a;", [](auto a, auto, auto) { return ~a; }},
              {"cnot.b32 %d, %a;", [](auto a, auto, auto) { return uint64_t{a == 0}; }},
              {"shl.b32 %d, %a, %b;", [](auto a, auto b, auto) { return b > 31 ? 0 : a << b; }},
              {"shr.u32 %d, %a, %b;", [](auto a, auto b, auto) { return b > 31 ? 0 : a >> b; }},
              {"shr.s32 %d, %a, %b;",
               [](auto a, auto b, auto) { return uint64_t(int64_t{s(a)} >> (b > 31 ? 31 : b)); }},
              {"shf.l.wrap.b32 %d, %a, %b, %c;",
               [](auto a, auto b, auto c) { return ((b << 32 | a) << (c & 31)) >> 32; }},
              {"shf.r.clamp.b32 %d, %a, %b, %c;",
               [](auto a, auto b, auto c) { return (b << 32 | a) >> (c > 32 ? 32 : c); }},
              {"popc.b32 %d, %a;", [](auto a, auto, auto) { return uint64_t(std::popcount(a)); }},
              {"clz.b32 %d, %a;",
               [](auto a, auto, auto) { return uint64_t(std::countl_zero(u(a))); }},
              {"bfind.u32 %d, %a;",
               [](auto a, auto, auto) { return a == 0 ? ~0ull : 63ull - std::countl_zero(a); }},
              {"bfind.shiftamt.u32 %d, %a;",
               [](auto a, auto, auto) { return a == 0 ? ~0ull : std::countl_zero(a) - 32ull; }},
              {"copysign.f32 %d, %a, %b;",
               [](auto a, auto b, auto) { return (a >> 31 << 31) | (b & 0x7fffffff); }},
              {"brev.b32 %d, %a;",
               [](auto a, auto, auto) {
                   uint64_t result = 0;
                   for (int i = 0; i < 32; i++) {
                       result = result << 1 | (a >> i & 1);
                   }
                   return result;
               }},
              {"prmt.b32 %d, %a, %b, %c;", permuted},
              {"lop3.b32 %d, %a, %b, %c, 0xe8;",
               [](auto a, auto b, auto c) { return by_table(a, b, c, 0xe8); }},
              {"lop3.b32 %d, %a, %b, %c, 0x2d;",
               [](auto a, auto b, auto c) { return by_table(a, b, c, 0x2d); }},
              {"bfe.u32 %d, %a, %b, %c;",
               [](auto a, auto b, auto c) { return extracted(a, b, c, false); }},
              {"bfe.s32 %d, %a, %b, %c;",
               [](auto a, auto b, auto c) { return extracted(a, b, c, true); }},
              {"bfi.b32 %d, %a, %b, %c, 7;",
               [](auto a, auto b, auto c) { return inserted(a, b, c, 7); }},
              {"bfi.b32 %d, %a, %b, 5, %c;",
               [](auto a, auto b, auto c) { return inserted(a, b, 5, c); }},
              {"setp.lt.s32 %p, %a, %b; selp.b32 %d, %a, %c, %p;",
               [](auto a, auto b, auto c) { return s(a) < s(b) ? a : c; }},
              {"setp.hs.u32 %p, %a, %b; selp.b32 %d, 1, 0, %p;",
               [](auto a, auto b, auto) { return uint64_t{a >= b}; }},
              {"setp.ne.s32 %p, %a, %b; selp.b32 %d, 1, 0, %p;",
               [](auto a, auto b, auto) { return uint64_t{a != b}; }},
              {"setp.gt.u32 %p, %a, %b; setp.eq.or.u32 %p, %a, %c, !%p; selp.b32 %d, 1, 0, %p;",
               [](auto a, auto b, auto c) { return uint64_t{a == c || !(a > b)}; }},
          });
}

// Breaks if a 64-bit or a 16-bit instruction is confused with its 32-bit form.
TEST_CASE("64-bit and 16-bit integer instructions", "[instruction]") {
    check(
        "b64", 64,
        {
            {"add.s64 %d, %a, %b;", [](auto a, auto b, auto) { return a + b; }},
            {"mul.lo.s64 %d, %a, %b;", [](auto a, auto b, auto) { return a * b; }},
            {"mul.hi.u64 %d, %a, %b;",
             [](auto a, auto b, auto) { return uint64_t((__uint128_t{a} * b) >> 64); }},
            {"mad.lo.s64 %d, %a, %b, %c;", [](auto a, auto b, auto c) { return a * b + c; }},
            {"min.s64 %d, %a, %b;", [](auto a, auto b, auto) { return wide(a) < wide(b) ? a : b; }},
            {"cvt.u32.u64 %r3, %b; shl.b64 %d, %a, %r3;",
             [](auto a, auto b, auto) { return u(b) > 63 ? 0 : a << u(b); }},
            {"cvt.u32.u64 %r3, %b; shr.s64 %d, %a, %r3;",
             [](auto a, auto b, auto) { return uint64_t(wide(a) >> (u(b) > 63 ? 63 : u(b))); }},
            {"cvt.u32.u64 %r3, %a; mul.wide.u32 %d, %r3, %r3;",
             [](auto a, auto, auto) { return uint64_t{u(a)} * u(a); }},
            {"cvt.u32.u64 %r3, %a; mul.wide.s32 %d, %r3, %r3;",
             [](auto a, auto, auto) { return uint64_t(int64_t{s(a)} * s(a)); }},
            {"cvt.u32.u64 %r3, %a; cvt.s64.s32 %d, %r3;",
             [](auto a, auto, auto) { return uint64_t(int64_t{s(a)}); }},
            {"mov.b64 {%r3, %r2}, %a; mov.b64 %d, {%r2, %r3};",
             [](auto a, auto, auto) { return a << 32 | a >> 32; }},
            {"popc.b64 %r3, %a; cvt.u64.u32 %d, %r3;",
             [](auto a, auto, auto) { return uint64_t(std::popcount(a)); }},
        });
    check("b16", 16,
          {
              {"add.s16 %d, %a, %b;", [](auto a, auto b, auto) { return a + b; }},
              {"mul.lo.u16 %d, %a, %b;", [](auto a, auto b, auto) { return a * b; }},
              {"mul.hi.u16 %d, %a, %b;", [](auto a, auto b, auto) { return a * b >> 16; }},
              {"max.s16 %d, %a, %b;",
               [](auto a, auto b, auto) { return int16_t(a) > int16_t(b) ? a : b; }},
              {"shr.s16 %d, %a, 3;", [](auto a, auto, auto) { return uint64_t(int16_t(a) >> 3); }},
              {"cvt.s32.s8 %r3, %a; cvt.u16.u32 %d, %r3;",
               [](auto a, auto, auto) { return uint64_t(int8_t(a)); }},
              {"cvt.u32.u8 %r3, %a; cvt.u16.u32 %d, %r3;",
               [](auto a, auto, auto) { return a & 255; }},
              {"cvt.sat.u8.s16 %d, %a;",
               [](auto a, auto, auto) { return uint64_t(std::clamp<int>(int16_t(a), 0, 255)); }},
          });
}

// Breaks if a comparison treats a NaN wrongly, or a conversion to integers does.
TEST_CASE("float comparisons and conversions to integers", "[instruction]") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float edges[] = {0.0f,  -0.0f, 1.0f,   -1.0f, 0.5f,     1.5f,      2.5f,
                           -2.5f, 1e10f, -1e10f, nan,   INFINITY, -INFINITY, 1e-40f};
    std::vector<uint64_t> a;
    std::vector<uint64_t> b;
    for (size_t i = 0; i < 256; i++) {
        a.push_back(float_to_bits(edges[i % 14]));
        b.push_back(float_to_bits(edges[i / 14 % 14]));
    }
    const auto holds = [&](const char* name, auto wanted) {
        const auto found =
            run_instruction(std::string("setp.") + name +
                                ".f32 %p, %a, %b; selp.f32 %d, 0f3F800000, 0f00000000, %p;",
                            "f32", "f32", {a, b});
        for (size_t i = 0; i < a.size(); i++) {
            const float x = bits_to_float(u(a[i]));
            const float y = bits_to_float(u(b[i]));
            INFO(name << " of " << x << ", " << y);
            REQUIRE((found[i] != 0) == wanted(x, y));
        }
    };
    holds("eq", [](float x, float y) { return x == y; });
    holds("ne", [](float x, float y) { return x < y || y < x; });
    holds("lt", [](float x, float y) { return x < y; });
    holds("ge", [](float x, float y) { return x >= y; });
    holds("equ", [](float x, float y) { return x == y || x != x || y != y; });
    holds("neu", [](float x, float y) { return x != y; });
    holds("gtu", [](float x, float y) { return x > y || x != x || y != y; });
    holds("num", [](float x, float y) { return x == x && y == y; });
    holds("nan", [](float x, float y) { return x != x || y != y; });

    // Toward zero, to nearest even, down; out of range saturates, a NaN becomes 0.
    const auto whole = [&](const char* rounding, double (*round)(double)) {
        const auto found =
            run_instruction(std::string("cvt.") + rounding + ".s32.f32 %d, %a;", "b32", "f32", {a});
        for (size_t i = 0; i < a.size(); i++) {
            const double x = bits_to_float(u(a[i]));
            const double wanted = x != x ? 0 : std::clamp(round(x), -2147483648.0, 2147483647.0);
            INFO(rounding << " of " << x);
            REQUIRE(s(found[i]) == static_cast<int32_t>(wanted));
        }
    };
    whole("rzi", [](double x) { return std::trunc(x); });
    whole("rni", [](double x) { return std::nearbyint(x); });
    whole("rmi", [](double x) { return std::floor(x); });
    whole("rpi", [](double x) { return std::ceil(x); });

    const auto least = run_instruction("min.f32 %d, %a, %b;", "f32", "f32", {a, b});
    const auto flushed = run_instruction("add.ftz.f32 %d, %a, %b;", "f32", "f32", {a, b});
    for (size_t i = 0; i < a.size(); i++) {
        const float x = bits_to_float(u(a[i]));
        const float y = bits_to_float(u(b[i]));
        const bool both_zero = x == 0 && y == 0;
        const uint32_t wanted = x != x && y != y ? 0x7fffffff
                                : x != x         ? u(b[i])
                                : y != y         ? u(a[i])
                                : both_zero      ? u(a[i] | b[i])
                                                 : float_to_bits(std::fmin(x, y));
        REQUIRE(u(least[i]) == wanted);
        const float small_x = std::fabs(x) < 1e-38f ? 0.0f * x : x;
        const float small_y = std::fabs(y) < 1e-38f ? 0.0f * y : y;
        const float sum = small_x + small_y;
        REQUIRE(u(flushed[i]) == (sum != sum ? 0x7fffffff : float_to_bits(sum)));
    }
}

// Breaks if a clock stands still or runs backwards: kernels that wait for it would hang.
TEST_CASE("the clock runs forward", "[instruction]") {
    const std::vector<uint64_t> zeros(128, 0);
    const auto passed = run_instruction(
        "mov.u64 %rd2, %clock64; mov.u64 %rd3, %globaltimer; mov.u32 %r3, %clock;"
        "mov.u64 %rd4, %clock64; sub.s64 %d, %rd4, %rd2;",
        "b64", "b64", {zeros});
    for (const uint64_t steps : passed) {
        CHECK(steps == 3);
    }
}
