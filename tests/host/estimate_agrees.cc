#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <string>

#include "host/broken_folders.h"
#include "host/host_support.h"

using namespace library;

namespace {

/// One way of asking for the same folder.
struct Asked {
    const char* name;
    uint64_t memory_budget;
    uint64_t kv_cache_bytes;
    uint64_t context;
    const char* dialect;
};

constexpr Asked kAsked[] = {
    {"nothing", 0, 0, 0, ""},
    {"a budget of a byte", 1, 0, 0, ""},
    {"a KV cache of a byte", 0, 1, 0, ""},
    {"a context that is too long", 0, 0, 200'000, ""},
    {"a dialect", 0, 0, 0, "deepseek-v3"},
    {"a dialect that is none", 0, 0, 0, "nobody's"},
    {"a dialect that is none and a budget of a byte", 1, 0, 0, "nobody's"},
};

struct Statuses {
    int32_t load;
    int32_t estimate;
    int32_t inspect;
    uint64_t total_bytes;
};

Statuses statuses_of(const std::string& path, const Asked& asked) {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    options.memory_budget = asked.memory_budget;
    options.kv_cache_bytes = asked.kv_cache_bytes;
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.context = asked.context;
    model_options.dialect = asked.dialect;
    model_options.dialect_bytes = std::strlen(asked.dialect);
    const fathom_source source = source_of(path);
    fathom_model* model = nullptr;
    fathom_buffer* json = nullptr;
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    Result load;
    Result estimate;
    load.status = fathom_model_load(engine.get(), &source, &model_options, &model, &load.error);
    estimate.status =
        fathom_model_estimate(&options, &source, &model_options, &plan, &estimate.error);
    const int32_t inspect =
        fathom_model_inspect(&options, &source, &model_options, &json, nullptr);
    fathom_model_release(model);
    fathom_buffer_release(json);
    UNSCOPED_INFO("load: " << load.message());
    UNSCOPED_INFO("estimate: " << estimate.message());
    return {load.status, estimate.status, inspect, plan.total_bytes};
}

void check_agreement(const std::string& path, bool headers_are_right) {
    for (const Asked& asked : kAsked) {
        CAPTURE(asked.name);
        const Statuses found = statuses_of(path, asked);
        CHECK(found.inspect == found.estimate);
        // What is wrong with the numbers of a tensor, no header can tell.
        const bool only_loading_tells = headers_are_right && found.load == FATHOM_FORMAT;
        CHECK(found.estimate == (only_loading_tells ? FATHOM_OK : found.load));
        // A host that asked for a budget learns how much too small it is.
        if (found.estimate == FATHOM_BUDGET && asked.memory_budget != 0) {
            CHECK(found.total_bytes > asked.memory_budget);
        }
    }
}

}  // namespace

// Breaks when a host that asks first is told that a folder loads which does not, or the reverse.
TEST_CASE("host estimate and inspect give the status of loading", "[host][hostile]") {
    const host::ScratchFolder good;
    host::write_good_folder(host::Folder(good.path()));
    check_agreement(good.path(), false);
    check_agreement(fixture("v3-f32"), false);
    for (const host::BrokenFolder& broken : host::broken_folders()) {
        const host::ScratchFolder scratch;
        const host::Folder folder(scratch.path());
        host::write_good_folder(folder);
        broken.break_it(folder);
        CAPTURE(broken.name);
        check_agreement(scratch.path(), broken.load != broken.estimate);
    }
}
