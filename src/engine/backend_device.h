#pragma once

#include <memory>
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

struct ExecutorRelease {
    const BackendTable* table = nullptr;
    void operator()(void* executor) const { table->release(executor); }
};
/// An executor of a backend, released before its device.
using BackendExecutor = std::unique_ptr<void, ExecutorRelease>;

/// Takes all memory that running the plan needs. Throws Error(kNoMemory) and what else the backend
/// reports. The plan outlives the executor.
BackendExecutor prepare(const BackendDevice& device, const Plan& plan, const Limits& limits);

}  // namespace fathom
