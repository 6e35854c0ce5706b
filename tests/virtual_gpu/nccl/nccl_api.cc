// The entry points of the stand-in libnccl.so.2.
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include "nccl/nccl_operation.h"

using namespace virtual_nccl;

namespace {

using Stream = void*;

// What the stand-in needs of the virtual GPU, which is loaded when a communicator is made.
struct Device {
    int (*get_context)(void**) = nullptr;
    int (*set_context)(void*) = nullptr;
    int (*get_device)(int*) = nullptr;
    int (*enqueue)(Stream, int (*)(void*), void*, void (*)(void*)) = nullptr;
    void* (*bytes)(uint64_t, size_t, int) = nullptr;
};

template <class F>
void find(void* library, const char* name, F** function) {
    *function = reinterpret_cast<F*>(dlsym(library, name));
}

const Device& device() {
    static const Device found = [] {
        Device d;
        void* library = dlopen("libcuda.so.1", RTLD_NOW);
        if (library != nullptr) {
            find(library, "cuCtxGetCurrent", &d.get_context);
            find(library, "cuCtxSetCurrent", &d.set_context);
            find(library, "cuCtxGetDevice", &d.get_device);
            find(library, "virtual_gpu_enqueue", &d.enqueue);
            find(library, "virtual_gpu_bytes", &d.bytes);
        }
        return d;
    }();
    return found;
}

struct Group {
    int depth = 0;
    std::vector<std::pair<Stream, Operation>> operations;
    std::vector<Comm*> joining;
};

Group& group() {
    static thread_local Group mine;
    return mine;
}

// Waits until all ranks are there.
ncclResult_t wait_for_ranks(Comm* comm) {
    std::mutex mutex;
    std::condition_variable
        nobody;  // The other ranks may be processes: there is only time to wait.
    std::unique_lock lock(mutex);
    for (uint64_t waited_ms = 0; !comm->all_joined(); waited_ms++) {
        if (waited_ms > settings().timeout_ms) {
            comm->fail(ncclSystemError, "not all ranks joined in time");
            return ncclSystemError;
        }
        nobody.wait_for(lock, std::chrono::milliseconds(1));
    }
    return ncclSuccess;
}

ncclResult_t enqueue(Stream stream, std::vector<Operation> operations) {
    auto* work = new Work{std::move(operations)};
    void* before = nullptr;
    device().get_context(&before);
    device().set_context(work->operations[0].comm->context);
    const int result = device().enqueue(
        stream, [](void* data) { return static_cast<Work*>(data)->poll() ? 0 : 600; }, work,
        [](void* data) { delete static_cast<Work*>(data); });
    device().set_context(before);
    return result == 0 ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t submit(const Operation& operation, Stream stream) {
    const Comm* comm = operation.comm;
    if (comm == nullptr || operation.type < ncclInt8 || operation.type > ncclFloat8e5m2 ||
        operation.peer < 0 || operation.peer >= comm->n_ranks) {
        return ncclInvalidArgument;
    }
    if (comm->error != ncclSuccess) {
        return static_cast<ncclResult_t>(comm->error.load());
    }
    if (operation.count == 0) {
        return ncclSuccess;
    }
    if (group().depth > 0) {
        group().operations.emplace_back(stream, operation);
        return ncclSuccess;
    }
    return enqueue(stream, {operation});
}

ncclResult_t end_group() {
    Group done = std::move(group());
    group() = {};
    for (Comm* comm : done.joining) {
        if (const ncclResult_t result = wait_for_ranks(comm)) {
            return result;
        }
    }
    // One piece of work for each device's stream, in which all of its operations go on together.
    std::vector<std::pair<std::pair<Stream, void*>, std::vector<Operation>>> works;
    for (const auto& [stream, operation] : done.operations) {
        const std::pair<Stream, void*> key = {stream, operation.comm->context};
        const auto same = [&key](const auto& work) { return work.first == key; };
        auto work = std::find_if(works.begin(), works.end(), same);
        if (work == works.end()) {
            works.push_back({key, {}});
            work = works.end() - 1;
        }
        work->second.push_back(operation);
    }
    for (auto& [key, operations] : works) {
        if (const ncclResult_t result = enqueue(key.first, std::move(operations))) {
            return result;
        }
    }
    return ncclSuccess;
}

}  // namespace

namespace virtual_nccl {

uint8_t* device_bytes(uint64_t address, size_t bytes, bool is_written) {
    return static_cast<uint8_t*>(device().bytes(address, bytes, is_written ? 1 : 0));
}

}  // namespace virtual_nccl

VIRTUAL_NCCL_API ncclResult_t ncclGetVersion(int* version) {
    *version = 22809;
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    static std::atomic<int> count = 0;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    std::memset(id, 0, sizeof *id);
    std::snprintf(id->internal, sizeof id->internal, "/virtual-nccl-%d-%lld-%09ld-%d", getpid(),
                  static_cast<long long>(now.tv_sec), now.tv_nsec, count++);
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclCommInitRank(Comm** out, int n_ranks, ncclUniqueId id, int rank) {
    if (device().enqueue == nullptr || device().bytes == nullptr) {
        return ncclUnhandledCudaError;  // Another driver than the virtual GPU's.
    }
    if (n_ranks < 1 || n_ranks > kMaxRanks || rank < 0 || rank >= n_ranks) {
        return ncclInvalidArgument;
    }
    try {
        *out = new Comm(id, rank, n_ranks);
    } catch (const std::exception&) {
        return ncclSystemError;
    }
    if (device().get_context(&(*out)->context) != 0 || (*out)->context == nullptr) {
        return ncclUnhandledCudaError;
    }
    device().get_device(&(*out)->device);
    if (group().depth > 0) {
        group().joining.push_back(*out);
        return ncclSuccess;
    }
    return wait_for_ranks(*out);
}

VIRTUAL_NCCL_API ncclResult_t ncclCommInitRankConfig(Comm** out, int n_ranks, ncclUniqueId id,
                                                     int rank, void*) {
    return ncclCommInitRank(out, n_ranks, id, rank);
}

VIRTUAL_NCCL_API ncclResult_t ncclCommFinalize(Comm*) { return ncclSuccess; }

VIRTUAL_NCCL_API ncclResult_t ncclCommDestroy(Comm* comm) {
    delete comm;
    return ncclSuccess;
}

// Work under way ends without a result. The communicator stays, because a stream may still ask.
VIRTUAL_NCCL_API ncclResult_t ncclCommAbort(Comm* comm) {
    comm->is_aborted = true;
    comm->segment().is_gone[comm->rank] = 1;
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclCommGetAsyncError(Comm* comm, ncclResult_t* error) {
    const int missing = comm->missing_rank();
    if (missing >= 0 && comm->error == ncclSuccess) {
        comm->fail(ncclRemoteError, "rank " + std::to_string(missing) + " is gone");
    }
    *error = static_cast<ncclResult_t>(comm->error.load());
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclCommCount(const Comm* comm, int* n_ranks) {
    *n_ranks = comm->n_ranks;
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclCommUserRank(const Comm* comm, int* rank) {
    *rank = comm->rank;
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclCommCuDevice(const Comm* comm, int* number) {
    *number = comm->device;
    return ncclSuccess;
}

VIRTUAL_NCCL_API const char* ncclGetErrorString(ncclResult_t result) {
    static constexpr const char* kTexts[] = {"no error",
                                             "unhandled cuda error",
                                             "unhandled system error",
                                             "internal error",
                                             "invalid argument",
                                             "invalid usage",
                                             "remote process exited or network error",
                                             "in progress"};
    return result >= ncclSuccess && result <= ncclInProgress ? kTexts[result] : "unknown result";
}

VIRTUAL_NCCL_API const char* ncclGetLastError(const Comm*) { return ""; }

VIRTUAL_NCCL_API ncclResult_t ncclGroupStart() {
    group().depth += 1;
    return ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclGroupEnd() {
    if (group().depth == 0) {
        return ncclInvalidUsage;
    }
    group().depth -= 1;
    return group().depth == 0 ? end_group() : ncclSuccess;
}

VIRTUAL_NCCL_API ncclResult_t ncclAllReduce(uint64_t from, uint64_t to, size_t count,
                                            ncclDataType_t type, ncclRedOp_t reduction, Comm* comm,
                                            Stream stream) {
    return submit({comm, Kind::kAllReduce, from, to, count, type, reduction, 0}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclReduce(uint64_t from, uint64_t to, size_t count,
                                         ncclDataType_t type, ncclRedOp_t reduction, int root,
                                         Comm* comm, Stream stream) {
    return submit({comm, Kind::kReduce, from, to, count, type, reduction, root}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclReduceScatter(uint64_t from, uint64_t to, size_t count,
                                                ncclDataType_t type, ncclRedOp_t reduction,
                                                Comm* comm, Stream stream) {
    return submit({comm, Kind::kReduceScatter, from, to, count, type, reduction, 0}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclAllGather(uint64_t from, uint64_t to, size_t count,
                                            ncclDataType_t type, Comm* comm, Stream stream) {
    return submit({comm, Kind::kAllGather, from, to, count, type, ncclSum, 0}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclBroadcast(uint64_t from, uint64_t to, size_t count,
                                            ncclDataType_t type, int root, Comm* comm,
                                            Stream stream) {
    return submit({comm, Kind::kBroadcast, from, to, count, type, ncclSum, root}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclSend(uint64_t from, size_t count, ncclDataType_t type, int peer,
                                       Comm* comm, Stream stream) {
    return submit({comm, Kind::kSend, from, 0, count, type, ncclSum, peer}, stream);
}

VIRTUAL_NCCL_API ncclResult_t ncclRecv(uint64_t to, size_t count, ncclDataType_t type, int peer,
                                       Comm* comm, Stream stream) {
    return submit({comm, Kind::kReceive, 0, to, count, type, ncclSum, peer}, stream);
}
