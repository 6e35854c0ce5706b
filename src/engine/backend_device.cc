#include "engine/backend_device.h"

#include "backend/check_backend.h"

namespace fathom {

BackendDevice::BackendDevice(const BackendTable& table, const BackendOptions& options)
    : table_(table), options_(options) {
    BackendError error{};
    check_backend(table_, table_.open(&options_, &handle_, &error), error);
}

BackendDevice::~BackendDevice() { table_.close(handle_); }

}  // namespace fathom
