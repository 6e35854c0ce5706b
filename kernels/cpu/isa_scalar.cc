// Plain C++: any processor.

#include <cstdint>

#include "cpu/cpu_isa.h"

namespace fathom {
namespace {
// clang-format off
#include "cpu/vec_types.inl"
#include "cpu/vec_scalar.inl"
#include "cpu/elementwise.inl"
#include "cpu/dot.inl"
#include "cpu/linear.inl"
#include "cpu/attend.inl"
// clang-format on
}  // namespace

#define FATHOM_KERNELS kScalarKernels
#define FATHOM_ISA_NAME "scalar"
#include "cpu/kernels_table.inl"
}  // namespace fathom
