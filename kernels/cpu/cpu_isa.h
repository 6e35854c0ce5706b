#pragma once

#include "backend/ops.h"
#include "cpu/cpu_kernels.h"

namespace fathom {

extern const CpuKernels kScalarKernels;
#if defined(__x86_64__)
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512Bf16Kernels;
#endif

/// The kernels of a variant, the fastest one for kAuto; null where processor or system lack it.
const CpuKernels* cpu_kernels(CpuIsa isa);

/// The highest variant that processor and system have; kAuto may prefer another.
const CpuKernels& best_cpu_kernels();

}  // namespace fathom
