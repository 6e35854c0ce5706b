// If this fails, an error of driver, device or plugin ends the host, passes silently, or leaves
// what cannot be used again.

#include "backend/plugin_abi.h"
#include "cuda/cuda_runner.h"
#include "cuda/virtual_driver.h"

using namespace cuda_test;

namespace {

BackendOptions on_virtual_gpu() {
    BackendOptions options{};
    options.driver_folder = VirtualDriver::instance().folder();
    return options;
}

struct Refusal {
    fathom::Status status = fathom::Status::kOk;
    std::string text;
    bool says(std::string_view part) const { return text.find(part) != std::string::npos; }
};

template <class Body>
Refusal refusal_of(Body&& body) {
    try {
        body();
        return {};
    } catch (const fathom::Error& error) {
        return {error.status(), error.message()};
    }
}

Refusal refusal_of_open(const BackendOptions& options) {
    return refusal_of([&] { Runner runner(cuda_backend(), golden("v2-lite"), options); });
}

bool answers() {
    Runner runner(cuda_backend(), golden("v2-lite"), on_virtual_gpu());
    Sequence sequence;
    return runner.feed(sequence, {3, 4, 5}, 3).size() == 3;
}

}  // namespace

TEST_CASE("cuda: a missing or wrong driver is named", "[cuda][faults]") {
    BackendOptions options{};
    options.driver_folder = FATHOM_SOURCE_DIR;
    Refusal refusal = refusal_of_open(options);
    CHECK(refusal.status == fathom::Status::kUnsupported);
    CHECK(refusal.says("libcuda.so.1"));
    CHECK(refusal.says(FATHOM_SOURCE_DIR));
    {
        const CleanDriver driver("compute=80,driver=12080");
        refusal = refusal_of_open(on_virtual_gpu());
        CHECK(refusal.status == fathom::Status::kUnsupported);
        CHECK(refusal.says("12.8"));
        CHECK(refusal.says("13.0"));
        VirtualDriver::instance().set("driver=13000");
    }
    {
        const CleanDriver driver("compute=80,missing=cuGraphLaunch");
        refusal = refusal_of_open(on_virtual_gpu());
        CHECK(refusal.status == fathom::Status::kUnsupported);
        CHECK(refusal.says("cuGraphLaunch"));
    }
    {
        const CleanDriver driver("compute=75");
        refusal = refusal_of_open(on_virtual_gpu());
        CHECK(refusal.status == fathom::Status::kUnsupported);
        CHECK(refusal.says("sm_75"));
        VirtualDriver::instance().set("compute=80");
    }
    {
        const CleanDriver driver;
        options = on_virtual_gpu();
        options.device_index = 7;
        refusal = refusal_of_open(options);
        CHECK(refusal.status == fathom::Status::kInvalidArgument);
    }
    CHECK(answers());
}

TEST_CASE("cuda: a plugin that is not there or not ours is refused", "[cuda][faults]") {
    Refusal refusal = refusal_of([] { fathom::load_plugin("cuda", FATHOM_SOURCE_DIR); });
    CHECK(refusal.status == fathom::Status::kUnsupported);
    CHECK(refusal.says("libfathom_cuda.so.1"));
    // The entry refuses every other build than its own, and names its own.
    void* library =
        dlopen(fathom::concat(FATHOM_PLUGIN_DIR, "/libfathom_cuda.so.1").c_str(), RTLD_NOW);
    REQUIRE(library != nullptr);
    const auto entry =
        reinterpret_cast<fathom::PluginEntry>(dlsym(library, fathom::kPluginEntryName));
    REQUIRE(entry != nullptr);
    const char* own = nullptr;
    CHECK(entry(nullptr, "another build", &own) == nullptr);
    CHECK(std::string(own) == fathom::kBuildId);
}

TEST_CASE("cuda: refused memory is a status, at any allocation", "[cuda][faults]") {
    int refused = 0;
    for (int n = 1; n < 20; ++n) {
        const CleanDriver driver(fathom::concat("compute=80,fail_allocation=", n));
        const Refusal refusal = refusal_of_open(on_virtual_gpu());
        if (refusal.status == fathom::Status::kOk) break;
        CAPTURE(n, refusal.text);
        CHECK(refusal.status == fathom::Status::kNoMemory);
        ++refused;
    }
    // Weights, workspace, KV pages and pinned memory.
    CHECK(refused == 4);
    const CleanDriver driver;
    CHECK(answers());
}

TEST_CASE("cuda: a refused launch fails one step and no more", "[cuda][faults]") {
    const CleanDriver driver;
    Runner runner(cuda_backend(), golden("v2-lite"), on_virtual_gpu());
    Sequence wanted_sequence;
    const Rows wanted = runner.feed(wanted_sequence, {3, 4, 5}, 3);
    for (const int n : {1, 2, 9}) {
        // A chunk runs as single launches, one token as a graph that is captured then.
        for (const size_t chunk : {size_t{3}, size_t{1}}) {
            CAPTURE(n, chunk);
            VirtualDriver::instance().set(fathom::concat("fail_launch=", n));
            Sequence sequence;
            const Refusal refusal = refusal_of([&] { runner.feed(sequence, {3, 4, 5}, chunk); });
            VirtualDriver::instance().set("fail_launch=0");
            runner.give_back(sequence);
            // What was captured before is not launched kernel by kernel again.
            if (chunk == 3) CHECK(refusal.status == fathom::Status::kDevice);
            Sequence again;
            CHECK(same_bits(runner.feed(again, {3, 4, 5}, 3), wanted));
            runner.give_back(again);
        }
    }
}

TEST_CASE("cuda: a lost device is said to be lost", "[cuda][faults]") {
    {
        const CleanDriver driver;
        Runner runner(cuda_backend(), golden("v2-lite"), on_virtual_gpu());
        Sequence sequence;
        runner.feed(sequence, {3, 4, 5}, 3);
        VirtualDriver::instance().set("lose_device=2");
        const Refusal refusal = refusal_of([&] { runner.feed(sequence, {6}, 1); });
        CHECK(refusal.status == fathom::Status::kDeviceLost);
        const Refusal again = refusal_of([&] { runner.feed(sequence, {6}, 1); });
        CHECK(again.status == fathom::Status::kDeviceLost);
    }
    const CleanDriver driver;
    CHECK(answers());
}
