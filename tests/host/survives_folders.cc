#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "host/broken_folders.h"
#include "host/host_support.h"

using namespace library;

namespace {

/// The ids of one answer, or as many as came; Catch may be asked nothing on another thread.
std::vector<int32_t> answer(fathom_model* model, const fathom_prompt* prompt) {
    fathom_generate_options options = at_most(200);
    options.temperature = 0.9f;
    options.seed = 7;
    fathom_session* session = nullptr;
    fathom_stream* stream = nullptr;
    std::vector<int32_t> ids;
    int32_t status = fathom_session_create(model, nullptr, &session, nullptr);
    if (status == FATHOM_OK) {
        status = fathom_session_generate(session, prompt, &options, &stream, nullptr);
    }
    fathom_event event = sized<fathom_event>();
    while (status == FATHOM_OK && event.type != FATHOM_EVENT_DONE) {
        status = fathom_stream_next(stream, UINT64_MAX, &event, nullptr);
        if (status == FATHOM_OK) ids.insert(ids.end(), event.ids, event.ids + event.n_ids);
    }
    fathom_stream_release(stream);
    fathom_session_release(session);
    return ids;
}

/// Asks one model the same thing again and again, on a thread of its own, so that a stream of the
/// engine always runs.
class Speaker {
public:
    explicit Speaker(fathom_model* model)
        : model_(model),
          prompt_(raw_prompt(host::fixture_prompt(20))),
          wanted_(answer(model, prompt_.get())),
          thread_([this] { speak(); }) {}
    ~Speaker() { stop(); }
    void stop() {
        stop_.store(true);
        if (thread_.joinable()) thread_.join();
    }
    int n_answers() const { return n_answers_.load(); }
    int n_wrong() const { return n_wrong_.load(); }
    size_t n_ids() const { return wanted_.size(); }

private:
    void speak() {
        while (!stop_.load()) {
            if (answer(model_, prompt_.get()) != wanted_) n_wrong_.fetch_add(1);
            n_answers_.fetch_add(1);
        }
    }

    fathom_model* model_;
    Prompt prompt_;
    std::vector<int32_t> wanted_;
    std::atomic<bool> stop_{false};
    std::atomic<int> n_answers_{0};
    std::atomic<int> n_wrong_{0};
    std::thread thread_;
};

/// What a failed call may not change.
struct Resources {
    uint64_t memory_bytes;
    uint64_t n_models;
    size_t n_descriptors;
    size_t n_threads;
};

Resources resources(fathom_engine* engine) {
    fathom_engine_stats stats = sized<fathom_engine_stats>();
    REQUIRE(fathom_engine_stats_read(engine, &stats, nullptr) == FATHOM_OK);
    return {stats.memory_bytes, stats.n_models, host::n_descriptors(), host::n_threads()};
}

void require_unchanged(fathom_engine* engine, const Resources& before) {
    const Resources now = resources(engine);
    REQUIRE(now.memory_bytes == before.memory_bytes);
    REQUIRE(now.n_models == before.n_models);
    REQUIRE(now.n_descriptors == before.n_descriptors);
    REQUIRE(now.n_threads == before.n_threads);
}

struct Statuses {
    int32_t load;
    int32_t estimate;
    int32_t tokenizer;
    bool operator==(const Statuses&) const = default;
};

Statuses statuses_of(fathom_engine* engine, const std::string& path) {
    const fathom_source source = source_of(path);
    fathom_model* model = nullptr;
    fathom_tokenizer* tokenizer = nullptr;
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    Result load;
    load.status = fathom_model_load(engine, &source, nullptr, &model, &load.error);
    const Statuses statuses{
        load.status, fathom_model_estimate(nullptr, &source, nullptr, &plan, nullptr),
        fathom_tokenizer_open(&source, &tokenizer, nullptr)};
    UNSCOPED_INFO("load: " << load.message());
    REQUIRE((model == nullptr) == (load.status != FATHOM_OK));
    fathom_model_release(model);
    fathom_tokenizer_release(tokenizer);
    return statuses;
}

Engine engine_with_one_thread() {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = 1;
    options.deterministic = 1;
    return new_engine(options);
}

}  // namespace

