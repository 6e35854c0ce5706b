#pragma once

#include <string>

#include "backend/ops.h"

namespace fathom {

/// An open device of a backend; closed when the last model that lives on it is gone.
class BackendDevice {
public:
    BackendDevice(const BackendTable& table, const BackendOptions& options);
    ~BackendDevice();
    BackendDevice(const BackendDevice&) = delete;
    BackendDevice& operator=(const BackendDevice&) = delete;

    const BackendTable& table() const { return table_; }
    const BackendOptions& options() const { return options_; }
    void* handle() const { return handle_; }
    std::string describe() const { return table_.describe(handle_); }

private:
    const BackendTable& table_;
    BackendOptions options_;
    void* handle_ = nullptr;
};

}  // namespace fathom
