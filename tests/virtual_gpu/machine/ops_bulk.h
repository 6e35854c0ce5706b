// Parts of 'cp' that have a file of their own.
#pragma once

#include "machine/decoder.h"

namespace virtual_gpu {

void decode_bulk(Decoding& d);          // cp.async.bulk
void decode_async_arrive(Decoding& d);  // cp.async.mbarrier.arrive

}  // namespace virtual_gpu
