#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace fathom {

/// Numeric values equal the FATHOM_* status constants of fathom.h; src/abi asserts it.
enum class Status : int32_t {
    kOk = 0,
    kInvalidArgument = 1,
    kBadState = 2,
    kBusy = 3,
    kCancelled = 4,
    kTimeout = 5,
    kNoMemory = 6,
    kBudget = 7,
    kIo = 8,
    kFormat = 9,
    kIntegrity = 10,
    kUnsupported = 11,
    kTemplate = 12,
    kGrammar = 13,
    kContextFull = 14,
    kDevice = 15,
    kDeviceLost = 16,
    kShutdown = 17,
    kInternal = 18,
};

/// The one exception of the core: what, where, found, wanted. The C edge turns it into a status
/// code and an error object; nothing else may cross that edge.
class Error : public std::exception {
public:
    Error(Status status, std::string message) : status_(status), message_(std::move(message)) {}

    Status status() const noexcept { return status_; }
    const std::string& message() const noexcept { return message_; }
    const char* what() const noexcept override { return message_.c_str(); }

private:
    Status status_;
    std::string message_;
};

/// Throws Error with a message made of the concatenated parts: strings, string views, characters
/// and integers. Kept out of line of the happy path on purpose.
template <typename... Parts>
[[noreturn]] void fail(Status status, const Parts&... parts);

/// Inside a catch block: calls `take(status, text)` for the exception in flight. `take` must not
/// throw. The one place that knows what an exception means.
template <typename Take>
void describe_exception(Take&& take) noexcept {
    try {
        throw;
    } catch (const Error& failure) {
        take(failure.status(), failure.what());
    } catch (const std::bad_alloc&) {
        take(Status::kNoMemory, "the system refused memory");
    } catch (const std::exception& failure) {
        take(Status::kInternal, failure.what());
    } catch (...) {
        take(Status::kInternal, "unknown exception");
    }
}

}  // namespace fathom

#include "base/text.h"

namespace fathom {

template <typename... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail(Status status, const Parts&... parts) {
    throw Error(status, concat(parts...));
}

}  // namespace fathom
