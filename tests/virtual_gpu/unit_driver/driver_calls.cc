// The stand-in driver's own behaviour: order, graphs, errors, faults on demand.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>

#include "unit_driver/driver_fixture.h"

using Catch::Matchers::ContainsSubstring;

namespace {

// Launches softmax over one row of n floats at 'x': enough of a kernel to see that it ran.
CUresult launch_softmax(DriverFixture& f, CUfunction function, CUdeviceptr x, int n,
                        CUstream stream) {
    void* arguments[] = {&x, &n};
    CUlaunchConfig config{};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 128;
    config.blockDimY = config.blockDimZ = 1;
    config.hStream = stream;
    return f.d.cuLaunchKernelEx_(&config, function, arguments, nullptr);
}

}  // namespace

// Breaks if a plugin that forgets to initialise works here and nowhere else.
TEST_CASE("calls without cuInit or context are refused", "[driver]") {
    DriverLibrary d(true);
    CUdevice device = 0;
    CUdeviceptr address = 0;
    CHECK(d.cuDeviceGet_(&device, 0) == CUDA_ERROR_NOT_INITIALIZED);
    CHECK(d.cuMemAlloc_v2_(&address, 16) == CUDA_ERROR_NOT_INITIALIZED);
    REQUIRE(d.cuInit_(0) == CUDA_SUCCESS);
    CHECK(d.cuMemAlloc_v2_(&address, 16) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(d.cuDeviceGet_(&device, 1) == CUDA_ERROR_INVALID_DEVICE);
    CHECK(d.cuInit_(1) == CUDA_ERROR_INVALID_VALUE);
}

// Breaks if work runs before anybody waits: a host that reads too early would see good numbers.
TEST_CASE("work runs when the host waits and not before", "[driver]") {
    DriverFixture f;
    const CUfunction softmax = f.function("right", "softmax");
    float* pinned = nullptr;
    REQUIRE(f.d.cuMemHostAlloc_(reinterpret_cast<void**>(&pinned), 8, 0) == CUDA_SUCCESS);
    pinned[0] = pinned[1] = 1.0f;
    const CUdeviceptr x = f.allocate(8);
    const CUstream stream = f.stream();
    REQUIRE(f.d.cuMemcpyHtoDAsync_v2_(x, pinned, 8, stream) == CUDA_SUCCESS);
    REQUIRE(launch_softmax(f, softmax, x, 2, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuMemcpyDtoHAsync_v2_(pinned, x, 8, stream) == CUDA_SUCCESS);
    CHECK(pinned[0] == 1.0f);
    REQUIRE(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    CHECK(pinned[0] == 0.5f);
    CHECK(f.d.cuStreamQuery_(stream) == CUDA_SUCCESS);
    CHECK(f.d.text("findings").empty());
    CHECK_THAT(f.d.text("counters"), ContainsSubstring("\"softmax\": {\"launches\": 1"));
    CHECK(f.d.cuMemFreeHost_(pinned) == CUDA_SUCCESS);
}

// Breaks if the order between streams comes from luck and not from events.
TEST_CASE("streams are ordered by events alone", "[driver]") {
    DriverFixture f;
    int stale = 0;
    for (uint32_t seed = 0; seed < 12; seed++) {
        f.d.set(("seed=" + std::to_string(seed)).c_str());
        for (const bool waits : {true, false}) {
            const CUstream first = f.stream();
            const CUstream second = f.stream();
            CUevent event = nullptr;
            REQUIRE(f.d.cuEventCreate_(&event, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS);
            const CUdeviceptr a = f.allocate(4);
            const CUdeviceptr b = f.allocate(4);
            const uint32_t zero = 0;
            REQUIRE(f.d.cuMemcpyHtoD_v2_(a, &zero, 4) == CUDA_SUCCESS);
            REQUIRE(f.d.cuMemsetD32Async_(a, 7, 1, first) == CUDA_SUCCESS);
            REQUIRE(f.d.cuEventRecord_(event, first) == CUDA_SUCCESS);
            if (waits) {
                REQUIRE(f.d.cuStreamWaitEvent_(second, event, 0) == CUDA_SUCCESS);
            }
            REQUIRE(f.d.cuMemcpyDtoDAsync_v2_(b, a, 4, second) == CUDA_SUCCESS);
            REQUIRE(f.d.cuStreamSynchronize_(second) == CUDA_SUCCESS);
            uint32_t found = 1;
            REQUIRE(f.d.cuMemcpyDtoH_v2_(&found, b, 4) == CUDA_SUCCESS);
            if (waits) {
                CHECK(found == 7);
            } else {
                stale += found == 0;
            }
            REQUIRE(f.d.cuStreamDestroy_v2_(first) == CUDA_SUCCESS);
            REQUIRE(f.d.cuStreamDestroy_v2_(second) == CUDA_SUCCESS);
            REQUIRE(f.d.cuEventDestroy_v2_(event) == CUDA_SUCCESS);
        }
    }
    CHECK(stale >= 4);  // Seed 0 always, the others mostly.
}

// Breaks if a source buffer that is used again too early goes unseen, or a safe one is harmed.
TEST_CASE("pinned sources are read late, pageable ones at once", "[driver]") {
    DriverFixture f;
    const CUstream stream = f.stream();
    const CUdeviceptr a = f.allocate(8);
    uint32_t* pinned = nullptr;
    REQUIRE(f.d.cuMemHostAlloc_(reinterpret_cast<void**>(&pinned), 4, 0) == CUDA_SUCCESS);
    uint32_t pageable = 1;
    *pinned = 1;
    REQUIRE(f.d.cuMemcpyHtoDAsync_v2_(a, &pageable, 4, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuMemcpyHtoDAsync_v2_(a + 4, pinned, 4, stream) == CUDA_SUCCESS);
    pageable = 2;
    *pinned = 2;
    uint32_t found[2] = {};
    REQUIRE(f.d.cuMemcpyDtoHAsync_v2_(found, a, 8, stream) == CUDA_SUCCESS);
    CHECK(found[0] == 1);
    CHECK(found[1] == 2);
    CHECK(f.d.cuMemFreeHost_(pinned) == CUDA_SUCCESS);
}

// Breaks if a captured graph loses a node or an edge, or replays old arguments.
TEST_CASE("a captured graph runs as often as it is launched", "[driver]") {
    DriverFixture f;
    const CUfunction softmax = f.function("right", "softmax");
    const CUstream stream = f.stream();
    const CUstream side = f.stream();
    const CUdeviceptr x = f.allocate(16);
    CUevent fork = nullptr;
    CUevent join = nullptr;
    REQUIRE(f.d.cuEventCreate_(&fork, 0) == CUDA_SUCCESS);
    REQUIRE(f.d.cuEventCreate_(&join, 0) == CUDA_SUCCESS);
    CUgraph graph = nullptr;
    CUgraphExec exec = nullptr;
    REQUIRE(f.d.cuStreamBeginCapture_v2_(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) ==
            CUDA_SUCCESS);
    CUdeviceptr refused = 0;
    CHECK(f.d.cuMemAlloc_v2_(&refused, 16) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    REQUIRE(f.d.cuEventRecord_(fork, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuStreamWaitEvent_(side, fork, 0) == CUDA_SUCCESS);
    REQUIRE(f.d.cuMemsetD32Async_(x, 0, 2, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuMemsetD32Async_(x + 8, 0x3f800000, 2, side) == CUDA_SUCCESS);
    REQUIRE(f.d.cuEventRecord_(join, side) == CUDA_SUCCESS);
    REQUIRE(f.d.cuStreamWaitEvent_(stream, join, 0) == CUDA_SUCCESS);
    REQUIRE(launch_softmax(f, softmax, x, 4, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuStreamEndCapture_(stream, &graph) == CUDA_SUCCESS);
    REQUIRE(f.d.cuGraphInstantiateWithFlags_(&exec, graph, 0) == CUDA_SUCCESS);
    size_t n_nodes = 0;
    REQUIRE(f.d.cuGraphGetNodes_(graph, nullptr, &n_nodes) == CUDA_SUCCESS);
    CHECK(n_nodes == 3);
    REQUIRE(f.d.cuGraphDestroy_(graph) == CUDA_SUCCESS);
    for (const char* seed : {"seed=0", "seed=1", "seed=2", "seed=3"}) {
        f.d.set(seed);
        REQUIRE(f.d.cuGraphLaunch_(exec, stream) == CUDA_SUCCESS);
        float found[4] = {};
        REQUIRE(f.d.cuMemcpyDtoHAsync_v2_(found, x, 16, stream) == CUDA_SUCCESS);
        const double e = 2.718281828;
        CHECK(std::abs(found[0] - 1 / (2 + 2 * e)) < 1e-6);
        CHECK(std::abs(found[3] - e / (2 + 2 * e)) < 1e-6);
    }
    CHECK(f.d.text("findings").empty());
    CHECK(f.d.cuGraphExecDestroy_(exec) == CUDA_SUCCESS);
}

// Breaks if a graph built by hand ignores its edges, or new arguments do not arrive.
TEST_CASE("an explicit graph takes new arguments", "[driver]") {
    DriverFixture f;
    const CUfunction softmax = f.function("right", "softmax");
    const float start[2] = {3.0f, 3.0f};
    CUdeviceptr x = f.allocate(8);
    CUdeviceptr y = f.allocate(8);
    REQUIRE(f.d.cuMemcpyHtoD_v2_(x, start, 8) == CUDA_SUCCESS);
    REQUIRE(f.d.cuMemcpyHtoD_v2_(y, start, 8) == CUDA_SUCCESS);
    int n = 2;
    void* arguments[] = {&x, &n};
    CUDA_KERNEL_NODE_PARAMS params{};
    params.func = softmax;
    params.gridDimX = params.gridDimY = params.gridDimZ = 1;
    params.blockDimX = 128;
    params.blockDimY = params.blockDimZ = 1;
    params.kernelParams = arguments;
    CUgraph graph = nullptr;
    CUgraphNode node = nullptr;
    CUgraphExec exec = nullptr;
    REQUIRE(f.d.cuGraphCreate_(&graph, 0) == CUDA_SUCCESS);
    REQUIRE(f.d.cuGraphAddKernelNode_v2_(&node, graph, nullptr, 0, &params) == CUDA_SUCCESS);
    REQUIRE(f.d.cuGraphInstantiateWithFlags_(&exec, graph, 0) == CUDA_SUCCESS);
    const CUstream stream = f.stream();
    REQUIRE(f.d.cuGraphLaunch_(exec, stream) == CUDA_SUCCESS);
    arguments[0] = &y;
    REQUIRE(f.d.cuGraphExecKernelNodeSetParams_v2_(exec, node, &params) == CUDA_SUCCESS);
    REQUIRE(f.d.cuGraphLaunch_(exec, stream) == CUDA_SUCCESS);
    REQUIRE(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    float found[2] = {};
    for (const CUdeviceptr at : {x, y}) {
        REQUIRE(f.d.cuMemcpyDtoH_v2_(found, at, 8) == CUDA_SUCCESS);
        CHECK(found[0] == 0.5f);
    }
    CHECK(f.d.cuGraphExecDestroy_(exec) == CUDA_SUCCESS);
    CHECK(f.d.cuGraphDestroy_(graph) == CUDA_SUCCESS);
}

// Breaks if a failed kernel is forgotten: on a card every later call fails too.
TEST_CASE("a kernel's error comes at the wait, names its line, and stays", "[driver]") {
    DriverFixture f;
    const CUfunction wrong = f.function("wrong", "beyond_the_end");
    const CUdeviceptr x = f.allocate(1024);
    const CUdeviceptr y = f.allocate(1020);
    const CUstream stream = f.stream();
    void* arguments[] = {const_cast<CUdeviceptr*>(&x), const_cast<CUdeviceptr*>(&y)};
    REQUIRE(f.d.cuLaunchKernel_(wrong, 1, 1, 1, 256, 1, 1, 0, stream, arguments, nullptr) ==
            CUDA_SUCCESS);
    CHECK(f.d.cuStreamSynchronize_(stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
    CUdeviceptr more = 0;
    CHECK(f.d.cuMemAlloc_v2_(&more, 16) == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK_THAT(f.d.text("findings"), ContainsSubstring("out-of-bounds wrong.cu:"));
    f.d.reset();
    CHECK(f.d.cuMemAlloc_v2_(&more, 16) == CUDA_SUCCESS);
}

// Breaks if a launch that a card would refuse is accepted.
TEST_CASE("launch limits are those of a card", "[driver]") {
    DriverFixture f;
    const CUfunction softmax = f.function("right", "softmax");
    const CUfunction norm = f.function("right", "rms_norm");
    const CUfunction grid = f.function("right", "grid_barrier");
    CUdeviceptr x = f.allocate(8);
    int n = 2;
    void* arguments[] = {&x, &n, &x, &x, &x};
    const auto launch = [&](CUfunction function, unsigned grid_x, unsigned block, unsigned shared) {
        return f.d.cuLaunchKernel_(function, grid_x, 1, 1, block, 1, 1, shared, f.stream(),
                                   arguments, nullptr);
    };
    CHECK(launch(softmax, 0, 128, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(launch(softmax, 1, 129, 0) == CUDA_ERROR_INVALID_VALUE);  // __launch_bounds__(128)
    CHECK(launch(norm, 1, 128, 49153) == CUDA_ERROR_INVALID_VALUE);
    const CUfunction_attribute most = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    CHECK(f.d.cuFuncSetAttribute_(norm, most, 232448) == CUDA_ERROR_INVALID_VALUE);
    CHECK(f.d.cuFuncSetAttribute_(norm, most, 232448 - 32) == CUDA_SUCCESS);
    CHECK(f.d.cuLaunchCooperativeKernel_(grid, 132 * 2 + 1, 1, 1, 1024, 1, 1, 0, f.stream(),
                                         arguments) == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
}

// Breaks if an image for another device, or no PTX at all, is run.
TEST_CASE("images that do not fit are refused", "[driver]") {
    DriverFixture f;
    CUlibrary library = nullptr;
    const auto load = [&](const std::string& image) {
        return f.d.cuLibraryLoadData_(&library, image.c_str(), nullptr, nullptr, 0, nullptr,
                                      nullptr, 0);
    };
    f.d.set("compute=80");
    const std::string hopper = read_text(VIRTUAL_GPU_PTX_DIR "/right.90a.ptx");
    CHECK(load(hopper) == CUDA_ERROR_NO_BINARY_FOR_GPU);
    f.d.set("compute=100");
    CHECK(load(hopper) == CUDA_ERROR_NO_BINARY_FOR_GPU);  // 90a means 9.0 and no other.
    f.d.set("compute=90");
    CHECK(load(hopper) == CUDA_SUCCESS);
    CHECK(load("\x7f"
               "ELF, a cubin") == CUDA_ERROR_NO_BINARY_FOR_GPU);
    CHECK(load(".version 9.0\n.target sm_80\n.bogus") == CUDA_ERROR_INVALID_PTX);
    CHECK_THAT(f.d.text("findings"), ContainsSubstring("PTX line 3: directive '.bogus'"));
}

// Breaks if a fault that a test asks for does not happen, or happens twice.
TEST_CASE("faults come when they are asked for", "[driver]") {
    DriverFixture f;
    CUdeviceptr address = 0;
    f.d.set("fail_allocation=2");
    CHECK(f.d.cuMemAlloc_v2_(&address, 16) == CUDA_SUCCESS);
    CHECK(f.d.cuMemAlloc_v2_(&address, 16) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(f.d.cuMemAlloc_v2_(&address, 16) == CUDA_SUCCESS);
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    REQUIRE(f.d.cuMemGetInfo_v2_(&free_bytes, &total_bytes) == CUDA_SUCCESS);
    CHECK(f.d.cuMemAlloc_v2_(&address, free_bytes + 1) == CUDA_ERROR_OUT_OF_MEMORY);

    const CUfunction softmax = f.function("right", "softmax");
    const CUstream stream = f.stream();
    const CUdeviceptr x = f.allocate(8);
    REQUIRE(f.d.cuMemsetD32Async_(x, 0, 2, stream) == CUDA_SUCCESS);
    f.d.set("fail_launch=1");
    CHECK(launch_softmax(f, softmax, x, 2, stream) == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    CHECK(launch_softmax(f, softmax, x, 2, stream) == CUDA_SUCCESS);
    CHECK(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    f.d.set("lose_device=1");
    CHECK(launch_softmax(f, softmax, x, 2, stream) == CUDA_SUCCESS);
    CHECK(f.d.cuStreamSynchronize_(stream) == CUDA_ERROR_DEVICE_UNAVAILABLE);
    CHECK(f.d.cuCtxSynchronize_() == CUDA_ERROR_DEVICE_UNAVAILABLE);
    f.d.reset();

    void* function = nullptr;
    CUdriverProcAddressQueryResult status{};
    const auto find = [&](const char* name, int version) {
        return f.d.get_proc_address(name, &function, version, 0, &status);
    };
    CHECK(find("cuMemAlloc", 12000) == CUDA_SUCCESS);
    CHECK(function == reinterpret_cast<void*>(f.d.cuMemAlloc_v2_));
    f.d.set("missing=cuMemAlloc");
    CHECK(find("cuMemAlloc", 12000) == CUDA_ERROR_NOT_FOUND);
    CHECK(status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    f.d.set("missing=,driver=12040");
    CHECK(find("cuMemAlloc", 13000) == CUDA_ERROR_NOT_FOUND);
    CHECK(status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    int version = 0;
    CHECK(f.d.cuDriverGetVersion_(&version) == CUDA_SUCCESS);
    CHECK(version == 12040);
    f.d.set("driver=13000");
    CHECK(find("cuNoSuchThing", 12000) == CUDA_ERROR_NOT_FOUND);
    CHECK_THAT(f.d.text("findings"), ContainsSubstring("'cuNoSuchThing'"));
}

// Breaks if host code that uses a device pointer gets away with it.
TEST_CASE("the host cannot touch device memory", "[driver]") {
    DriverFixture f;
    const CUdeviceptr x = f.allocate(64);
    const pid_t child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*reinterpret_cast<volatile int*>(x) == 0 ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGSEGV);
}

// Breaks if work of one step is counted in another, or a sector read twice in a step counts twice.
TEST_CASE("sections and regions count by themselves", "[driver]") {
    DriverFixture f;
    const CUfunction softmax = f.function("right", "softmax");
    const CUstream stream = f.stream();
    const CUdeviceptr x = f.allocate(1024);
    REQUIRE(f.d.name(x + 1020, "row") == 0);
    CHECK(f.d.name(x + 1024, "nothing") == 1);
    REQUIRE(f.d.cuMemsetD32Async_(x, 0, 256, stream) == CUDA_SUCCESS);
    f.d.section("first step");
    REQUIRE(launch_softmax(f, softmax, x, 256, stream) == CUDA_SUCCESS);
    f.d.section("second step");
    REQUIRE(launch_softmax(f, softmax, x, 256, stream) == CUDA_SUCCESS);
    REQUIRE(launch_softmax(f, softmax, x, 256, stream) == CUDA_SUCCESS);
    f.d.section("");
    REQUIRE(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    const std::string json = f.d.text("counters");
    const auto row_of = [&json](const char* section) {
        const size_t at = json.find(std::string("{\"name\": \"") + section);
        REQUIRE(at != std::string::npos);
        const size_t row = json.find("\"row\": {", at);
        return json.substr(row, json.find('}', row) - row);
    };
    // 256 floats are 32 sectors, each read three times and written twice a launch.
    CHECK_THAT(row_of("first step"), ContainsSubstring("\"sectors\": 160"));
    CHECK_THAT(row_of("first step"), ContainsSubstring("\"unique_reads\": 32"));
    CHECK_THAT(row_of("second step"), ContainsSubstring("\"sectors\": 320"));
    CHECK_THAT(row_of("second step"), ContainsSubstring("\"unique_reads\": 64"));
    CHECK_THAT(row_of("second step"), ContainsSubstring("\"step_reads\": 32"));
}

// Breaks if the n-th mutation is not made, or another one is.
TEST_CASE("a module can be loaded with one barrier dropped", "[driver]") {
    DriverFixture f;
    const CUdeviceptr x = f.allocate(1024);
    const CUstream stream = f.stream();
    const auto findings_with = [&](const std::string& mutant) {
        f.d.reset();
        f.d.set(("mutants=/dev/null,mutant=" + mutant).c_str());
        const CUfunction softmax = f.function("right", "softmax");
        f.d.set("mutants=,mutant=0");
        CHECK(f.d.cuMemsetD32Async_(x, 0, 256, stream) == CUDA_SUCCESS);
        CHECK(launch_softmax(f, softmax, x, 256, stream) == CUDA_SUCCESS);
        CHECK(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
        return f.d.text("findings");
    };
    // The numbers count over all modules loaded since the start; the first of a kernel that does
    // not run changes nothing.
    const std::string list = f.d.text("mutants");
    const auto first = 1 + std::count(list.begin(), list.end(), '\n');
    CHECK(findings_with("0").empty());
    const std::string all = f.d.text("mutants");
    std::vector<std::string> lines;
    std::stringstream stream_of_lines(all);
    for (std::string line; std::getline(stream_of_lines, line);) {
        lines.push_back(line);
    }
    const size_t n_module = lines.size() - static_cast<size_t>(first) + 1;
    size_t barrier = static_cast<size_t>(first) - 1;
    while (lines.at(barrier).find("softmax") != 2 ||
           lines[barrier].find("bar.sync") == std::string::npos) {
        barrier += 1;
    }
    CHECK_THAT(findings_with(std::to_string(barrier + 1 + n_module)), ContainsSubstring("race"));
}

// Breaks if devices share memory, streams or errors.
TEST_CASE("each device is a device of its own", "[driver]") {
    DriverFixture f;
    f.d.set("devices=2");
    const CUfunction softmax = f.function("right", "softmax");
    const CUdeviceptr x = f.allocate(16);
    const CUstream stream = f.stream();
    CUcontext first = nullptr;
    CUcontext second = nullptr;
    REQUIRE(f.d.cuDevicePrimaryCtxRetain_(&first, 0) == CUDA_SUCCESS);
    REQUIRE(f.d.cuDevicePrimaryCtxRetain_(&second, 1) == CUDA_SUCCESS);
    REQUIRE(f.d.cuCtxSetCurrent_(second) == CUDA_SUCCESS);
    const CUdeviceptr y = f.allocate(16);
    const CUstream other = f.stream();
    REQUIRE(f.d.cuMemsetD32Async_(y, 0, 4, other) == CUDA_SUCCESS);
    CHECK(launch_softmax(f, softmax, y, 4, stream) == CUDA_ERROR_INVALID_HANDLE);
    REQUIRE(launch_softmax(f, softmax, y, 4, other) == CUDA_SUCCESS);
    float found[4] = {};
    REQUIRE(f.d.cuMemcpyDtoHAsync_v2_(found, y, 16, other) == CUDA_SUCCESS);
    CHECK(found[3] == 0.25f);
    // The first device's memory is no part of the second: its kernels cannot reach there.
    REQUIRE(launch_softmax(f, softmax, x, 4, other) == CUDA_SUCCESS);
    CHECK(f.d.cuStreamSynchronize_(other) == CUDA_ERROR_ILLEGAL_ADDRESS);
    REQUIRE(f.d.cuCtxSetCurrent_(first) == CUDA_SUCCESS);
    CHECK(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    f.d.set("devices=1");
}
