#pragma once

#include "fathom/fathom.h"

namespace fathom::abi {

/// This machine's processor as a device.
fathom_device_info cpu_device_info();

}  // namespace fathom::abi
