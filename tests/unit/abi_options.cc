// If these fail, a field of an option struct does something else than fathom.h says of it, or
// nothing.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#define CATCH_CONFIG_ENABLE_PAIR_STRINGMAKER  // a failure shows the fields
#include <catch2/catch_test_macros.hpp>

#include "abi/handles.h"
#include "abi/library_handles.h"
#include "abi/options.h"

using namespace fathom;
using namespace library;

namespace {

int some_object = 0;

void some_log(void*, int32_t, const char*, uint64_t) {}
int32_t some_progress(void*, uint64_t, uint64_t) { return 0; }

using Fields = std::map<std::string, std::string>;

template <typename Pointer>
std::string address(Pointer pointer) {
    return std::to_string(reinterpret_cast<uintptr_t>(pointer));
}

Fields fields_of(const EngineOptions& options) {
    return {{"mode", std::to_string(static_cast<int>(options.mode))},
            {"n_threads", std::to_string(options.n_threads)},
            {"cpu_level", std::to_string(static_cast<int>(options.cpu_level))},
            {"deterministic", std::to_string(options.deterministic)},
            {"max_batch_rows", std::to_string(options.max_batch_rows)},
            {"max_sequences", std::to_string(options.max_sequences)},
            {"memory_budget", std::to_string(options.memory_budget)},
            {"kv_cache_bytes", std::to_string(options.kv_cache_bytes)},
            {"log", address(options.log.write)},
            {"log_user_data", address(options.log.user_data)},
            {"device", address(options.backend)},
            {"device_index", std::to_string(options.device_index)},
            {"driver_folder", options.driver_folder},
            {"of tests", std::to_string(static_cast<int>(options.mla_form)) +
                             address(options.clock)}};
}

Fields fields_of(const ModelOptions& options) {
    return {{"kv_type", std::to_string(static_cast<int>(options.kv_type))},
            {"context", std::to_string(options.context)},
            {"dialect", options.dialect},
            {"progress", address(options.progress)},
            {"progress_user_data", address(options.progress_user_data)}};
}

Fields fields_of(const GenerateOptions& options) {
    const SamplingOptions& sampling = options.sampling;
    Fields fields = {{"flags", std::to_string(options.flags)},
                     {"max_tokens", std::to_string(options.max_tokens)},
                     {"temperature", std::to_string(sampling.temperature)},
                     {"top_k", std::to_string(sampling.top_k)},
                     {"top_p", std::to_string(sampling.top_p)},
                     {"min_p", std::to_string(sampling.min_p)},
                     {"repetition_penalty", std::to_string(sampling.repetition_penalty)},
                     {"presence_penalty", std::to_string(sampling.presence_penalty)},
                     {"frequency_penalty", std::to_string(sampling.frequency_penalty)},
                     {"logprobs", std::to_string(sampling.logprobs)},
                     {"seed", std::to_string(sampling.seed)},
                     {"deadline_ns", std::to_string(options.deadline_ns)}};
    for (const LogitBias& bias : sampling.logit_bias) {
        fields["logit_bias"] += std::to_string(bias.token) + ":" + std::to_string(bias.bias) + " ";
    }
    for (const std::string& stop : options.stop) fields["stop"] += stop + "|";
    for (const int32_t id : options.stop_ids) fields["stop_ids"] += std::to_string(id) + " ";
    return fields;
}

/// Sets one field; its value as the core has to have it.
template <typename Struct>
struct Setting {
    const char* field;
    std::string value;
    std::function<void(Struct&)> set;
};

/// Every field alone reaches its own place and no other.
template <typename Struct, typename Read>
void check_fields(const std::vector<Setting<Struct>>& settings, Read&& read) {
    const Fields defaults = fields_of(read(nullptr));
    const Struct zero = sized<Struct>();
    CHECK(fields_of(read(&zero)) == defaults);
    for (const Setting<Struct>& setting : settings) {
        Struct given = sized<Struct>();
        setting.set(given);
        Fields wanted = defaults;
        wanted[setting.field] = setting.value;
        CAPTURE(setting.field);
        CHECK(wanted != defaults);
        CHECK(fields_of(read(&given)) == wanted);
    }
}

constexpr fathom_logit_bias kBias[] = {{7, 1.5F}, {9, -2.5F}};
constexpr fathom_text kStops[] = {{"end", 3}, {"stop", 2}};
constexpr int32_t kStopIds[] = {11, 5};

using GenerateSetting = Setting<fathom_generate_options>;

const std::vector<GenerateSetting>& generate_settings() {
    using Options = fathom_generate_options;
    static const std::vector<GenerateSetting> settings = {
        {"flags", "1", [](Options& o) { o.flags = FATHOM_GENERATE_APPEND; }},
        {"flags", "2", [](Options& o) { o.flags = FATHOM_GENERATE_PROMPT_ONLY; }},
        {"flags", "4", [](Options& o) { o.flags = FATHOM_GENERATE_PROMPT_LOGPROBS; }},
        {"flags", "8", [](Options& o) { o.flags = FATHOM_GENERATE_IGNORE_EOS; }},
        {"max_tokens", "18446744073709551615", [](Options& o) { o.max_tokens = UINT64_MAX; }},
        {"temperature", "0.750000", [](Options& o) { o.temperature = 0.75F; }},
        {"top_k", "3", [](Options& o) { o.top_k = 3; }},
        {"top_p", "0.250000", [](Options& o) { o.top_p = 0.25F; }},
        {"min_p", "0.500000", [](Options& o) { o.min_p = 0.5F; }},
        {"repetition_penalty", "1.250000", [](Options& o) { o.repetition_penalty = 1.25F; }},
        {"presence_penalty", "1.500000", [](Options& o) { o.presence_penalty = 1.5F; }},
        {"frequency_penalty", "-1.750000", [](Options& o) { o.frequency_penalty = -1.75F; }},
        {"logprobs", "21", [](Options& o) { o.logprobs = 21; }},
        {"seed", "18446744073709551614", [](Options& o) { o.seed = UINT64_MAX - 1; }},
        {"logit_bias", "7:1.500000 9:-2.500000 ",
         [](Options& o) { o.logit_bias = kBias, o.n_logit_bias = 2; }},
        {"stop", "end|st|", [](Options& o) { o.stop = kStops, o.n_stop = 2; }},
        {"stop_ids", "11 5 ", [](Options& o) { o.stop_ids = kStopIds, o.n_stop_ids = 2; }},
        {"deadline_ns", "5000000000", [](Options& o) { o.deadline_ns = 5'000'000'000; }},
    };
    return settings;
}

std::vector<int32_t> ids_of(fathom::Stream& stream) {
    std::vector<int32_t> ids;
    Event event;
    do {
        REQUIRE(stream.next(UINT64_MAX, event));
        ids.insert(ids.end(), event.ids.begin(), event.ids.end());
    } while (event.type != EventType::kDone);
    return ids;
}

/// What is said of options that no engine can have.
std::string refusal(const fathom_engine_options& options) {
    try {
        abi::engine_options_of(&options);
    } catch (const Error& error) {
        return error.message();
    }
    return "";
}

}  // namespace

TEST_CASE("abi options: every field of an engine's reaches the engine", "[abi]") {
    using Options = fathom_engine_options;
    check_fields<Options>(
        {{"mode", "1", [](Options& o) { o.mode = FATHOM_MODE_MANUAL; }},
         {"n_threads", "1024", [](Options& o) { o.n_threads = 1024; }},
         {"cpu_level", "2", [](Options& o) { o.cpu_level = FATHOM_CPU_AVX2; }},
         {"deterministic", "1", [](Options& o) { o.deterministic = 1; }},
         {"max_batch_rows", "65536", [](Options& o) { o.max_batch_rows = 65536; }},
         {"max_sequences", "4096", [](Options& o) { o.max_sequences = 4096; }},
         {"memory_budget", "18446744073709551615",
          [](Options& o) { o.memory_budget = UINT64_MAX; }},
         {"kv_cache_bytes", "1099511627776",
          [](Options& o) { o.kv_cache_bytes = uint64_t{1} << 40; }},
         {"log", address(&some_log), [](Options& o) { o.log = some_log; }},
         {"log_user_data", address(&some_object),
          [](Options& o) { o.log_user_data = &some_object; }},
         {"driver_folder", "/driver",
          [](Options& o) { o.driver_folder = "/driver/of", o.driver_folder_bytes = 7; }}},
        abi::engine_options_of);
}

TEST_CASE("abi options: the device is the one that was asked for, or none", "[abi]") {
    fathom_engine_options cpu = sized<fathom_engine_options>();
    cpu.device = FATHOM_DEVICE_CPU;
    CHECK(fields_of(abi::engine_options_of(&cpu)) == fields_of(abi::engine_options_of(nullptr)));
    cpu.device_index = 1;
    CHECK(refusal(cpu).find("device_index: found 1, wanted 0 to 0") != std::string::npos);
    fathom_engine_options cuda = sized<fathom_engine_options>();
    cuda.device = FATHOM_DEVICE_CUDA;
    cuda.device_index = 1024;
    CHECK(refusal(cuda).find("device_index: found 1024") != std::string::npos);
    cuda.device_index = 1023;
    cuda.plugin_folder = "/no/plugin/here/or/there";
    cuda.plugin_folder_bytes = 15;
    const std::string message = refusal(cuda);
    CHECK(message.find("/no/plugin/here") != std::string::npos);
    CHECK(message.find("/no/plugin/here/or") == std::string::npos);
}

TEST_CASE("abi options: every field of a model's reaches the model", "[abi]") {
    using Options = fathom_model_options;
    check_fields<Options>(
        {{"kv_type", "1", [](Options& o) { o.kv_type = FATHOM_KV_BF16; }},
         {"kv_type", "2", [](Options& o) { o.kv_type = FATHOM_KV_F32; }},
         {"context", "4294967297", [](Options& o) { o.context = 4294967297; }},
         {"dialect", "deepseek",
          [](Options& o) { o.dialect = "deepseek-v3", o.dialect_bytes = 8; }},
         {"progress", address(&some_progress), [](Options& o) { o.progress = some_progress; }},
         {"progress_user_data", address(&some_object),
          [](Options& o) { o.progress_user_data = &some_object; }}},
        abi::model_options_of);
}

TEST_CASE("abi options: every field of an answer's reaches the sampler", "[abi]") {
    check_fields(generate_settings(), abi::generate_options_of);
}

TEST_CASE("abi options: an answer is the core's own with the same field", "[abi][engine]") {
    fathom_engine_options engine_options = sized<fathom_engine_options>();
    engine_options.deterministic = 1;
    const library::Engine engine = new_engine(engine_options);
    const library::Model model = load(engine.get(), fixture("v3-f32"));
    const std::vector<int32_t> input = {3, 40, 77, 114, 3, 40, 77, 200};
    const Prompt prompt = raw_prompt(input);
    const library::Session session = new_session(model.get());
    const auto core_session = fathom::Session::create(model->model, 0);
    const auto answers = [&](const std::function<void(fathom_generate_options&)>& set) {
        fathom_generate_options given = at_most(40);
        given.temperature = 2;
        given.seed = 5;
        set(given);
        const library::Stream stream = generate(session.get(), prompt.get(), given);
        std::vector<int32_t> ids = drain(stream.get()).ids;
        const auto core = core_session->generate(input, abi::generate_options_of(&given));
        CHECK(ids_of(*core) == ids);
        return ids;
    };
    const std::vector<int32_t> usual = answers([](fathom_generate_options&) {});
    CHECK(usual.size() == 40);
    for (const GenerateSetting& setting : generate_settings()) {
        const std::string field = setting.field;
        // The other flags change no token, nor do these; a model without a tokenizer has no stops.
        if (field == "flags" || field == "logprobs" || field == "stop") continue;
        if (field == "deadline_ns" || field == "max_tokens" || field == "stop_ids") continue;
        CAPTURE(field);
        CHECK(answers(setting.set) != usual);
    }
    const auto stop_at = [&](fathom_generate_options& given) {
        given.stop_ids = &usual[9];
        given.n_stop_ids = 1;
    };
    CHECK(answers(stop_at).size() <= 10);
    CHECK(answers([](fathom_generate_options& given) { given.max_tokens = 3; }).size() == 3);
}
