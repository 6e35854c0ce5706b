#pragma once

#include <cstdint>

#include <cuda.h>

#include "backend/plugin_abi.h"
#include "base/status.h"

// The driver's functions, found by name when a device is opened: this library starts without them,
// and says which is missing. NVIDIA's header gives their types; nothing of it is linked.
namespace fathom::cuda {

// The names as programs write them: cuda.h turns some into names with a version suffix where they
// are used, and cuGetProcAddress does the same where they are asked for.
#define FATHOM_CUDA_FUNCTIONS(X)                                                               \
    X(cuInit)                                                                                  \
    X(cuDriverGetVersion)                                                                      \
    X(cuDeviceGetCount)                                                                        \
    X(cuDeviceGet)                                                                             \
    X(cuDeviceGetName)                                                                         \
    X(cuDeviceGetAttribute)                                                                    \
    X(cuGetErrorName) X(cuCtxSynchronize) X(cuModuleLoadData) X(cuModuleUnload)                \
        X(cuModuleGetFunction) X(cuFuncSetAttribute) X(cuLaunchKernel) X(cuMemHostAlloc)       \
            X(cuMemFreeHost) X(cuStreamCreate) X(cuStreamSynchronize) X(cuStreamEndCapture)    \
                X(cuGraphDestroy) X(cuGraphInstantiateWithFlags) X(cuGraphLaunch)              \
                    X(cuGraphExecDestroy) X(cuGraphGetNodes) X(cuDeviceTotalMem)               \
                        X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease)               \
                            X(cuCtxPushCurrent) X(cuCtxPopCurrent) X(cuMemAlloc) X(cuMemFree)  \
                                X(cuMemcpyHtoD) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync)      \
                                    X(cuMemcpyDtoDAsync) X(cuMemsetD8Async) X(cuStreamDestroy) \
                                        X(cuStreamBeginCapture)

/// Driver versions as the driver counts them: 1000 times the major one.
inline constexpr int kDriverVersion = 13000;

struct CudaApi {
#define FATHOM_DECLARE(name) decltype(&::name) name = nullptr;
    FATHOM_CUDA_FUNCTIONS(FATHOM_DECLARE)
#undef FATHOM_DECLARE
    int version = 0;

    /// Throws Error(kUnsupported) that says which file was missing and where it was looked for, or
    /// which driver was found and which is wanted. `folder` null: the system's places.
    void load(const PluginServices& services, const char* folder);

    /// Throws what a failed call means; a device that is lost for good is kDeviceLost.
    void check(CUresult result, const char* call) const;
};

}  // namespace fathom::cuda
