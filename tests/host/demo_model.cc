#include <catch2/catch_test_macros.hpp>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "abi/library_handles.h"

using namespace library;

namespace {

struct Problem {
    std::string kind;  // "arithmetic/add", "json/invoice", ...
    std::string user;
    bool thinking;
    std::string answer;
};

std::vector<Problem> read_problems(const std::string& kind) {
    const std::string path = std::string(FATHOM_SOURCE_DIR) +
                             "/examples/demo-model/problems/" + kind + ".jsonl";
    std::ifstream file(path);
    INFO(path);
    REQUIRE(file.good());
    std::vector<Problem> problems;
    std::string line;
    while (std::getline(file, line)) {
        const nlohmann::json json = nlohmann::json::parse(line);
        problems.push_back({json.at("kind"), json.at("user"), json.at("thinking"),
                            json.at("answer")});
    }
    return problems;
}

struct Running {
    const Problem* problem;
    Session session;
    Stream stream;
};

/// Share of the problems whose whole answer is right, many at a time through one engine.
double share_right(const std::vector<Problem>& problems) {
    constexpr size_t kAtOnce = 32;
    fathom_engine_options options = sized<fathom_engine_options>();
    options.kv_cache_bytes = uint64_t{256} << 20;
    options.deterministic = 1;  // The same number whatever the load of the machine.
    const Engine engine = new_engine(options);
    fathom_model_options model_options = sized<fathom_model_options>();
    model_options.context = 1024;
    const Model model = load(engine.get(), demo_model(), model_options);
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const fathom_generate_options greedy = sized<fathom_generate_options>();
    size_t n_right = 0;
    std::map<std::string, int> wrong;
    std::vector<Running> running;
    const auto finish_first = [&] {
        Running done = std::move(running.front());
        running.erase(running.begin());
        const Answer answer = drain(done.stream.get());
        if (answer.finish_reason == FATHOM_FINISH_END_OF_TURN &&
            answer.text == done.problem->answer) {
            ++n_right;
        } else {
            ++wrong[done.problem->kind];
        }
    };
    for (const Problem& problem : problems) {
        if (running.size() == kAtOnce) finish_first();
        const Prompt prompt =
            question(tokenizer.get(), problem.user,
                     problem.thinking ? FATHOM_THINKING_ON : FATHOM_THINKING_OFF);
        Running next{&problem, new_session(model.get()), nullptr};
        next.stream = generate(next.session.get(), prompt.get(), greedy);
        running.push_back(std::move(next));
    }
    while (!running.empty()) finish_first();
    for (const auto& [kind, count] : wrong) UNSCOPED_INFO(kind << ": " << count << " wrong");
    const double share = static_cast<double>(n_right) / static_cast<double>(problems.size());
    std::printf("demo model: %s: %zu of %zu right\n",
                problems.front().kind.substr(0, problems.front().kind.find('/')).c_str(), n_right,
                problems.size());
    return share;
}

/// What the model that ships with the project is to do with held-out problems.
constexpr double kBar = 0.97;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// A sanitizer makes this ten times as slow and looks for other mistakes: few problems do.
constexpr size_t kEvery = 50;
constexpr double kWanted = 0.9;
#else
constexpr size_t kEvery = 1;
constexpr double kWanted = kBar;
#endif

std::vector<Problem> some_of(const std::vector<Problem>& problems) {
    std::vector<Problem> some;
    for (size_t i = 0; i < problems.size(); i += kEvery) some.push_back(problems[i]);
    return some;
}

}  // namespace

// Breaks when the model that ships with the project does less than it is shipped for, or when
// anything on the way from text to text changes what it says.
TEST_CASE("demo model: arithmetic", "[demo]") {
    const std::vector<Problem> problems = read_problems("arithmetic");
    REQUIRE(problems.size() == 1000);
    REQUIRE(share_right(some_of(problems)) >= kWanted);
}

// Breaks as the one before, for the business texts.
TEST_CASE("demo model: JSON", "[demo]") {
    const std::vector<Problem> problems = read_problems("json");
    REQUIRE(problems.size() == 1000);
    REQUIRE(share_right(some_of(problems)) >= kWanted);
}
