// As isa_avx512.cc, with AVX512_BF16.

#include <cstdint>

#include <immintrin.h>

#include "cpu/cpu_isa.h"

namespace fathom {
namespace {
// clang-format off
#include "cpu/vec_types.inl"
#include "cpu/vec_avx512.inl"
#define FATHOM_BF16_DOT
#include "cpu/vec_avx512_bf16.inl"
#include "cpu/elementwise.inl"
#include "cpu/dot.inl"
#include "cpu/linear.inl"
#include "cpu/attend.inl"
// clang-format on
}  // namespace

#define FATHOM_KERNELS kAvx512Bf16Kernels
#define FATHOM_ISA_NAME "avx512_bf16"
#include "cpu/kernels_table.inl"
}  // namespace fathom
