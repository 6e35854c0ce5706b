// Device and pinned memory, copies, fills.
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "driver/driver.h"

using namespace virtual_gpu;

namespace virtual_gpu {
namespace {

// A copy's device range must lie inside one allocation.
uint8_t* device_bytes(CUdeviceptr address, size_t bytes, const char* what) {
    DeviceMemory& memory = owner_of(address).machine->memory();
    uint8_t* at = memory.find(address, bytes);
    if (at == nullptr) {
        complain(std::string("out-of-bounds ") + what + " of " + std::to_string(bytes) +
                 " bytes: " + memory.describe(address));
    }
    return at;
}

}  // namespace

CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes) {
    uint8_t* at = device_bytes(to, bytes, "copy to the device");
    if (at == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::memcpy(at, from, bytes);
    DeviceMemory& memory = owner_of(to).machine->memory();
    if (!memory.last_is_host()) {
        memory.mark_written(to, bytes);
    }
    return CUDA_SUCCESS;
}

CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes) {
    const uint8_t* at = device_bytes(from, bytes, "copy to the host");
    if (at == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    DeviceMemory& memory = owner_of(from).machine->memory();
    if (shared().settings.check && !memory.last_is_host() && !memory.is_written(from, bytes)) {
        complain("uninitialised copy to the host of " + std::to_string(bytes) +
                 " bytes: " + memory.describe(from));
    }
    std::memcpy(to, at, bytes);
    return CUDA_SUCCESS;
}

CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    uint8_t* const target = device_bytes(to, bytes, "copy on the device");
    const uint8_t* const source = device_bytes(from, bytes, "copy on the device");
    if (target == nullptr || source == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::memmove(target, source, bytes);
    DeviceMemory& memory = owner_of(to).machine->memory();
    if (&owner_of(from) != &owner_of(to)) {
        memory.mark_written(to, bytes);
    } else if (!memory.last_is_host()) {
        memory.copy_marks(to, from, bytes);
    }
    return CUDA_SUCCESS;
}

}  // namespace virtual_gpu

namespace {

CUresult allocate(CUdeviceptr* address, size_t bytes) {
    Driver& driver = Driver::instance();
    if (bytes == 0 || address == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (shared().settings.fail_allocation != 0 && --shared().settings.fail_allocation == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *address = driver.machine->memory().allocate(bytes);
    return *address == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

void pin(Driver& driver, void* pointer, size_t bytes) {
    std::lock_guard lock(shared().mutex);
    shared().pinned[pointer] = bytes;
    driver.machine->memory().map_host(pointer, bytes);
}

bool unpin(Driver& driver, void* pointer) {
    std::lock_guard lock(shared().mutex);
    driver.machine->memory().unmap_host(pointer);
    return shared().pinned.erase(pointer) != 0;
}

CUresult fill(CUdeviceptr to, uint32_t value, size_t element, size_t count) {
    std::vector<uint8_t> bytes(element * count);
    for (size_t i = 0; i < bytes.size(); i++) {
        bytes[i] = static_cast<uint8_t>(value >> (8 * (i % element)));
    }
    return copy_to_device(to, bytes.data(), bytes.size());
}

}  // namespace

VIRTUAL_GPU_API cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = Driver::instance().ready_outside_capture();
    return result != CUDA_SUCCESS ? result : allocate(address, bytes);
}

VIRTUAL_GPU_API cuMemFree_v2(CUdeviceptr address) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready_outside_capture()) {
        return result;
    }
    if (address == 0) {
        return CUDA_SUCCESS;
    }
    driver.drain_all();  // Freeing waits for the work that is under way.
    DeviceMemory& memory = owner_of(address).machine->memory();
    return memory.free(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

VIRTUAL_GPU_API cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream) {
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = Driver::instance().ready();
    return result != CUDA_SUCCESS ? result : allocate(address, bytes);
}

VIRTUAL_GPU_API cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [address] {
        return Driver::instance().machine->memory().free(address) ? CUDA_SUCCESS
                                                                  : CUDA_ERROR_INVALID_VALUE;
    });
}

