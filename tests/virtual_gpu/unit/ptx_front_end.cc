// The PTX front end: what it understands, and that it refuses the rest by name and line.
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "ptx/ptx_error.h"
#include "ptx/ptx_parser.h"
#include "unit/support.h"

using namespace virtual_gpu;
using Catch::Matchers::ContainsSubstring;

namespace {

const std::string kHead = ".version 9.0\n.target sm_90a\n.address_size 64\n";

std::string in_kernel(const std::string& body) {
    return kHead + ".visible .entry k(.param .u64 k_p)\n{\n.reg .pred %p<4>;\n.reg .b32 %r<8>;\n" +
           ".reg .f32 %f<8>;\n.reg .b64 %rd<4>;\n" + body + "\nret;\n}\n";
}

std::string error_of(const std::string& text) {
    Machine machine(1 << 20);
    try {
        machine.load(text);
    } catch (const PtxError& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace

// Breaks if a form that nvcc or inline assembly writes is no longer understood.
TEST_CASE("the forms of real PTX are understood", "[ptx]") {
    const std::string text = kHead + R"(
.extern .shared .align 16 .b8 pool[];
.visible .global .align 4 .b8 table[8] = {1, 2, 3, 0x4, 5, 6, 7, 255};
.const .align 4 .f32 pair[2] = {0f3F800000, 0fBF800000};
.visible .entry k(
    .param .u64 .ptr .global .align 1 k_0,
    .param .align 64 .b8 k_1[128],
    .param .f32 k_2
)
.maxntid 128, 2, 1
.minnctapersm 2
{
    .reg .pred %p<3>;
    .reg .b32 %r<5>;
    .reg .b64 %rd<3>;
    .shared .align 8 .b8 part[24];
    .loc 1 4 0
    ld.param.u64 %rd1, [k_0];   // a comment
    ld.param.u32 %r1, [k_1+124];
    /* another,
       over two lines */
    .loc 2 7 3, function_name $L__info_string0, inlined_at 1 9 5
    { .reg .b32 %r1; .reg .pred p; mov.u32 %r1, -5; setp.ne.s32 p, %r1, 0;
      @p bra DONE; mov.u32 %r1, part; DONE: }
    shfl.sync.bfly.b32 %r2|%p1, %r1, 16, 31, -1;
    @!%p1 bra $L__BB0_1;
    mov.b64 %rd2, k_1;
$L__BB0_1:
    .pragma "nounroll";
    { .reg .pred p; setp.eq.s32 p, %r1, 0; @p bra DONE; DONE: }
    mov.u32 %r3, pool;
    mov.u32 %r4, part+8;
    ret;
}
.file 1 "/a/b/top.cu"
.file 2 "/a/helper.h", 1700000000, 12
.section .debug_str { $L__info_string0: .b8 95,90,0 }
)";
    Machine machine(1 << 20);
    const auto program = machine.load(text);
    Kernel& kernel = *program->kernels.at("k");
    CHECK(kernel.max_threads == 256);
    REQUIRE(kernel.parameters.size() == 3);
    // .ptr's alignment speaks of the memory pointed to; the array's of the parameter.
    CHECK(kernel.parameters[1].offset == 64);
    CHECK(kernel.parameters[2].offset == 192);
    CHECK(kernel.static_shared_bytes ==
          32);  // 24, rounded up to where 16-byte aligned pool begins.
    CHECK(describe_location(*program->source, kernel.code[2].location) ==
          "helper.h:7 (inlined at top.cu:9)");
    const Global& table = program->globals.at("table");
    REQUIRE(table.bytes == 8);
    CHECK(machine.memory().find(table.address, 8)[7] == 255);
    // Both inner labels are called DONE; each jump finds its own.
    CHECK(kernel.code[4].target == 6);
}

// Breaks if something unknown is skipped: a kernel that half runs would prove nothing.
TEST_CASE("the unknown is refused by name and line", "[ptx]") {
    CHECK_THAT(error_of(in_kernel("frobnicate.u32 %r1, %r2;")),
               ContainsSubstring("PTX line 10: k: 'frobnicate.u32': unknown opcode"));
    CHECK_THAT(error_of(in_kernel("add.weird.s32 %r1, %r2, %r3;")),
               ContainsSubstring("suffix '.weird' is not supported"));
    CHECK_THAT(error_of(in_kernel("add.rna.f32 %f1, %f2, %f3;")), ContainsSubstring("'.rna'"));
    CHECK_THAT(error_of(in_kernel("add.s32 %r1, %r2;")), ContainsSubstring("operand is missing"));
    CHECK_THAT(error_of(in_kernel("add.s32 %r1, %r2, %r3, %r4;")), ContainsSubstring("4 operands"));
    CHECK_THAT(error_of(in_kernel("add.s32 %r1, %r2, %nothing;")), ContainsSubstring("%nothing"));
    CHECK_THAT(error_of(in_kernel("bra NOWHERE;")), ContainsSubstring("'NOWHERE'"));
    CHECK_THAT(error_of(in_kernel(".maxnreg 3;")), ContainsSubstring("directive '.maxnreg'"));
    CHECK_THAT(error_of(in_kernel("mov.u32 %r1, %pm0;")), ContainsSubstring("'%pm0'"));
    CHECK_THAT(error_of(in_kernel("@%r1 ret;")), ContainsSubstring("'%r1' is no predicate"));
    CHECK_THAT(error_of(in_kernel("call (%r1), f, (%r2);")), ContainsSubstring("'.param'"));
    CHECK_THAT(error_of(in_kernel("call f, ();")), ContainsSubstring("'f' is not defined"));
    CHECK_THAT(error_of(kHead + ".func f() { call f, (); ret; }\n.entry k() { call f, (); ret; }"),
               ContainsSubstring("calls itself"));
    CHECK_THAT(error_of(in_kernel("ld.param.u64 %rd1, [k_p+8];")),
               ContainsSubstring("beyond its parameter"));
    CHECK_THAT(error_of(in_kernel("add.s32 %r1, %r2, 0f3F80;")), ContainsSubstring("number"));
    CHECK_THAT(error_of(kHead + ".visible .entry k() { ret;"), ContainsSubstring("expected"));
    CHECK_THAT(error_of(kHead + ".global .b8 x[99999999999];"), ContainsSubstring("too large"));
    CHECK_THAT(error_of("/* no end"), ContainsSubstring("comment without an end"));
    CHECK(error_of(in_kernel("add.s32 %r1, %r2, %r3;")) == "no error");
}
