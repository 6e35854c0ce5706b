#pragma once

#include "backend/ops.h"

namespace fathom {

/// The CPU backend, always there. Defined in kernels/cpu/cpu_backend.cc.
const BackendTable* cpu_backend();

}  // namespace fathom
