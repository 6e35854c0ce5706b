// cuInit, devices, contexts, errors, look-up of functions.
#include <dlfcn.h>

#include <cstring>

#include "driver/driver.h"

using namespace virtual_gpu;

VIRTUAL_GPU_API cuInit(unsigned flags) {
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    initialise();
    return shared().settings.devices == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuDriverGetVersion(int* version) {
    initialise();
    *version = shared().settings.driver_version;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuDeviceGetCount(int* count) {
    *count = shared().settings.devices;
    return shared().is_initialised ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

VIRTUAL_GPU_API cuDeviceGet(CUdevice* device, int ordinal) {
    if (!shared().is_initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    *device = ordinal;
    return ordinal >= 0 && ordinal < shared().settings.devices ? CUDA_SUCCESS
                                                               : CUDA_ERROR_INVALID_DEVICE;
}

VIRTUAL_GPU_API cuDeviceGetName(char* name, int length, CUdevice) {
    const std::string text = "Fathom virtual GPU (a test device, not a card)";
    if (length > 0) {
        name[text.copy(name, static_cast<size_t>(length) - 1)] = '\0';
    }
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuDeviceTotalMem_v2(size_t* bytes, CUdevice) {
    *bytes = shared().settings.memory_bytes;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
    std::memset(uuid, 0, sizeof *uuid);
    uuid->bytes[0] = static_cast<char>(device + 1);
    return CUDA_SUCCESS;
}

// The shape of an H100 SXM, and of an A100 where the device plays sm_80.
VIRTUAL_GPU_API cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
    const int compute = shared().settings.compute;
    const bool is_hopper = compute >= 90;
    switch (attribute) {
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = compute / 10; break;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = compute % 10; break;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = is_hopper ? 132 : 108; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = 32; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 49152; break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
            *value = is_hopper ? 232448 : 166912;
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
            *value = is_hopper ? 233472 : 167936;
            break;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = (is_hopper ? 50 : 40) << 20; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 0x7fffffff; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: *value = 65535; break;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1755000; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 2619000; break;
        case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 5120; break;
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: *value = 1; break;
        case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: *value = 1; break;
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = 1; break;
        default: *value = 0;
    }
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
    if (!shared().is_initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (device < 0 || device >= shared().settings.devices) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *context = context_of(device);
    Driver& driver = *shared().devices[static_cast<size_t>(device)];
    std::lock_guard lock(driver.mutex);
    if (driver.machine == nullptr) {
        driver.machine = std::make_unique<Machine>(shared().settings.memory_bytes);
        driver.begin_section("");
    }
    return driver.sticky;
}

VIRTUAL_GPU_API cuDevicePrimaryCtxRelease_v2(CUdevice) { return CUDA_SUCCESS; }

VIRTUAL_GPU_API cuCtxSetCurrent(CUcontext context) {
    current_context() = context;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuCtxGetCurrent(CUcontext* context) {
    *context = current_context();
    return CUDA_SUCCESS;
}

static std::vector<CUcontext>& context_stack() {
    static thread_local std::vector<CUcontext> stack;
    return stack;
}

VIRTUAL_GPU_API cuCtxPushCurrent_v2(CUcontext context) {
    context_stack().push_back(current_context());
    current_context() = context;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuCtxPopCurrent_v2(CUcontext* context) {
    if (context_stack().empty()) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context != nullptr) {
        *context = current_context();
    }
    current_context() = context_stack().back();
    context_stack().pop_back();
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuCtxGetDevice(CUdevice* device) {
    for (int i = 0; i < shared().settings.devices; i++) {
        if (current_context() == context_of(i)) {
            *device = i;
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_INVALID_CONTEXT;
}

VIRTUAL_GPU_API cuCtxSynchronize() {
    std::lock_guard lock(Driver::instance().mutex);
    if (const CUresult result = Driver::instance().ready_outside_capture()) {
        return result;
    }
    return Driver::instance().drain_all();
}

namespace {

struct ErrorText {
    CUresult code;
    const char* name;
    const char* text;
};

constexpr ErrorText kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
     "too many blocks in cooperative launch"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

const ErrorText* find_error(CUresult code) {
    for (const ErrorText& error : kErrors) {
        if (error.code == code) {
            return &error;
        }
    }
    return nullptr;
}

}  // namespace

VIRTUAL_GPU_API cuGetErrorString(CUresult code, const char** text) {
    const ErrorText* error = find_error(code);
    *text = error == nullptr ? nullptr : error->text;
    return error == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGetErrorName(CUresult code, const char** text) {
    const ErrorText* error = find_error(code);
    *text = error == nullptr ? nullptr : error->name;
    return error == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

// The newest version of a function stands for its plain name, as in the real driver for callers
// that were built against these headers.
VIRTUAL_GPU_API cuGetProcAddress_v2(const char* symbol, void** function, int version, cuuint64_t,
                                    CUdriverProcAddressQueryResult* status) {
    initialise();
    Dl_info info;
    static void* self = dladdr(reinterpret_cast<void*>(&cuInit), &info) != 0
                            ? dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD)
                            : nullptr;
    *function = nullptr;
    if (version > shared().settings.driver_version) {
        if (status != nullptr) {
            *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
        }
        return CUDA_ERROR_NOT_FOUND;
    }
    const std::string name = symbol;
    for (const char* suffix : {"_v4", "_v3", "_v2", ""}) {
        if (*function == nullptr && name != shared().settings.missing) {
            *function = dlsym(self, (name + suffix).c_str());
        }
    }
    if (*function == nullptr && name != shared().settings.missing) {
        complain("driver function '" + name + "' is not supported by the virtual GPU");
    }
    if (status != nullptr) {
        *status = *function != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS
                                       : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    }
    return *function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
