// Parses PTX text as nvcc 13 writes it.
#pragma once

#include <memory>
#include <string>

#include "ptx/ptx_module.h"

namespace virtual_gpu {

// Throws PtxError, which names the line and the word, on anything that is not understood.
std::unique_ptr<PtxModule> parse_ptx(std::string text);

}  // namespace virtual_gpu
