#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <cstring>
#include <string>

#include <nlohmann/json.hpp>

#include "host/host_support.h"

using namespace library;

namespace {

/// What the chat template of the demo model's folder is recognised as.
constexpr const char* kDemoDialect = "deepseek-v3.1-card";

fathom_memory_plan plan_of(const std::string& folder, const fathom_engine_options& engine_options,
                           const fathom_model_options& model_options) {
    const fathom_source source = source_of(folder);
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    Result result;
    result.status = fathom_model_estimate(&engine_options, &source, &model_options, &plan,
                                          &result.error);
    INFO(result.message());
    REQUIRE(result.status == FATHOM_OK);
    return plan;
}

fathom_model_description describe(const fathom_model* model) {
    fathom_model_description description = sized<fathom_model_description>();
    REQUIRE(fathom_model_describe(model, &description, nullptr) == FATHOM_OK);
    return description;
}

bool within_2_percent(uint64_t found, uint64_t wanted) {
    const auto difference = std::abs(static_cast<double>(found) - static_cast<double>(wanted));
    return difference <= 0.02 * static_cast<double>(wanted);
}

std::string metadata(const fathom_model* model, const char* key) {
    const char* value = nullptr;
    uint64_t bytes = 0;
    Result result;
    result.status = fathom_model_metadata_get(model, key, &value, &bytes, &result.error);
    INFO(key << ": " << result.message());
    REQUIRE(result.status == FATHOM_OK);
    REQUIRE(std::strlen(value) == bytes);
    return value;
}

}  // namespace

// Breaks when a host that plans its memory by the estimate gets a model of another size.
TEST_CASE("host estimate within 2 percent", "[host]") {
    for (const std::string& folder : {fixture("v3-f32"), fixture("v3-bf16"), fixture("v3-fp8"),
                                     fixture("v2-lite"), fixture("kimi-k2"), demo_model()}) {
        for (const int32_t rows : {0, 16}) {
            fathom_engine_options options = sized<fathom_engine_options>();
            options.max_batch_rows = rows;
            options.n_threads = 2;
            fathom_model_options model_options = sized<fathom_model_options>();
            model_options.context = rows == 0 ? 0 : 640;
            const fathom_memory_plan plan = plan_of(folder, options, model_options);
            const Engine engine = new_engine(options);
            const Model model = load(engine.get(), folder, model_options);
            const fathom_model_description real = describe(model.get());
            CAPTURE(folder, rows);
            REQUIRE(within_2_percent(plan.weight_bytes, real.weight_bytes));
            REQUIRE(within_2_percent(plan.workspace_bytes, real.workspace_bytes));
            REQUIRE(within_2_percent(plan.kv_cache_bytes, real.kv_cache_bytes));
            REQUIRE(plan.total_bytes ==
                    plan.weight_bytes + plan.workspace_bytes + plan.kv_cache_bytes);
            REQUIRE(plan.kv_bytes_per_token == real.kv_bytes_per_token);
            REQUIRE(plan.context == real.context);
            REQUIRE(plan.kv_type == real.kv_type);
            REQUIRE(plan.parameters == real.parameters);
            REQUIRE(plan.active_parameters == real.active_parameters);
            REQUIRE(plan.mha_bytes_per_token > plan.kv_bytes_per_token);
            fathom_engine_stats stats = sized<fathom_engine_stats>();
            REQUIRE(fathom_engine_stats_read(engine.get(), &stats, nullptr) == FATHOM_OK);
            REQUIRE(within_2_percent(plan.total_bytes, stats.memory_bytes));
        }
    }
}

