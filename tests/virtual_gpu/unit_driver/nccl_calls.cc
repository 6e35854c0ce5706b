// The stand-in for NCCL on virtual GPUs: ranks as threads, as one thread, and as processes.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "nccl/nccl_types.h"
#include "unit_driver/driver_fixture.h"

namespace {

using Comm = void*;

struct Nccl {
    Nccl() {
        handle = dlopen(VIRTUAL_GPU_NCCL, RTLD_NOW);
        REQUIRE(handle != nullptr);
        load("ncclGetUniqueId", &unique_id);
        load("ncclCommInitRank", &init_rank);
        load("ncclCommDestroy", &destroy);
        load("ncclCommAbort", &abort);
        load("ncclCommGetAsyncError", &async_error);
        load("ncclGroupStart", &group_start);
        load("ncclGroupEnd", &group_end);
        load("ncclAllReduce", &all_reduce);
        load("ncclReduceScatter", &reduce_scatter);
        load("ncclAllGather", &all_gather);
        load("ncclBroadcast", &broadcast);
        load("ncclSend", &send);
        load("ncclRecv", &receive);
    }
    template <class F>
    void load(const char* name, F** function) {
        *function = reinterpret_cast<F*>(dlsym(handle, name));
        INFO(name);
        REQUIRE(*function != nullptr);
    }
    using Address = CUdeviceptr;
    void* handle = nullptr;
    ncclResult_t (*unique_id)(ncclUniqueId*) = nullptr;
    ncclResult_t (*init_rank)(Comm*, int, ncclUniqueId, int) = nullptr;
    ncclResult_t (*destroy)(Comm) = nullptr;
    ncclResult_t (*abort)(Comm) = nullptr;
    ncclResult_t (*async_error)(Comm, ncclResult_t*) = nullptr;
    ncclResult_t (*group_start)() = nullptr;
    ncclResult_t (*group_end)() = nullptr;
    ncclResult_t (*all_reduce)(Address, Address, size_t, ncclDataType_t, ncclRedOp_t, Comm,
                               CUstream) = nullptr;
    ncclResult_t (*reduce_scatter)(Address, Address, size_t, ncclDataType_t, ncclRedOp_t, Comm,
                                   CUstream) = nullptr;
    ncclResult_t (*all_gather)(Address, Address, size_t, ncclDataType_t, Comm, CUstream) = nullptr;
    ncclResult_t (*broadcast)(Address, Address, size_t, ncclDataType_t, int, Comm,
                              CUstream) = nullptr;
    ncclResult_t (*send)(Address, size_t, ncclDataType_t, int, Comm, CUstream) = nullptr;
    ncclResult_t (*receive)(Address, size_t, ncclDataType_t, int, Comm, CUstream) = nullptr;
};

// One rank's device: context, stream, communicator. Threads must not use Catch2's macros, so calls
// that fail are counted.
struct Rank {
    Rank(DriverLibrary& driver, Nccl& nccl_, int device) : d(driver), nccl(nccl_) {
        CUcontext context = nullptr;
        check(d.cuDevicePrimaryCtxRetain_(&context, device));
        check(d.cuCtxSetCurrent_(context));
        check(d.cuStreamCreate_(&stream, CU_STREAM_NON_BLOCKING));
    }
    void check(int result) { failures += result != 0; }
    CUdeviceptr upload(const std::vector<float>& values) {
        CUdeviceptr at = 0;
        check(d.cuMemAlloc_v2_(&at, values.size() * 4));
        check(d.cuMemcpyHtoD_v2_(at, values.data(), values.size() * 4));
        return at;
    }
    std::vector<float> download(CUdeviceptr at, size_t n) {
        std::vector<float> values(n);
        check(d.cuStreamSynchronize_(stream));
        check(d.cuMemcpyDtoH_v2_(values.data(), at, n * 4));
        return values;
    }
    DriverLibrary& d;
    Nccl& nccl;
    CUstream stream = nullptr;
    Comm comm = nullptr;
    int failures = 0;
};

// More than one round of the shared memory's slots.
constexpr size_t kMany = 300'000;

// Every collective once; how many results are wrong.
int run_collectives(Rank& r, int rank, int n) {
    int wrong = 0;
    std::vector<float> mine(kMany);
    for (size_t i = 0; i < kMany; i++) {
        mine[i] = static_cast<float>(i % 1000 + static_cast<size_t>(rank));
    }
    const CUdeviceptr x = r.upload(mine);
    const CUdeviceptr y = r.upload(std::vector<float>(kMany, -1));
    r.check(r.nccl.all_reduce(x, y, kMany, ncclFloat32, ncclSum, r.comm, r.stream));
    const std::vector<float> sums = r.download(y, kMany);
    const float ranks = static_cast<float>(n * (n - 1) / 2);
    for (size_t i = 0; i < kMany; i++) {
        wrong += sums[i] != static_cast<float>(n) * static_cast<float>(i % 1000) + ranks;
    }
    const size_t part = kMany / static_cast<size_t>(n);
    r.check(r.nccl.reduce_scatter(x, y, part, ncclFloat32, ncclMax, r.comm, r.stream));
    const std::vector<float> most = r.download(y, part);
    for (size_t i = 0; i < part; i++) {
        const size_t at = static_cast<size_t>(rank) * part + i;
        wrong += most[i] != static_cast<float>(at % 1000 + static_cast<size_t>(n) - 1);
    }
    r.check(r.nccl.all_gather(x, y, part, ncclFloat32, r.comm, r.stream));
    const std::vector<float> all = r.download(y, part * static_cast<size_t>(n));
    for (size_t i = 0; i < all.size(); i++) {
        wrong += all[i] != static_cast<float>(i % part % 1000 + i / part);
    }
    r.check(r.nccl.broadcast(x, y, 10, ncclFloat32, n - 1, r.comm, r.stream));
    wrong += r.download(y, 10)[3] != static_cast<float>(3 + n - 1);
    // Around the ring.
    r.check(r.nccl.group_start());
    r.check(r.nccl.send(x, kMany, ncclFloat32, (rank + 1) % n, r.comm, r.stream));
    r.check(r.nccl.receive(y, kMany, ncclFloat32, (rank + n - 1) % n, r.comm, r.stream));
    r.check(r.nccl.group_end());
    wrong += r.download(y, kMany)[kMany - 1] !=
             static_cast<float>((kMany - 1) % 1000 + static_cast<size_t>((rank + n - 1) % n));
    return wrong;
}

}  // namespace

