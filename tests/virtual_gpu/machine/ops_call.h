// Calls of functions that the compiler did not inline.
#pragma once

#include "machine/decoder.h"

namespace virtual_gpu {

void decode_call(Decoding& d);
void decode_return(Decoding& d);

}  // namespace virtual_gpu
