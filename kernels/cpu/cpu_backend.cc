// The CPU backend's table: the edge where exceptions become status codes.

#include <cstring>
#include <exception>
#include <new>

#include "backend/backend.h"
#include "base/status.h"
#include "base/thread.h"
#include "cpu/cpu_executor.h"
#include "cpu/cpu_isa.h"

namespace fathom {
namespace {

void set_error(BackendError* error, const char* text) noexcept {
    if (error == nullptr) return;
    std::strncpy(error->text, text, sizeof error->text - 1);
    error->text[sizeof error->text - 1] = '\0';
}

/// Runs the body of an entry of the table; nothing but a status leaves it.
template <class Body>
int32_t guarded(BackendError* error, Body&& body) noexcept {
    try {
        body();
        return static_cast<int32_t>(Status::kOk);
    } catch (const Error& caught) {
        set_error(error, caught.what());
        return static_cast<int32_t>(caught.status());
    } catch (const std::bad_alloc&) {
        set_error(error, "cpu backend: out of memory");
        return static_cast<int32_t>(Status::kNoMemory);
    } catch (const std::exception& caught) {
        set_error(error, caught.what());
        return static_cast<int32_t>(Status::kInternal);
    } catch (...) {
        set_error(error, "cpu backend: unknown exception");
        return static_cast<int32_t>(Status::kInternal);
    }
}

/// Threads that a device will ask for.
int32_t wanted_threads(const BackendOptions& options) {
    return options.n_threads > 0 ? options.n_threads : usable_processors();
}

constexpr int32_t kMaxThreads = 1024;

int32_t open_device(const BackendOptions* options, void** device, BackendError* error) noexcept {
    return guarded(error, [&] {
        const CpuKernels* kernels = cpu_kernels(options->isa);
        if (kernels == nullptr) {
            fail(Status::kUnsupported, "cpu backend: instruction set ",
                 static_cast<int32_t>(options->isa),
                 " is not what this processor has; the best is ", best_cpu_kernels().name);
        }
        if (options->n_threads < 0 || options->n_threads > kMaxThreads) {
            fail(Status::kInvalidArgument, "cpu backend: ", options->n_threads,
                 " threads; wanted 0 to ", kMaxThreads);
        }
        *device = new CpuDevice(*kernels, *options, wanted_threads(*options));
    });
}

void close_device(void* device) noexcept { delete static_cast<CpuDevice*>(device); }

const char* describe(void* device) noexcept {
    return static_cast<CpuDevice*>(device)->description.c_str();
}

int32_t alloc(void*, uint64_t bytes, void** memory, BackendError* error) noexcept {
    return guarded(error, [&] {
        *memory = map_memory(bytes);
        if (*memory == nullptr) {
            fail(Status::kNoMemory, "cpu backend: the system has no ", bytes, " bytes for weights");
        }
    });
}

void free_memory(void*, void* memory, uint64_t bytes) noexcept { unmap_memory(memory, bytes); }

int32_t upload(void*, void* to, const void* from, uint64_t bytes, BackendError*) noexcept {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return static_cast<int32_t>(Status::kOk);
}

void memory_need(const Plan* plan, const Limits* limits, const BackendOptions* options,
                 uint64_t* workspace_bytes, uint64_t* kv_bytes) noexcept {
    *workspace_bytes = lay_out(*plan, *limits, wanted_threads(*options), nullptr).bytes;
    *kv_bytes = kv_cache_bytes(*plan, *limits);
}

int32_t prepare(void* device, const Plan* plan, const Limits* limits, void** executor,
                BackendError* error) noexcept {
    return guarded(error, [&] {
        check_plan(*plan, *limits);
        *executor = new CpuExecutor(*static_cast<CpuDevice*>(device), *plan, *limits);
    });
}

void release(void* executor) noexcept { delete static_cast<CpuExecutor*>(executor); }

int32_t run(void* executor, const Batch* batch, BackendError* error) noexcept {
    return guarded(error, [&] { static_cast<CpuExecutor*>(executor)->run(*batch); });
}

const float* logits(void* executor) noexcept {
    const CpuExecutor* self = static_cast<const CpuExecutor*>(executor);
    return self->slot<float>(self->plan.logits_slot);
}

int32_t copy_page(void* executor, int32_t from_page, int32_t to_page, int32_t n_tokens,
                  BackendError* error) noexcept {
    return guarded(error, [&] {
        static_cast<CpuExecutor*>(executor)->copy_page(from_page, to_page, n_tokens);
    });
}

constexpr BackendTable kTable = {
    .name = "cpu",
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .host_memory = 1,
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

const BackendTable* cpu_backend() { return &kTable; }

}  // namespace fathom
