// If this fails, a host that asks for the CUDA device gets another answer than the CPU gives it.

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "abi/library_handles.h"

using namespace library;

namespace {

struct Problem {
    std::string user;
    bool thinking;
};

/// Some held-out problems of a kind, spread over the file.
void read_problems(const std::string& kind, size_t every, std::vector<Problem>& problems) {
    const std::string path =
        std::string(FATHOM_SOURCE_DIR) + "/examples/demo-model/problems/" + kind + ".jsonl";
    std::ifstream file(path);
    REQUIRE(file.good());
    std::string line;
    for (size_t i = 0; std::getline(file, line); ++i) {
        if (i % every != 0) continue;
        const nlohmann::json json = nlohmann::json::parse(line);
        problems.push_back({json.at("user"), json.at("thinking")});
    }
}

fathom_engine_options on_cuda() {
    fathom_engine_options options = sized<fathom_engine_options>();
    static const std::string driver = FATHOM_VIRTUAL_GPU_DIR;
    static const std::string plugin = FATHOM_PLUGIN_DIR;
    options.device = FATHOM_DEVICE_CUDA;
    options.driver_folder = driver.data();
    options.driver_folder_bytes = driver.size();
    options.plugin_folder = plugin.data();
    options.plugin_folder_bytes = plugin.size();
    return options;
}

/// The answers to all problems, as many at a time as the engine takes.
std::vector<std::string> answers(const std::vector<Problem>& problems,
                                 fathom_engine_options options) {
    options.kv_cache_bytes = uint64_t{64} << 20;
    options.deterministic = 1;
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.context = 1024;
    const Model model = load(engine.get(), demo_model(), model_options);
    const Tokenizer tokenizer = tokenizer_of(model.get());
    std::vector<Session> sessions;
    std::vector<Stream> streams;
    for (const Problem& problem : problems) {
        const Prompt prompt = question(tokenizer.get(), problem.user,
                                       problem.thinking ? FATHOM_THINKING_ON : FATHOM_THINKING_OFF);
        sessions.push_back(new_session(model.get()));
        streams.push_back(
            generate(sessions.back().get(), prompt.get(), sized<fathom_generate_options>()));
    }
    std::vector<std::string> texts;
    for (const Stream& stream : streams) texts.push_back(drain(stream.get()).text);
    return texts;
}

}  // namespace

TEST_CASE("cuda host: 50 held-out problems have the CPU's answers", "[cuda][demo]") {
    std::vector<Problem> problems;
    read_problems("arithmetic", 40, problems);
    read_problems("json", 40, problems);
    REQUIRE(problems.size() == 50);
    const std::vector<std::string> wanted = answers(problems, sized<fathom_engine_options>());
    const std::vector<std::string> found = answers(problems, on_cuda());
    for (size_t i = 0; i < problems.size(); ++i) {
        CAPTURE(problems[i].user);
        CHECK(found[i] == wanted[i]);
        CHECK_FALSE(wanted[i].empty());
    }
}

TEST_CASE("cuda host: what is missing is said, and the CPU still answers", "[cuda][faults]") {
    fathom_engine_options options = on_cuda();
    const std::string nowhere = FATHOM_SOURCE_DIR;
    options.driver_folder = nowhere.data();
    options.driver_folder_bytes = nowhere.size();
    fathom_engine* engine = nullptr;
    Result result;
    result.status = fathom_engine_create(&options, &engine, &result.error);
    CHECK(result.status == FATHOM_UNSUPPORTED);
    CHECK(result.message().find(nowhere + "/libcuda.so.1") != std::string::npos);
    options = on_cuda();
    options.plugin_folder = nowhere.data();
    options.plugin_folder_bytes = nowhere.size();
    Result other;
    other.status = fathom_engine_create(&options, &engine, &other.error);
    CHECK(other.status == FATHOM_UNSUPPORTED);
    CHECK(other.message().find(nowhere + "/libfathom_cuda.so.1") != std::string::npos);
    CHECK(engine == nullptr);
    const Engine cpu = new_engine();
    CHECK(cpu != nullptr);
}
