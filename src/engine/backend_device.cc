#include "engine/backend_device.h"

#include "backend/check_backend.h"

namespace fathom {

BackendDevice::BackendDevice(const BackendTable& table, const BackendOptions& options)
    : table_(table), options_(options) {
    BackendError error{};
    check_backend(table_, table_.open(&options_, &handle_, &error), error);
}

BackendDevice::~BackendDevice() { table_.close(handle_); }

BackendExecutor prepare(const BackendDevice& device, const Plan& plan, const Limits& limits) {
    const BackendTable& table = device.table();
    void* executor = nullptr;
    BackendError error{};
    check_backend(table, table.prepare(device.handle(), &plan, &limits, &executor, &error), error);
    return BackendExecutor(executor, ExecutorRelease{&table});
}

}  // namespace fathom
