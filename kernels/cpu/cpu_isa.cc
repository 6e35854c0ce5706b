#include "cpu/cpu_isa.h"

#include <initializer_list>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fathom {
namespace {

#if defined(__x86_64__)

struct CpuidResult {
    uint32_t eax = 0;
    uint32_t ebx = 0;
    uint32_t ecx = 0;
    uint32_t edx = 0;
};

CpuidResult cpuid(uint32_t leaf, uint32_t subleaf) {
    CpuidResult r;
    if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
    return r;
}

/// Register state that the operating system saves on a context switch (XCR0). Without it the
/// instructions fault whatever cpuid says.
uint64_t saved_state() {
    uint32_t low = 0;
    uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (static_cast<uint64_t>(high) << 32) | low;
}

bool has_bits(uint32_t value, std::initializer_list<int> bits) {
    for (const int bit : bits) {
        if ((value >> bit & 1u) == 0) return false;
    }
    return true;
}

CpuIsa best_isa() {
    const CpuidResult base = cpuid(1, 0);
    // FMA, XSAVE enabled by the system, AVX, F16C.
    if (!has_bits(base.ecx, {12, 27, 28, 29})) return CpuIsa::kScalar;
    const uint64_t state = saved_state();
    if ((state & 0x6) != 0x6) return CpuIsa::kScalar;  // SSE and AVX registers
    const CpuidResult extended = cpuid(7, 0);
    if (!has_bits(extended.ebx, {5})) return CpuIsa::kScalar;  // AVX2
    // AVX-512 F, DQ, BW, VL; then mask registers and both halves of the ZMM registers.
    if (!has_bits(extended.ebx, {16, 17, 30, 31}) || (state & 0xe6) != 0xe6) {
        return CpuIsa::kAvx2;
    }
    if (!has_bits(cpuid(7, 1).eax, {5})) return CpuIsa::kAvx512;  // AVX512_BF16
    return CpuIsa::kAvx512Bf16;
}

/// The best variant is not always the one to take: Intel's cores start a BF16 product-sum every
/// other cycle, which is half of what F32 multiply-adds reach there (30 against 62 billion products
/// a second measured on one core of a Xeon, model 207), and F32 activations are exact besides.
CpuIsa chosen_isa(CpuIsa best) {
    const bool intel = cpuid(0, 0).ebx == 0x756e6547;  // "Genu"
    return intel && best == CpuIsa::kAvx512Bf16 ? CpuIsa::kAvx512 : best;
}

#endif

}  // namespace

const CpuKernels* cpu_kernels(CpuIsa isa) {
#if defined(__x86_64__)
    const CpuIsa best = best_isa();
    if (isa == CpuIsa::kAuto) isa = chosen_isa(best);
    if (static_cast<int32_t>(isa) > static_cast<int32_t>(best)) return nullptr;
    switch (isa) {
        case CpuIsa::kAvx2: return &kAvx2Kernels;
        case CpuIsa::kAvx512: return &kAvx512Kernels;
        case CpuIsa::kAvx512Bf16: return &kAvx512Bf16Kernels;
        case CpuIsa::kScalar: return &kScalarKernels;
        case CpuIsa::kAuto: break;
    }
    return nullptr;
#else
    return isa == CpuIsa::kAuto || isa == CpuIsa::kScalar ? &kScalarKernels : nullptr;
#endif
}

const CpuKernels& best_cpu_kernels() {
#if defined(__x86_64__)
    return *cpu_kernels(best_isa());
#else
    return kScalarKernels;
#endif
}

}  // namespace fathom