// Breaks when a broken folder costs an engine memory, a model's place, a descriptor or a thread,
// or disturbs the answers that it gives meanwhile.
TEST_CASE("host engine survives every broken folder", "[host][hostile]") {
    const Engine engine = engine_with_one_thread();
    const Model model = load(engine.get(), fixture("v3-f32"));
    Speaker speaker(model.get());
    REQUIRE(speaker.n_ids() == 200);
    host::n_threads_settled(3);  // this one, the engine's, the speaker's; not those of other tests
    const Resources before = resources(engine.get());
    REQUIRE(before.n_models == 1);
    for (const host::BrokenFolder& broken : host::broken_folders()) {
        const host::ScratchFolder scratch;
        const host::Folder folder(scratch.path());
        host::write_good_folder(folder);
        broken.break_it(folder);
        CAPTURE(broken.name);
        const Statuses found = statuses_of(engine.get(), scratch.path());
        CHECK(found.load == broken.load);
        CHECK(found.estimate == broken.estimate);
        CHECK(found.tokenizer == broken.tokenizer);
        require_unchanged(engine.get(), before);
    }
    const host::ScratchFolder scratch;
    host::write_good_folder(host::Folder(scratch.path()));
    REQUIRE(statuses_of(engine.get(), scratch.path()) == Statuses{FATHOM_OK, FATHOM_OK, FATHOM_OK});
    require_unchanged(engine.get(), before);
    speaker.stop();
    REQUIRE(speaker.n_answers() > 10);
    REQUIRE(speaker.n_wrong() == 0);
}

// Breaks when a folder that the tests above break was never good, so that anything would refuse it.
TEST_CASE("host good folder with a SentencePiece model", "[host][hostile]") {
    const Engine engine = engine_with_one_thread();
    const host::ScratchFolder scratch;
    const host::Folder folder(scratch.path());
    host::write_good_folder(folder);
    host::write_sentencepiece_folder(folder, host::good_sentencepiece_model());
    REQUIRE(statuses_of(engine.get(), scratch.path()) == Statuses{FATHOM_OK, FATHOM_OK, FATHOM_OK});
}

// Breaks when a load that is cancelled or asked for the impossible leaves something behind.
TEST_CASE("host engine survives loads with bad options", "[host][hostile]") {
    const Engine engine = engine_with_one_thread();
    host::n_threads_settled(2);
    const Resources before = resources(engine.get());
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    const auto status_with = [&](const fathom_model_options& options) {
        fathom_model* model = nullptr;
        const int32_t status =
            fathom_model_load(engine.get(), &source, &options, &model, nullptr);
        REQUIRE((model == nullptr) == (status != FATHOM_OK));
        fathom_model_release(model);
        require_unchanged(engine.get(), before);
        return status;
    };
    fathom_model_options options = sized<fathom_model_options>();
    options.kv_type = 3;
    CHECK(status_with(options) == FATHOM_INVALID_ARGUMENT);
    options = sized<fathom_model_options>();
    options.context = 1025;
    CHECK(status_with(options) == FATHOM_INVALID_ARGUMENT);
    options = sized<fathom_model_options>();
    options.dialect = "nobody's";
    options.dialect_bytes = 8;
    CHECK(status_with(options) == FATHOM_UNSUPPORTED);
    options = sized<fathom_model_options>();
    // The load is cancelled at each of its steps, until one load has fewer of them.
    struct Cancel {
        int at;
        int n_calls;
    } cancel{0, 0};
    options.progress_user_data = &cancel;
    options.progress = [](void* user_data, uint64_t, uint64_t) {
        auto* mine = static_cast<Cancel*>(user_data);
        return mine->n_calls++ == mine->at ? 7 : 0;
    };
    int32_t status = status_with(options);
    REQUIRE(status == FATHOM_CANCELLED);
    for (int at = 1; status == FATHOM_CANCELLED; at = at * 2) {
        cancel = {at, 0};
        status = status_with(options);
    }
    CHECK(status == FATHOM_OK);
}

// Breaks when a load for which there is no memory keeps a part of it.
TEST_CASE("host engine survives a load without memory", "[host][hostile]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = 1;
    options.kv_cache_bytes = UINT64_MAX;
    const Engine engine = new_engine(options);
    host::n_threads_settled(2);
    const Resources before = resources(engine.get());
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    for (int i = 0; i < 3; ++i) {
        fathom_model* model = nullptr;
        REQUIRE(fathom_model_load(engine.get(), &source, nullptr, &model, nullptr) ==
                FATHOM_NO_MEMORY);
        REQUIRE(model == nullptr);
        require_unchanged(engine.get(), before);
    }
    REQUIRE(before.memory_bytes == 0);
    REQUIRE(before.n_models == 0);
}