VIRTUAL_GPU_API cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
    std::lock_guard lock(Driver::instance().mutex);
    if (const CUresult result = Driver::instance().ready()) {
        return result;
    }
    const DeviceMemory& memory = Driver::instance().machine->memory();
    *total_bytes = memory.capacity();
    *free_bytes = memory.capacity() - memory.used();
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready_outside_capture()) {
        return result;
    }
    if (shared().settings.fail_allocation != 0 && --shared().settings.fail_allocation == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *pointer = bytes == 0 ? nullptr : std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*pointer == nullptr) {
        return bytes == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
    }
    std::memset(*pointer, 0xcb, bytes);  // What a fresh buffer holds, nobody may rely on.
    pin(driver, *pointer, bytes);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuMemAllocHost_v2(void** pointer, size_t bytes) {
    return cuMemHostAlloc(pointer, bytes, 0);
}

VIRTUAL_GPU_API cuMemFreeHost(void* pointer) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    driver.drain_all();
    if (!unpin(driver, pointer)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    std::free(pointer);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuMemHostRegister_v2(void* pointer, size_t bytes, unsigned) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready_outside_capture()) {
        return result;
    }
    pin(driver, pointer, bytes);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuMemHostUnregister(void* pointer) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    driver.drain_all();
    return unpin(driver, pointer) ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

VIRTUAL_GPU_API cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* pointer, unsigned) {
    std::lock_guard lock(Driver::instance().mutex);
    *address = reinterpret_cast<CUdeviceptr>(pointer);
    return is_pinned(pointer, 1) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// Copies that the host waits for. They belong to the default stream.
VIRTUAL_GPU_API cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = Driver::instance().ready_outside_capture();
    return result != CUDA_SUCCESS ? result : Driver::instance().submit(nullptr, [=] {
        return copy_to_device(to, from, bytes);
    });
}

VIRTUAL_GPU_API cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = Driver::instance().ready_outside_capture();
    return result != CUDA_SUCCESS
               ? result
               : Driver::instance().submit(nullptr, [=] { return copy_to_host(to, from, bytes); });
}

VIRTUAL_GPU_API cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = Driver::instance().ready_outside_capture();
    return result != CUDA_SUCCESS ? result : Driver::instance().submit(nullptr, [=] {
        return copy_on_device(to, from, bytes);
    });
}

// From pageable memory the driver takes the bytes before it returns; from pinned memory it may read
// them as late as the stream gets there, and here it does.
VIRTUAL_GPU_API cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes,
                                     CUstream stream) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (is_pinned(from, bytes)) {
        return driver.submit(stream, [=] { return copy_to_device(to, from, bytes); });
    }
    const auto* first = static_cast<const uint8_t*>(from);
    const auto kept = std::make_shared<std::vector<uint8_t>>(first, first + bytes);
    return driver.submit(stream, [=] { return copy_to_device(to, kept->data(), bytes); });
}

// To pageable memory the call returns when the bytes are there.
VIRTUAL_GPU_API cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    const CUresult result = driver.submit(stream, [=] { return copy_to_host(to, from, bytes); });
    Stream* queue = driver.stream_of(stream);
    if (result != CUDA_SUCCESS || queue->capture != nullptr || is_pinned(to, bytes)) {
        return result;
    }
    return driver.drain(queue);
}

VIRTUAL_GPU_API cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                     CUstream stream) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [=] { return copy_on_device(to, from, bytes); });
}

VIRTUAL_GPU_API cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, CUstream stream) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [=] { return fill(to, value, 1, n); });
}

VIRTUAL_GPU_API cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t n, CUstream stream) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [=] { return fill(to, value, 2, n); });
}

VIRTUAL_GPU_API cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t n, CUstream stream) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [=] { return fill(to, value, 4, n); });
}

VIRTUAL_GPU_API cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t n) {
    return cuMemsetD8Async(to, value, n, nullptr);
}

VIRTUAL_GPU_API cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t n) {
    return cuMemsetD32Async(to, value, n, nullptr);
}

VIRTUAL_GPU_API cuPointerGetAttribute(void* value, CUpointer_attribute attribute,
                                      CUdeviceptr address) {
    std::lock_guard lock(Driver::instance().mutex);
    DeviceMemory& memory = owner_of(address).machine->memory();
    if (attribute != CU_POINTER_ATTRIBUTE_MEMORY_TYPE || memory.find(address, 1) == nullptr) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *static_cast<unsigned*>(value) =
        memory.last_is_host() ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
    return CUDA_SUCCESS;
}
