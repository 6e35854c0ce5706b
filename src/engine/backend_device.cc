#include "engine/backend_device.h"

#include <string_view>

#include "base/status.h"

namespace fathom {

BackendDevice::BackendDevice(const BackendTable& table, const BackendOptions& options)
    : table_(table), options_(options) {
    BackendError error{};
    check_backend(table_, table_.open(&options_, &handle_, &error), error);
}

BackendDevice::~BackendDevice() { table_.close(handle_); }

void check_backend(const BackendTable& table, int32_t status, const BackendError& error) {
    if (status == 0) return;
    const bool known = status > 0 && status <= static_cast<int32_t>(Status::kInternal);
    fail(known ? static_cast<Status>(status) : Status::kInternal, "backend ", table.name, ": ",
         std::string_view(error.text));
}

}  // namespace fathom
