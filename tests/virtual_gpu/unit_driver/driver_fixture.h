// The stand-in driver, opened as a program opens the real one.
#pragma once

#include <cuda.h>
#include <dlfcn.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

// Functions that the tests call, with their plain names.
// clang-format off
#define DRIVER_FUNCTIONS(X) \
    X(cuInit) X(cuDriverGetVersion) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetAttribute) \
    X(cuDevicePrimaryCtxRetain) X(cuCtxSetCurrent) X(cuCtxSynchronize) X(cuGetErrorName) \
    X(cuMemAlloc_v2) X(cuMemFree_v2) X(cuMemHostAlloc) X(cuMemFreeHost) X(cuMemGetInfo_v2) \
    X(cuMemcpyHtoD_v2) X(cuMemcpyDtoH_v2) X(cuMemcpyHtoDAsync_v2) X(cuMemcpyDtoHAsync_v2) \
    X(cuMemcpyDtoDAsync_v2) X(cuMemsetD32Async) X(cuStreamCreate) X(cuStreamDestroy_v2) \
    X(cuStreamSynchronize) X(cuStreamQuery) X(cuStreamWaitEvent) X(cuStreamBeginCapture_v2) \
    X(cuStreamEndCapture) X(cuEventCreate) X(cuEventDestroy_v2) X(cuEventRecord) \
    X(cuEventSynchronize) X(cuLibraryLoadData) X(cuLibraryGetKernel) X(cuKernelGetFunction) \
    X(cuFuncSetAttribute) X(cuLaunchKernelEx) X(cuLaunchKernel) X(cuLaunchCooperativeKernel) \
    X(cuGraphCreate) X(cuGraphDestroy) X(cuGraphAddKernelNode_v2) X(cuGraphInstantiateWithFlags) \
    X(cuGraphExecKernelNodeSetParams_v2) X(cuGraphLaunch) X(cuGraphExecDestroy) \
    X(cuGraphGetNodes) X(cuTensorMapEncodeTiled)
// clang-format on

struct DriverLibrary {
    // A fresh copy of the library has a state of its own.
    explicit DriverLibrary(bool fresh = false) {
        handle = fresh ? dlmopen(LM_ID_NEWLM, VIRTUAL_GPU_DRIVER, RTLD_NOW)
                       : dlopen(VIRTUAL_GPU_DRIVER, RTLD_NOW);
        REQUIRE(handle != nullptr);
#define LOAD(name) load(#name, &name##_);
        DRIVER_FUNCTIONS(LOAD)
#undef LOAD
        load("virtual_gpu_set", &set);
        load("virtual_gpu_get", &get);
        load("virtual_gpu_reset", &reset);
        load("virtual_gpu_section", &section);
        load("virtual_gpu_name", &name);
        load("virtual_gpu_write", &write);
        load("cuGetProcAddress_v2", &get_proc_address);
    }

    std::string text(const char* what) {
        std::string all(get(what, nullptr, 0) + 1, '\0');
        get(what, all.data(), all.size());
        all.pop_back();
        return all;
    }

#define DECLARE(name) decltype(&::name) name##_ = nullptr;
    DRIVER_FUNCTIONS(DECLARE)
#undef DECLARE
    void (*set)(const char*) = nullptr;
    size_t (*get)(const char*, char*, size_t) = nullptr;
    void (*reset)() = nullptr;
    void (*section)(const char*) = nullptr;
    int (*name)(CUdeviceptr, const char*) = nullptr;
    int (*write)(const char*, const char*) = nullptr;
    decltype(&::cuGetProcAddress_v2) get_proc_address = nullptr;
    void* handle = nullptr;

private:
    template <class F>
    void load(const char* name, F** function) {
        *function = reinterpret_cast<F*>(dlsym(handle, name));
        INFO(name);
        REQUIRE(*function != nullptr);
    }
};

inline std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// A device with a context and the test kernels, with nothing left over from other tests.
struct DriverFixture {
    DriverFixture() {
        d.reset();
        d.set("seed=0,compute=90");
        REQUIRE(d.cuInit_(0) == CUDA_SUCCESS);
        CUdevice device = 0;
        CUcontext context = nullptr;
        REQUIRE(d.cuDeviceGet_(&device, 0) == CUDA_SUCCESS);
        REQUIRE(d.cuDevicePrimaryCtxRetain_(&context, device) == CUDA_SUCCESS);
        REQUIRE(d.cuCtxSetCurrent_(context) == CUDA_SUCCESS);
    }
    ~DriverFixture() {
        d.cuCtxSynchronize_();
        d.reset();
    }

    CUfunction function(const char* module, const char* name, const char* arch = ".80") {
        return function_of(read_text(std::string(VIRTUAL_GPU_PTX_DIR "/") + module + arch + ".ptx"),
                           name);
    }

    CUfunction function_of(const std::string& ptx, const char* name) {
        CUlibrary library = nullptr;
        CUkernel kernel = nullptr;
        CUfunction found = nullptr;
        REQUIRE(d.cuLibraryLoadData_(&library, ptx.c_str(), nullptr, nullptr, 0, nullptr, nullptr,
                                     0) == CUDA_SUCCESS);
        REQUIRE(d.cuLibraryGetKernel_(&kernel, library, name) == CUDA_SUCCESS);
        REQUIRE(d.cuKernelGetFunction_(&found, kernel) == CUDA_SUCCESS);
        return found;
    }

    CUdeviceptr allocate(size_t bytes) {
        CUdeviceptr address = 0;
        REQUIRE(d.cuMemAlloc_v2_(&address, bytes) == CUDA_SUCCESS);
        return address;
    }

    CUstream stream() {
        CUstream made = nullptr;
        REQUIRE(d.cuStreamCreate_(&made, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
        return made;
    }

    DriverLibrary d;
};
