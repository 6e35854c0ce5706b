#include <catch2/catch_test_macros.hpp>

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "host/host_support.h"

using namespace library;

namespace {

/// Path of the shared library that this program runs with.
std::string library_path() {
    Dl_info info{};
    // The address of an imported function is that of its definition.
    REQUIRE(dladdr(reinterpret_cast<void*>(&fathom_abi_version), &info) != 0);
    return info.dli_fname;
}

/// A copy under another name is another library to the loader: with state of its own, and not held
/// by this program's own link to the original.
std::string copy_of_library(const host::ScratchFolder& scratch) {
    std::string path = scratch.path() + "/libguest.so";
    std::filesystem::copy_file(std::filesystem::canonical(library_path()), path);
    return path;
}

/// Opens, uses and closes the library at `path`; returns 0 when all went well.
int use_once(const std::string& path, bool generate) {
    void* guest = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (guest == nullptr) return 1;
    const auto engine_create = reinterpret_cast<decltype(&fathom_engine_create)>(
        dlsym(guest, "fathom_engine_create"));
    const auto engine_release = reinterpret_cast<decltype(&fathom_engine_release)>(
        dlsym(guest, "fathom_engine_release"));
    const auto model_load =
        reinterpret_cast<decltype(&fathom_model_load)>(dlsym(guest, "fathom_model_load"));
    const auto model_release =
        reinterpret_cast<decltype(&fathom_model_release)>(dlsym(guest, "fathom_model_release"));
    if (engine_create == nullptr || engine_release == nullptr || model_load == nullptr) return 2;
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = 2;
    fathom_engine* engine = nullptr;
    if (engine_create(&options, &engine, nullptr) != FATHOM_OK) return 3;
    if (generate) {
        const std::string folder = fixture("v3-f32");
        const fathom_source source = source_of(folder);
        fathom_model* model = nullptr;
        if (model_load(engine, &source, nullptr, &model, nullptr) != FATHOM_OK) return 4;
        model_release(model);
    }
    engine_release(engine);
    return dlclose(guest) == 0 ? 0 : 5;
}

}  // namespace

// Breaks when closing the library while it or a thread that used it lives takes code or
// thread-local data away from under it.
TEST_CASE("host dlopen and dlclose", "[host][threads]") {
    const host::ScratchFolder scratch;
    const std::string path = copy_of_library(scratch);
    const size_t threads_before = host::n_threads();
    std::atomic<int> worst{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                const int code = use_once(path, (i + t) % 5 == 0);
                if (code != 0) worst.store(code);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(worst.load() == 0);
    REQUIRE(host::n_threads_settled(threads_before) == threads_before);
}

// Breaks when two copies of the library in one process, of two plugins for instance, disturb each
// other.
TEST_CASE("host two copies of the library", "[host]") {
    const host::ScratchFolder scratch;
    const std::string path = copy_of_library(scratch);
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(20));
    const Stream stream = generate(session.get(), prompt.get(), at_most(200));
    REQUIRE(use_once(path, true) == 0);
    REQUIRE(drain(stream.get()).ids.size() == 200);
}

// Breaks when a host that ends in the middle of a generation crashes, hangs or loses its exit code:
// static destructors run then while the library's threads still compute.
TEST_CASE("host exit while generating", "[host]") {
    const int n_times = host::kSanitized ? 5 : 40;
    for (int i = 0; i < n_times; ++i) {
        std::string output;
        const int code = host::in_fresh_process("child: exit while generating", &output);
        INFO("time " << i << ": " << output);
        REQUIRE(code == 7);
    }
}

TEST_CASE("child: exit while generating", "[.child]") {
    Engine engine = new_engine();
    Model model = load(engine.get(), fixture("v3-f32"));
    std::vector<Session> sessions;
    std::vector<Stream> streams;
    const Prompt prompt = raw_prompt(host::fixture_prompt(100));
    for (int i = 0; i < 4; ++i) {
        sessions.push_back(new_session(model.get()));
        // Each KV cache holds one session; the others wait.
        streams.push_back(generate(sessions.back().get(), prompt.get(), at_most(2000)));
    }
    const auto microseconds = static_cast<unsigned>(getpid()) * 7919u % 20000u;
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    std::exit(7);
}
