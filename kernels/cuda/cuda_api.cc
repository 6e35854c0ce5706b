#include "cuda/cuda_api.h"

#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

namespace fathom::cuda {
namespace {

/// Where drivers put it when the dynamic linker does not know the place.
constexpr const char* kPlaces[] = {
    "libcuda.so.1",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
};

void* open_driver(const PluginServices& services, const char* folder) {
    char report[384] = "";
    void* library = nullptr;
    if (folder != nullptr && folder[0] != '\0') {
        const std::string path = concat(folder, "/libcuda.so.1");
        const char* only = path.c_str();
        library = services.open_first(&only, 1, report, sizeof report);
    } else {
        library = services.open_first(kPlaces, std::size(kPlaces), report, sizeof report);
    }
    if (library == nullptr) {
        fail(Status::kUnsupported,
             "cuda backend: no driver, libcuda.so.1: ", std::string_view(report));
    }
    return library;
}

Status status_of(CUresult result) {
    switch (result) {
        case CUDA_ERROR_OUT_OF_MEMORY: return Status::kNoMemory;
        // After these the context is of no use: every later call fails alike.
        case CUDA_ERROR_ILLEGAL_ADDRESS:
        case CUDA_ERROR_LAUNCH_FAILED:
        case CUDA_ERROR_LAUNCH_TIMEOUT:
        case CUDA_ERROR_ASSERT:
        case CUDA_ERROR_HARDWARE_STACK_ERROR:
        case CUDA_ERROR_ILLEGAL_INSTRUCTION:
        case CUDA_ERROR_MISALIGNED_ADDRESS:
        case CUDA_ERROR_INVALID_ADDRESS_SPACE:
        case CUDA_ERROR_INVALID_PC:
        case CUDA_ERROR_ECC_UNCORRECTABLE:
        case CUDA_ERROR_NVLINK_UNCORRECTABLE:
        case CUDA_ERROR_CONTEXT_IS_DESTROYED:
        case CUDA_ERROR_DEVICE_UNAVAILABLE:
        case CUDA_ERROR_DEINITIALIZED:
        case CUDA_ERROR_EXTERNAL_DEVICE: return Status::kDeviceLost;
        default: return Status::kDevice;
    }
}

}  // namespace

void CudaApi::load(const PluginServices& services, const char* folder) {
    void* library = open_driver(services, folder);
    const auto find = reinterpret_cast<decltype(&::cuGetProcAddress)>(
        services.find(library, "cuGetProcAddress_v2"));
    const auto get_version = reinterpret_cast<decltype(&::cuDriverGetVersion)>(
        services.find(library, "cuDriverGetVersion"));
    if (get_version != nullptr) get_version(&version);
    if (find == nullptr || version < kDriverVersion) {
        fail(Status::kUnsupported, "cuda backend: found a driver of CUDA ", version / 1000, ".",
             version % 1000 / 10, ", wanted ", kDriverVersion / 1000, ".0 or later");
    }
    const auto get = [&](const char* name, auto** function) {
        void* address = nullptr;
        const CUresult result = find(name, &address, kDriverVersion, 0, nullptr);
        if (result != CUDA_SUCCESS || address == nullptr) {
            fail(Status::kUnsupported, "cuda backend: the driver, of CUDA ", version / 1000, ".",
                 version % 1000 / 10, ", has no ", name);
        }
        *function = reinterpret_cast<std::remove_reference_t<decltype(**function)>*>(address);
    };
#define FATHOM_FIND(name) get(#name, &this->name);
    FATHOM_CUDA_FUNCTIONS(FATHOM_FIND)
#undef FATHOM_FIND
}

void CudaApi::check(CUresult result, const char* call) const {
    if (result == CUDA_SUCCESS) return;
    const char* name = nullptr;
    if (cuGetErrorName != nullptr) cuGetErrorName(result, &name);
    fail(status_of(result), "cuda backend: ", call, ": ",
         std::string_view(name == nullptr ? "unknown error" : name));
}

}  // namespace fathom::cuda