// Breaks when the budget is not the exact border between a model that loads and one that does not.
TEST_CASE("host memory budget", "[host]") {
    const std::string folder = demo_model();
    fathom_engine_options options = sized<fathom_engine_options>();
    const fathom_memory_plan plan = plan_of(folder, options, sized<fathom_model_options>());
    const fathom_source source = source_of(folder);
    for (const uint64_t budget : {plan.total_bytes / 2, plan.total_bytes * 102 / 100}) {
        options.memory_budget = budget;
        const Engine engine = new_engine(options);
        fathom_model* model = nullptr;
        Result result;
        result.status =
            fathom_model_load(engine.get(), &source, nullptr, &model, &result.error);
        fathom_model_release(model);
        INFO(result.message());
        if (budget > plan.total_bytes) {
            REQUIRE(result.status == FATHOM_OK);
        } else {
            REQUIRE(result.status == FATHOM_BUDGET);
            REQUIRE(result.message().find(std::to_string(budget)) != std::string::npos);
        }
        fathom_engine_stats stats = sized<fathom_engine_stats>();
        REQUIRE(fathom_engine_stats_read(engine.get(), &stats, nullptr) == FATHOM_OK);
        REQUIRE(stats.memory_bytes == 0);
        REQUIRE(stats.n_models == 0);
    }
}

// Breaks when a fact of config.json is missing, changed or readable under a wrong name.
TEST_CASE("host metadata", "[host]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    REQUIRE(metadata(model.get(), "config.hidden_size") == "128");
    REQUIRE(metadata(model.get(), "config.scoring_func") == "sigmoid");
    REQUIRE(metadata(model.get(), "architecture") == "deepseek_v3");
    REQUIRE(!metadata(model.get(), "backend").empty());
    REQUIRE(metadata(model.get(), "dialect") == kDemoDialect);
    REQUIRE(std::string(describe(model.get()).dialect) == kDemoDialect);
    const char* value = "unchanged";
    Result result;
    result.status =
        fathom_model_metadata_get(model.get(), "config.nothing", &value, nullptr, &result.error);
    REQUIRE(result.status == FATHOM_INVALID_ARGUMENT);
    REQUIRE(value == nullptr);
    REQUIRE(result.message().find("config.nothing") != std::string::npos);
    const fathom_model_description facts = describe(model.get());
    REQUIRE(std::string(facts.architecture) == "deepseek_v3");
    REQUIRE(facts.n_layers == 4);
    REQUIRE(facts.n_routed_experts == 16);
    REQUIRE(facts.n_active_experts == 2);
    REQUIRE(facts.context == 1024);
}

// Breaks when `fathom inspect` and its kin get text that is no JSON or says other numbers than the
// estimate.
TEST_CASE("host inspect", "[host]") {
    for (const std::string& folder : {fixture("v3-fp8"), fixture("v2-lite"), demo_model()}) {
        const fathom_source source = source_of(folder);
        fathom_buffer* buffer = nullptr;
        REQUIRE(fathom_model_inspect(nullptr, &source, nullptr, &buffer, nullptr) == FATHOM_OK);
        uint64_t bytes = 0;
        const char* text = fathom_buffer_data(buffer, &bytes);
        const nlohmann::json json = nlohmann::json::parse(text, text + bytes);
        fathom_buffer_release(buffer);
        const fathom_memory_plan plan = plan_of(folder, sized<fathom_engine_options>(),
                                                sized<fathom_model_options>());
        CAPTURE(folder, json.dump());
        REQUIRE(json.at("parameters") == plan.parameters);
        REQUIRE(json.at("memory").at("total_bytes") == plan.total_bytes);
        REQUIRE(json.at("memory").at("context") == plan.context);
        uint64_t tensor_bytes = 0;
        for (const auto& [type, sum] : json.at("tensors").items()) {
            tensor_bytes += sum.at("bytes").get<uint64_t>();
        }
        REQUIRE(tensor_bytes == plan.file_bytes);
        REQUIRE(json.at("dialect") == (folder == demo_model() ? kDemoDialect : "no tokenizer"));
    }
    const std::string nowhere = "/nowhere/at/all";
    const fathom_source source = source_of(nowhere);
    fathom_buffer* buffer = nullptr;
    Result result;
    result.status =
        fathom_model_inspect(nullptr, &source, nullptr, &buffer, &result.error);
    REQUIRE(result.status == FATHOM_IO);
    REQUIRE(result.message().find("/nowhere/at/all") != std::string::npos);
}
