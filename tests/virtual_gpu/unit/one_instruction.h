// Runs a single PTX instruction over many inputs.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <initializer_list>

#include "unit/support.h"

namespace virtual_gpu {

// 'body' computes %d from %a, %b and %c, whose types are 'd' and 'abc' ("b16", "b32", "b64",
// "f32"). Every source has one value a thread, as 64 bits; so has the result. %p is a free
// predicate.
inline std::vector<uint64_t> run_instruction(const std::string& body, const std::string& d,
                                             const std::string& abc,
                                             std::initializer_list<std::vector<uint64_t>> sources) {
    const size_t n = sources.begin()->size();
    std::string text = ".version 9.0\n.target sm_90a\n.address_size 64\n.visible .entry k(";
    for (size_t i = 0; i <= sources.size(); i++) {
        text += (i == 0 ? "" : ", ") + std::string(".param .u64 k_") + std::to_string(i);
    }
    text += ") {\n.reg .b64 %rd<8>;\n.reg .b32 %r<4>;\n.reg .pred %p;\n.reg ." + d +
            " %d;\n.reg ." + abc + " %a, %b, %c;\n" +
            "mov.u32 %r0, %ctaid.x; mov.u32 %r1, %tid.x; mov.u32 %r2, %ntid.x;\n"
            "mad.lo.s32 %r0, %r0, %r2, %r1; mul.wide.u32 %rd0, %r0, 8;\n";
    const char* names[] = {"%a", "%b", "%c"};
    for (size_t i = 0; i < sources.size(); i++) {
        text += "ld.param.u64 %rd1, [k_" + std::to_string(i + 1) + "]; add.s64 %rd1, %rd1, %rd0; " +
                "ld.global." + abc + " " + names[i] + ", [%rd1];\n";
    }
    text += body + "\nld.param.u64 %rd1, [k_0]; add.s64 %rd1, %rd1, %rd0;\nst.global." + d +
            " [%rd1], %d;\nret;\n}\n";
    Machine machine(uint64_t{1} << 28);
    const auto program = machine.load(text);
    Kernel& kernel = *program->kernels.at("k");
    LaunchRequest request;
    request.grid = {static_cast<uint32_t>(n / 128)};
    request.block = {128};
    request.parameters.resize(kernel.parameter_bytes);
    const uint64_t out = upload(machine, std::vector<uint64_t>(n, 0));
    std::memcpy(request.parameters.data(), &out, 8);
    size_t i = 1;
    for (const std::vector<uint64_t>& source : sources) {
        const uint64_t at = upload(machine, source);
        std::memcpy(request.parameters.data() + 8 * i, &at, 8);
        i += 1;
    }
    const LaunchError error = machine.run(&kernel, request);
    INFO(body << "\n" << findings_text(machine));
    REQUIRE(error == LaunchError::kNone);
    REQUIRE(machine.findings().list().empty());
    return download<uint64_t>(machine, out, n);
}

// 0, 1, 2, ... 65,535: every encoding of 16 bits.
inline std::vector<uint64_t> all_16_bits() {
    std::vector<uint64_t> values(65536);
    for (size_t i = 0; i < values.size(); i++) {
        values[i] = i;
    }
    return values;
}

}  // namespace virtual_gpu
