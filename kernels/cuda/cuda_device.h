#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/cuda_api.h"

namespace fathom::cuda {

/// A compiled kernel file inside this library; the table is made by the build.
struct KernelImage {
    const char* name;
    int32_t architecture;  // ten times the compute capability
    int32_t is_cubin;      // machine code; else PTX
    const unsigned char* data;
    const unsigned char* end;
};
extern const KernelImage kKernelImages[];
extern const int32_t kKernelImageCount;

/// A device: its context, its stream and its kernels. The context is the device's primary one,
/// which the host may use too; it is current only inside the calls of the table.
class CudaDevice {
public:
    CudaDevice(const PluginServices& services, const BackendOptions& options);
    ~CudaDevice();
    CudaDevice(const CudaDevice&) = delete;
    CudaDevice& operator=(const CudaDevice&) = delete;

    const CudaApi& api() const { return api_; }
    const BackendOptions& options() const { return options_; }
    CUstream stream() const { return stream_; }
    CUcontext context() const { return context_; }
    const char* description() const { return description_.c_str(); }

    /// The kernel of that name, which exists in one of the images.
    CUfunction kernel(std::string_view name) const;

    void check(CUresult result, const char* call) const { api_.check(result, call); }

private:
    void choose_device();
    void load_images(int32_t architecture);
    bool load_image(std::string_view name, int32_t architecture);
    void give_back() noexcept;

    CudaApi api_;
    BackendOptions options_;
    CUdevice device_ = 0;
    CUcontext context_ = nullptr;
    CUstream stream_ = nullptr;
    std::vector<CUmodule> modules_;
    std::string description_;
};

/// Makes the device's context current, and the caller's own again at the end.
class ContextScope {
public:
    explicit ContextScope(const CudaDevice& device) : api_(device.api()) {
        device.check(api_.cuCtxPushCurrent(device.context()), "cuCtxPushCurrent");
    }
    ~ContextScope() {
        CUcontext popped = nullptr;
        api_.cuCtxPopCurrent(&popped);
    }
    ContextScope(const ContextScope&) = delete;
    ContextScope& operator=(const ContextScope&) = delete;

private:
    const CudaApi& api_;
};

/// Memory of the device, or of the host where the device reads and writes it directly.
class CudaMemory {
public:
    CudaMemory() = default;
    CudaMemory(const CudaDevice& device, uint64_t bytes, bool on_host);
    ~CudaMemory();
    CudaMemory(CudaMemory&& other) noexcept { *this = std::move(other); }
    CudaMemory& operator=(CudaMemory&& other) noexcept;

    CUdeviceptr address() const { return address_; }
    unsigned char* host() const { return host_; }

private:
    const CudaDevice* device_ = nullptr;
    CUdeviceptr address_ = 0;
    unsigned char* host_ = nullptr;
};

}  // namespace fathom::cuda
