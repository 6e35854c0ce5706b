#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

// Breaks when opening and closing leaks a descriptor, a thread or memory: hosts live for months.
TEST_CASE("host nothing left after 200 cycles", "[host]") {
    const int n_cycles = host::kSanitized ? 40 : 200;
    const auto cycle = [](int number) {
        // Every tenth with the tokenizer and text of the demo model.
        const std::string folder = number % 10 == 0 ? demo_model() : fixture("v3-f32");
        REQUIRE(host::whole_life(folder, 3, nullptr) == FATHOM_OK);
    };
    for (int i = 0; i < n_cycles / 4; ++i) cycle(i);
    const size_t threads = host::n_threads();
    const size_t descriptors = host::n_descriptors();
    const uint64_t resident = host::status_kib("VmRSS");
    for (int i = 0; i < n_cycles; ++i) cycle(i);
    REQUIRE(host::n_threads_settled(threads) == threads);
    REQUIRE(host::n_descriptors() == descriptors);
    const uint64_t resident_now = host::status_kib("VmRSS");
    const uint64_t grown_kib = resident_now - std::min(resident, resident_now);
    INFO("memory grew by " << grown_kib << " KiB");
    // 200 cycles that leak one fixture's weights would grow by some 50 MiB.
    if (!host::kSanitized) REQUIRE(grown_kib < 2048);
}

// Breaks when a host waits noticeably for the library, or loading needs the file twice.
TEST_CASE("host start to first token", "[host]") {
    std::string output;
    const int code = host::in_fresh_process("child: start to first token", &output);
    INFO(output);
    REQUIRE(code == 0);
    const size_t at = output.find("first token after");
    REQUIRE(at != std::string::npos);
    std::printf("%s\n", output.substr(at, output.find('\n', at) - at).c_str());
}

TEST_CASE("child: start to first token", "[.child]") {
    const uint64_t before_kib = host::status_kib("VmRSS");
    const auto start = std::chrono::steady_clock::now();
    fathom_model_options options = sized<fathom_model_options>();
    options.context = 256;
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model(), options);
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Session session = new_session(model.get());
    const Prompt prompt = question(tokenizer.get(), "How much is 12 + 34?");
    const Stream stream = generate(session.get(), prompt.get(), at_most(1));
    REQUIRE(drain(stream.get()).ids.size() == 1);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const uint64_t peak_kib = host::status_kib("VmHWM") - before_kib;
    const uint64_t file_kib =
        std::filesystem::file_size(demo_model() + "/model.safetensors") >> 10;
    fathom_memory_plan plan = sized<fathom_memory_plan>();
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    REQUIRE(fathom_model_estimate(nullptr, &source, &options, &plan, nullptr) == FATHOM_OK);
    std::printf("first token after %.0f ms, peak memory + %llu KiB; file %llu KiB, plan %llu KiB\n",
                took.count() * 1e3, static_cast<unsigned long long>(peak_kib),
                static_cast<unsigned long long>(file_kib),
                static_cast<unsigned long long>(plan.total_bytes >> 10));
    if (host::kSanitized) return;
    REQUIRE(took.count() < 0.5);
    // The plan, plus tokenizer and code, and never the file beside the weights made from it.
    REQUIRE(peak_kib < 3 * file_kib);
}
