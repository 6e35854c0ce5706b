// The CUDA backend's table: the edge where exceptions become status codes, and the plugin's entry.

#include <cstring>

#include "backend/plugin_abi.h"
#include "cpu/cpu_check.h"
#include "cuda/cuda_executor.h"

namespace fathom::cuda {
namespace {

const PluginServices* g_services = nullptr;

template <class Body>
int32_t guarded(BackendError* error, Body&& body) noexcept {
    int32_t status = static_cast<int32_t>(Status::kOk);
    try {
        body();
    } catch (...) {
        describe_exception([&](Status failed, const char* text) {
            status = static_cast<int32_t>(failed);
            if (error == nullptr) return;
            std::strncpy(error->text, text, sizeof error->text - 1);
            error->text[sizeof error->text - 1] = '\0';
        });
    }
    return status;
}

int32_t open_device(const BackendOptions* options, void** device, BackendError* error) noexcept {
    return guarded(error, [&] { *device = new CudaDevice(*g_services, *options); });
}

void close_device(void* device) noexcept { delete static_cast<CudaDevice*>(device); }

const char* describe(void* device) noexcept {
    return static_cast<CudaDevice*>(device)->description();
}

int32_t alloc(void* handle, uint64_t bytes, void** memory, BackendError* error) noexcept {
    return guarded(error, [&] {
        const CudaDevice& device = *static_cast<CudaDevice*>(handle);
        const ContextScope scope(device);
        CUdeviceptr address = 0;
        const CUresult result = device.api().cuMemAlloc(&address, bytes > 0 ? bytes : 1);
        if (result == CUDA_ERROR_OUT_OF_MEMORY) {
            fail(Status::kNoMemory, "cuda backend: the device has no ", bytes,
                 " bytes for weights");
        }
        device.check(result, "cuMemAlloc");
        *memory = reinterpret_cast<void*>(address);
    });
}

void free_memory(void* handle, void* memory, uint64_t) noexcept {
    if (memory == nullptr) return;
    guarded(nullptr, [&] {
        const CudaDevice& device = *static_cast<CudaDevice*>(handle);
        const ContextScope scope(device);
        device.api().cuMemFree(reinterpret_cast<CUdeviceptr>(memory));
    });
}

int32_t upload(void* handle, void* to, const void* from, uint64_t bytes,
               BackendError* error) noexcept {
    return guarded(error, [&] {
        if (bytes == 0) return;
        const CudaDevice& device = *static_cast<CudaDevice*>(handle);
        const ContextScope scope(device);
        device.check(device.api().cuMemcpyHtoD(reinterpret_cast<CUdeviceptr>(to), from, bytes),
                     "cuMemcpyHtoD");
    });
}

void memory_need(const Plan* plan, const Limits* limits, const BackendOptions*,
                 uint64_t* workspace_bytes, uint64_t* kv_bytes) noexcept {
    *workspace_bytes = UINT64_MAX;
    *kv_bytes = UINT64_MAX;
    guarded(nullptr, [&] {
        const CudaWorkspace need = lay_out(*plan, *limits, 0);
        *workspace_bytes = need.bytes + need.host_bytes;
        *kv_bytes = kv_cache_bytes(*plan, *limits);
    });
}

int32_t prepare(void* handle, const Plan* plan, const Limits* limits, void** executor,
                BackendError* error) noexcept {
    return guarded(error, [&] {
        check_plan(*plan, *limits);
        const CudaDevice& device = *static_cast<CudaDevice*>(handle);
        const ContextScope scope(device);
        *executor = new CudaExecutor(device, *plan, *limits);
    });
}

void release(void* handle) noexcept {
    guarded(nullptr, [&] {
        auto* executor = static_cast<CudaExecutor*>(handle);
        if (executor == nullptr) return;
        const ContextScope scope(executor->device());
        delete executor;
    });
}

int32_t run(void* handle, const Batch* batch, BackendError* error) noexcept {
    return guarded(error, [&] {
        auto* executor = static_cast<CudaExecutor*>(handle);
        const ContextScope scope(executor->device());
        executor->run(*batch);
    });
}

const float* logits(void* executor) noexcept {
    return static_cast<CudaExecutor*>(executor)->logits();
}

int32_t copy_page(void* handle, int32_t from_page, int32_t to_page, int32_t n_tokens,
                  BackendError* error) noexcept {
    return guarded(error, [&] {
        auto* executor = static_cast<CudaExecutor*>(handle);
        const ContextScope scope(executor->device());
        executor->copy_page(from_page, to_page, n_tokens);
    });
}

constexpr BackendTable kTable = {
    .name = "cuda",
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .host_memory = 0,
    .alloc = alloc,
    .free = free_memory,
    .upload = upload,
    .memory_need = memory_need,
    .prepare = prepare,
    .release = release,
    .run = run,
    .logits = logits,
    .copy_page = copy_page,
};

}  // namespace
}  // namespace fathom::cuda

extern "C" __attribute__((visibility("default"))) const fathom::BackendTable* fathom_plugin_backend(
    const fathom::PluginServices* services, const char* build_id, const char** own_build_id) {
    *own_build_id = fathom::kBuildId;
    if (std::strcmp(build_id, fathom::kBuildId) != 0) return nullptr;
    fathom::cuda::g_services = services;
    return &fathom::cuda::kTable;
}