// Breaks if a collective gives a wrong sum, or ranks in threads block each other.
TEST_CASE("collectives among ranks in threads", "[nccl]") {
    DriverFixture f;
    Nccl nccl;
    for (const int n : {2, 4}) {
        f.d.set("devices=4");
        ncclUniqueId id;
        REQUIRE(nccl.unique_id(&id) == ncclSuccess);
        std::atomic<int> wrong = 0;
        std::vector<std::thread> threads;
        for (int rank = 0; rank < n; rank++) {
            threads.emplace_back([&, rank] {
                Rank r(f.d, nccl, rank);
                r.check(nccl.init_rank(&r.comm, n, id, rank));
                wrong += run_collectives(r, rank, n);
                r.check(nccl.destroy(r.comm));
                wrong += r.failures;
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        CHECK(wrong == 0);
    }
    CHECK(f.d.text("findings").empty());
    f.d.set("devices=1");
}

// Breaks if one thread that drives two ranks waits for itself, or a captured collective runs once.
TEST_CASE("one thread drives two ranks, and a graph holds a collective", "[nccl]") {
    DriverFixture f;
    Nccl nccl;
    f.d.set("devices=2");
    ncclUniqueId id;
    REQUIRE(nccl.unique_id(&id) == ncclSuccess);
    Rank first(f.d, nccl, 0);
    REQUIRE(nccl.group_start() == ncclSuccess);
    REQUIRE(nccl.init_rank(&first.comm, 2, id, 0) == ncclSuccess);
    Rank second(f.d, nccl, 1);
    REQUIRE(nccl.init_rank(&second.comm, 2, id, 1) == ncclSuccess);
    REQUIRE(nccl.group_end() == ncclSuccess);
    Rank* const ranks[] = {&first, &second};
    CUdeviceptr x[2] = {};
    CUgraphExec exec[2] = {};
    for (int rank = 0; rank < 2; rank++) {
        CUcontext context = nullptr;
        REQUIRE(f.d.cuDevicePrimaryCtxRetain_(&context, rank) == CUDA_SUCCESS);
        REQUIRE(f.d.cuCtxSetCurrent_(context) == CUDA_SUCCESS);
        x[rank] = ranks[rank]->upload({1, 2, 3, 4});
        CUgraph graph = nullptr;
        REQUIRE(f.d.cuStreamBeginCapture_v2_(ranks[rank]->stream, CU_STREAM_CAPTURE_MODE_RELAXED) ==
                CUDA_SUCCESS);
        REQUIRE(nccl.all_reduce(x[rank], x[rank], 4, ncclFloat32, ncclSum, ranks[rank]->comm,
                                ranks[rank]->stream) == ncclSuccess);
        REQUIRE(f.d.cuStreamEndCapture_(ranks[rank]->stream, &graph) == CUDA_SUCCESS);
        REQUIRE(f.d.cuGraphInstantiateWithFlags_(&exec[rank], graph, 0) == CUDA_SUCCESS);
        REQUIRE(f.d.cuGraphDestroy_(graph) == CUDA_SUCCESS);
    }
    for (int time = 0; time < 3; time++) {
        for (int rank = 0; rank < 2; rank++) {
            CUcontext context = nullptr;
            REQUIRE(f.d.cuDevicePrimaryCtxRetain_(&context, rank) == CUDA_SUCCESS);
            REQUIRE(f.d.cuCtxSetCurrent_(context) == CUDA_SUCCESS);
            REQUIRE(f.d.cuGraphLaunch_(exec[rank], ranks[rank]->stream) == CUDA_SUCCESS);
        }
    }
    CHECK(second.download(x[1], 4) == std::vector<float>{8, 16, 24, 32});
    CUcontext context = nullptr;
    REQUIRE(f.d.cuDevicePrimaryCtxRetain_(&context, 0) == CUDA_SUCCESS);
    REQUIRE(f.d.cuCtxSetCurrent_(context) == CUDA_SUCCESS);
    CHECK(first.download(x[0], 4) == std::vector<float>{8, 16, 24, 32});
    // Ranks that disagree about what they do are told so, and nobody hangs.
    REQUIRE(nccl.all_reduce(x[0], x[0], 4, ncclFloat32, ncclSum, first.comm, first.stream) ==
            ncclSuccess);
    REQUIRE(nccl.all_reduce(x[1], x[1], 4, ncclFloat32, ncclMax, second.comm, second.stream) ==
            ncclSuccess);
    CHECK(f.d.cuStreamSynchronize_(first.stream) == CUDA_SUCCESS);
    ncclResult_t error = ncclSuccess;
    REQUIRE(nccl.async_error(first.comm, &error) == ncclSuccess);
    CHECK(error == ncclInvalidUsage);
    CHECK(first.failures + second.failures == 0);
    f.d.set("devices=1");
}

// Breaks if ranks in processes cannot meet, or a rank that dies is not noticed by the others.
TEST_CASE("ranks in processes, and one that dies", "[nccl]") {
    DriverFixture f;
    Nccl nccl;
    ncclUniqueId id;
    REQUIRE(nccl.unique_id(&id) == ncclSuccess);
    const pid_t child = fork();
    const int rank = child == 0 ? 1 : 0;
    Rank r(f.d, nccl, 0);
    r.check(nccl.init_rank(&r.comm, 2, id, rank));
    const int wrong = run_collectives(r, rank, 2) + r.failures;
    if (child == 0) {
        _exit(wrong == 0 ? 7 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WEXITSTATUS(status) == 7);
    CHECK(wrong == 0);
    // The other is gone: this rank's collective never ends by itself, and the error says why.
    const CUdeviceptr x = r.upload({1, 2});
    REQUIRE(nccl.all_reduce(x, x, 2, ncclFloat32, ncclSum, r.comm, r.stream) == ncclSuccess);
    CHECK(f.d.cuStreamQuery_(r.stream) == CUDA_ERROR_NOT_READY);
    ncclResult_t error = ncclSuccess;
    REQUIRE(nccl.async_error(r.comm, &error) == ncclSuccess);
    CHECK(error == ncclRemoteError);
    REQUIRE(nccl.abort(r.comm) == ncclSuccess);
    CHECK(f.d.cuStreamSynchronize_(r.stream) == CUDA_SUCCESS);
}

// Breaks if a rank that stays away holds the others for ever.
TEST_CASE("waiting for another device ends", "[nccl]") {
    DriverFixture f;
    Nccl nccl;
    f.d.set("devices=2,peer_timeout_ms=50");
    ncclUniqueId id;
    REQUIRE(nccl.unique_id(&id) == ncclSuccess);
    REQUIRE(nccl.group_start() == ncclSuccess);
    Rank second(f.d, nccl, 1);
    REQUIRE(nccl.init_rank(&second.comm, 2, id, 1) == ncclSuccess);
    Rank first(f.d, nccl, 0);
    REQUIRE(nccl.init_rank(&first.comm, 2, id, 0) == ncclSuccess);
    REQUIRE(nccl.group_end() == ncclSuccess);
    const CUdeviceptr x = first.upload({1, 2});
    REQUIRE(nccl.all_reduce(x, x, 2, ncclFloat32, ncclSum, first.comm, first.stream) ==
            ncclSuccess);
    CHECK(f.d.cuStreamSynchronize_(first.stream) == CUDA_ERROR_LAUNCH_TIMEOUT);
    REQUIRE(nccl.abort(first.comm) == ncclSuccess);
    f.d.set("devices=1,peer_timeout_ms=20000");
}
