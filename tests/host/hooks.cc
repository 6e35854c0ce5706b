#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "host/host_support.h"

using namespace library;

namespace {

/// Waits ten seconds at most; whether it came true.
template <typename Condition>
bool comes_true(Condition&& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

struct Record {
    int32_t level;
    std::string text;
};

/// What a log hook and a progress hook saw.
struct Seen {
    std::vector<Record> records;
    std::vector<uint64_t> done;
    uint64_t total = 0;
    std::thread::id thread;
};

void keep_record(void* user_data, int32_t level, const char* text, uint64_t bytes) {
    static_cast<Seen*>(user_data)->records.push_back({level, std::string(text, bytes)});
}

int32_t keep_progress(void* user_data, uint64_t bytes_done, uint64_t bytes_total) {
    auto* seen = static_cast<Seen*>(user_data);
    seen->done.push_back(bytes_done);
    seen->total = bytes_total;
    seen->thread = std::this_thread::get_id();
    return 0;
}

}  // namespace

// Breaks when a host's progress bar jumps, never ends, or is drawn from a thread that may not.
TEST_CASE("host log and progress hooks", "[host]") {
    Seen logged;
    Seen loaded;
    fathom_engine_options options = sized<fathom_engine_options>();
    options.log = keep_record;
    options.log_user_data = &logged;
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.progress = keep_progress;
    model_options.progress_user_data = &loaded;
    const Model model = load(engine.get(), demo_model(), model_options);
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    REQUIRE(fathom_model_estimate(nullptr, &source, nullptr, &plan, nullptr) == FATHOM_OK);
    REQUIRE(loaded.thread == std::this_thread::get_id());
    REQUIRE(loaded.done.size() > 1);
    for (size_t i = 1; i < loaded.done.size(); ++i) REQUIRE(loaded.done[i] >= loaded.done[i - 1]);
    REQUIRE(loaded.done.back() == loaded.total);
    REQUIRE(loaded.total <= plan.file_bytes);
    REQUIRE(loaded.total > plan.file_bytes / 2);
    bool says_loaded = false;
    for (const Record& record : logged.records) {
        says_loaded = says_loaded || (record.level == FATHOM_LOG_INFO &&
                                      record.text.find(demo_model()) != std::string::npos);
    }
    REQUIRE(says_loaded);
}

namespace {

/// A hook that stays inside until somebody else was inside, too.
struct Meeting {
    std::atomic<int> n_inside{0};
    std::atomic<int> n_met{0};
    std::atomic<bool> leave{false};

    void enter() {
        n_inside.fetch_add(1);
        if (comes_true([&] { return n_inside.load() >= 2 || leave.load(); })) n_met.fetch_add(1);
    }
};

}  // namespace

// Breaks when a hook is called with a lock held: a host whose hook waits for another of its
// threads, which is inside the library, then waits for ever.
TEST_CASE("host hooks hold up no other call", "[host][threads]") {
    const bool by_log = GENERATE(true, false);
    Meeting meeting;
    fathom_engine_options options = sized<fathom_engine_options>();
    if (by_log) {
        options.log = [](void* user_data, int32_t, const char*, uint64_t) {
            static_cast<Meeting*>(user_data)->enter();
        };
        options.log_user_data = &meeting;
    }
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    if (!by_log) {
        model_options.progress = [](void* user_data, uint64_t, uint64_t) {
            static_cast<Meeting*>(user_data)->enter();
            return 0;
        };
        model_options.progress_user_data = &meeting;
    }
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    int32_t statuses[2] = {FATHOM_INTERNAL, FATHOM_INTERNAL};
    std::vector<std::thread> loading;
    for (int32_t& status : statuses) {
        loading.emplace_back([&] {
            fathom_model* model = nullptr;
            status = fathom_model_load(engine.get(), &source, &model_options, &model, nullptr);
            fathom_model_release(model);
        });
    }
    const bool somebody = comes_true([&] { return meeting.n_inside.load() >= 1; });
    // Somebody is inside a hook, or was: the engine goes on.
    fathom_engine_stats stats = sized<fathom_engine_stats>();
    const int32_t status = fathom_engine_stats_read(engine.get(), &stats, nullptr);
    const bool both = comes_true([&] { return meeting.n_inside.load() >= 2; });
    meeting.leave.store(true);
    for (std::thread& thread : loading) thread.join();
    CHECK(somebody);
    CHECK(status == FATHOM_OK);
    CHECK(both);
    CHECK(meeting.n_met.load() >= 2);
    CHECK(statuses[0] == FATHOM_OK);
    CHECK(statuses[1] == FATHOM_OK);
}

#if defined(__x86_64__)

namespace {

/// The rounding and flushing bits that the hooks found.
std::atomic<uint32_t> log_word{0};
std::atomic<uint32_t> progress_word{0};

}  // namespace

// Breaks when a hook computes in the library's floating-point mode instead of its program's.
TEST_CASE("host hooks see the host's floating point control", "[host]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.log = [](void*, int32_t, const char*, uint64_t) { log_word.store(_mm_getcsr()); };
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.progress = [](void*, uint64_t, uint64_t) {
        progress_word.store(_mm_getcsr());
        return 0;
    };
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    const uint32_t before = _mm_getcsr();
    constexpr uint32_t kFlushAndTowardsZero = 0x1f80 | 0x8040 | 0x6000;
    fathom_model* model = nullptr;
    _mm_setcsr(kFlushAndTowardsZero);
    const int32_t status =
        fathom_model_load(engine.get(), &source, &model_options, &model, nullptr);
    const uint32_t after = _mm_getcsr();
    _mm_setcsr(before);
    fathom_model_release(model);
    REQUIRE(status == FATHOM_OK);
    CHECK((after & ~0x3fu) == kFlushAndTowardsZero);
    CHECK((progress_word.load() & ~0x3fu) == kFlushAndTowardsZero);
    CHECK((log_word.load() & ~0x3fu) == kFlushAndTowardsZero);
}

#endif
