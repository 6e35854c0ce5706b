// Compiled with AVX-512 F, BW, DQ and VL; runs only where cpu_isa.cc found them.

#include <cstdint>

#include <immintrin.h>

#include "cpu/cpu_isa.h"

namespace fathom {
namespace {
// clang-format off
#include "cpu/vec_types.inl"
#include "cpu/vec_avx512.inl"
#include "cpu/elementwise.inl"
#include "cpu/dot.inl"
#include "cpu/linear.inl"
#include "cpu/attend.inl"
// clang-format on
}  // namespace

#define FATHOM_KERNELS kAvx512Kernels
#define FATHOM_ISA_NAME "avx512"
#include "cpu/kernels_table.inl"
}  // namespace fathom
