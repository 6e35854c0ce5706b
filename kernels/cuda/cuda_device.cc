#include "cuda/cuda_device.h"

#include <algorithm>

namespace fathom::cuda {

CudaDevice::CudaDevice(const PluginServices& services, const BackendOptions& options)
    : options_(options) {
    api_.load(services, options.driver_folder);
    options_.driver_folder = nullptr;  // The caller's text ends with this call.
    try {
        choose_device();
    } catch (...) {
        give_back();
        throw;
    }
}

CudaDevice::~CudaDevice() { give_back(); }

void CudaDevice::give_back() noexcept {
    if (context_ == nullptr) return;
    CUcontext popped = nullptr;
    if (api_.cuCtxPushCurrent(context_) == CUDA_SUCCESS) {
        for (CUmodule module : modules_) api_.cuModuleUnload(module);
        if (stream_ != nullptr) api_.cuStreamDestroy(stream_);
        api_.cuCtxPopCurrent(&popped);
    }
    api_.cuDevicePrimaryCtxRelease(device_);
    context_ = nullptr;
}

void CudaDevice::choose_device() {
    check(api_.cuInit(0), "cuInit");
    int count = 0;
    check(api_.cuDeviceGetCount(&count), "cuDeviceGetCount");
    if (options_.device_index < 0 || options_.device_index >= count) {
        fail(Status::kInvalidArgument, "cuda backend: device ", options_.device_index,
             " wanted, the driver has ", count);
    }
    check(api_.cuDeviceGet(&device_, options_.device_index), "cuDeviceGet");
    int major = 0;
    int minor = 0;
    check(api_.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device_),
          "cuDeviceGetAttribute");
    check(api_.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device_),
          "cuDeviceGetAttribute");
    char name[128] = "";
    check(api_.cuDeviceGetName(name, sizeof name - 1, device_), "cuDeviceGetName");
    check(api_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
    const ContextScope scope(*this);
    check(api_.cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    try {
        load_images(major * 10 + minor);
    } catch (const Error& error) {
        fail(error.status(), error.what(), "; device: ", printable(name), ", sm_",
             major * 10 + minor);
    }
    // The name goes into JSON, where these two would end it.
    for (char& c : name) {
        if (c == '"' || c == '\\') c = '\'';
    }
    description_ = concat("\"device\":\"", printable(name), "\",\"compute\":", major * 10 + minor,
                          ",\"driver\":", api_.version);
}

/// All kernels, each from the best image of its file that the driver takes.
void CudaDevice::load_images(int32_t architecture) {
    std::string_view last;
    for (int32_t i = 0; i < kKernelImageCount; ++i) {
        const std::string_view name = kKernelImages[i].name;
        if (name == last) continue;  // The table is sorted by name.
        last = name;
        if (!load_image(name, architecture)) {
            fail(Status::kUnsupported, "cuda backend: no kernels for this device in ", name);
        }
    }
}

namespace {

/// The newest image of that kind below `below` that may fit; null when there is none.
const KernelImage* newest_image(std::string_view name, bool is_cubin, int32_t architecture,
                                int32_t below) {
    const KernelImage* best = nullptr;
    for (int32_t i = 0; i < kKernelImageCount; ++i) {
        const KernelImage& image = kKernelImages[i];
        if (name != image.name || (image.is_cubin != 0) != is_cubin) continue;
        if (image.architecture > architecture || image.architecture >= below) continue;
        // Machine code runs on later chips of the same generation, PTX on all later ones.
        if (is_cubin && image.architecture / 10 != architecture / 10) continue;
        if (best == nullptr || image.architecture > best->architecture) best = &image;
    }
    return best;
}

}  // namespace

bool CudaDevice::load_image(std::string_view name, int32_t architecture) {
    for (const bool is_cubin : {true, false}) {
        int32_t below = INT32_MAX;
        while (const KernelImage* image = newest_image(name, is_cubin, architecture, below)) {
            below = image->architecture;
            CUmodule module = nullptr;
            const CUresult result = api_.cuModuleLoadData(&module, image->data);
            // A driver that takes PTX alone says so to machine code, and no later chip takes what
            // was made for one chip's own instructions (sm_90a).
            if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_IMAGE ||
                result == CUDA_ERROR_INVALID_PTX) {
                continue;
            }
            check(result, "cuModuleLoadData");
            modules_.push_back(module);
            return true;
        }
    }
    return false;
}

CUfunction CudaDevice::kernel(std::string_view name) const {
    const std::string text(name);
    CUfunction function = nullptr;
    for (CUmodule module : modules_) {
        const CUresult result = api_.cuModuleGetFunction(&function, module, text.c_str());
        if (result == CUDA_SUCCESS) return function;
        if (result != CUDA_ERROR_NOT_FOUND) check(result, "cuModuleGetFunction");
    }
    fail(Status::kInternal, "cuda backend: there is no kernel ", name);
}

CudaMemory::CudaMemory(const CudaDevice& device, uint64_t bytes, bool on_host) : device_(&device) {
    const CudaApi& api = device.api();
    if (bytes == 0) return;
    const CUresult result = on_host ? api.cuMemHostAlloc(reinterpret_cast<void**>(&host_), bytes, 0)
                                    : api.cuMemAlloc(&address_, bytes);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
        fail(Status::kNoMemory, "cuda backend: the ", on_host ? "system" : "device", " has no ",
             bytes, " bytes");
    }
    device.check(result, on_host ? "cuMemHostAlloc" : "cuMemAlloc");
}

CudaMemory::~CudaMemory() {
    if (address_ != 0) device_->api().cuMemFree(address_);
    if (host_ != nullptr) device_->api().cuMemFreeHost(host_);
}

CudaMemory& CudaMemory::operator=(CudaMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(address_, other.address_);
    std::swap(host_, other.host_);
    return *this;
}

}  // namespace fathom::cuda
