#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "host/host_support.h"

using namespace library;

namespace {

/// What the loading thread and the one that shuts down tell each other.
struct Meeting {
    std::atomic<bool> loading{false};
    std::atomic<bool> shut_down{false};
    std::atomic<int> n_calls{0};
};

/// Waits ten seconds at most.
bool comes_true(const std::atomic<bool>& flag) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!flag.load() && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return flag.load();
}

int32_t wait_for_shutdown(void* user_data, uint64_t, uint64_t) {
    auto* meeting = static_cast<Meeting*>(user_data);
    meeting->n_calls.fetch_add(1);
    meeting->loading.store(true);
    comes_true(meeting->shut_down);
    return 0;
}

}  // namespace

// Breaks when a program that wants to end waits for gigabytes to be read first, or is left with
// threads of an engine that it shut down.
TEST_CASE("host shutdown while a model loads", "[host][threads]") {
    const size_t threads_before = host::n_threads_settled(1);
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = 4;
    const Engine engine = new_engine(options);
    Meeting meeting;
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.progress = wait_for_shutdown;
    model_options.progress_user_data = &meeting;
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    fathom_model* model = nullptr;
    int32_t loaded = FATHOM_OK;
    std::thread loader([&] {
        loaded = fathom_model_load(engine.get(), &source, &model_options, &model, nullptr);
    });
    const bool was_loading = comes_true(meeting.loading);
    const int32_t status = fathom_engine_shutdown(engine.get(), 0, nullptr);
    meeting.shut_down.store(true);
    loader.join();
    CHECK(was_loading);
    CHECK(status == FATHOM_OK);  // no stream was cancelled
    CHECK(loaded == FATHOM_SHUTDOWN);
    CHECK(model == nullptr);
    CHECK(meeting.n_calls.load() == 1);
    CHECK(host::n_threads_settled(threads_before) == threads_before);
    fathom_engine_stats stats = sized<fathom_engine_stats>();
    REQUIRE(fathom_engine_stats_read(engine.get(), &stats, nullptr) == FATHOM_OK);
    CHECK(stats.n_models == 0);
    CHECK(stats.memory_bytes == 0);
    fathom_model_release(model);
    CHECK(fathom_model_load(engine.get(), &source, nullptr, &model, nullptr) == FATHOM_SHUTDOWN);
}
