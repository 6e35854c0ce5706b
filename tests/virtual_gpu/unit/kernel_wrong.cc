// Every check, set off by a kernel with one fault; the finding must name the fault's line.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

struct Fault {
    std::string kind;
    int line;
};

// Kernel name -> fault, from the marks in wrong.cu.
std::map<std::string, Fault> read_faults() {
    std::map<std::string, Fault> faults;
    std::ifstream file(VIRTUAL_GPU_KERNEL_DIR "/wrong.cu");
    std::string text;
    std::string kernel;
    for (int line = 1; std::getline(file, text); line++) {
        const std::string start = "__global__ void ";
        const size_t at = text.find(start);
        if (at != std::string::npos) {
            kernel = text.substr(at + start.size());
            kernel = kernel.substr(0, kernel.find('('));
        }
        const size_t mark = text.find("FAULT: ");
        if (mark != std::string::npos && !kernel.empty()) {
            faults[kernel] = {text.substr(mark + 7), line};
        }
    }
    return faults;
}

struct Outcome {
    LaunchError error;
    std::vector<Finding> findings;
    std::string text;
};

Outcome run(const char* arch, const std::string& name, uint32_t seed) {
    Machine machine(uint64_t{1} << 30);
    machine.settings.seed = seed;
    const auto program =
        machine.load(read_text(std::string(VIRTUAL_GPU_PTX_DIR "/wrong.") + arch + ".ptx"));
    Kernel& kernel = *program->kernels.at(name);
    Values values{3};
    const uint64_t x = upload(machine, values.f32(2048));
    // Two blocks of 256: one element short for the kernel that does not look where the end is.
    const uint64_t y = machine.memory().allocate(name == "beyond_the_end" ? 511 * 4 : 2048);
    const uint64_t flag = upload(machine, std::vector<uint32_t>{0});
    if (name == "block_reads_anothers") {
        machine.memory().mark_written(y, 2048);
    }
    LaunchRequest request = kernel.parameters.size() == 3
                                ? request_for(kernel, {2}, {256}, x, y, flag)
                                : request_for(kernel, {2}, {256}, x, y);
    request.is_cooperative = kernel.parameters.size() == 3;
    if (name == "no_second_barrier" || name == "missing_warp_at_barrier") {
        request.grid.x = 1;
    }
    const LaunchError error = machine.run(&kernel, request);
    return {error, machine.findings().list(), findings_text(machine)};
}

}  // namespace

// Breaks if a check is blind, or points at the wrong line.
TEST_CASE("each fault is found at its line", "[check]") {
    const std::map<std::string, Fault> faults = read_faults();
    REQUIRE(faults.size() == 20);
    const char* arch = GENERATE("80", "90a", "100a");
    const uint32_t seed = GENERATE(0u, 1u, 2u);
    for (const auto& [name, fault] : faults) {
        const Outcome outcome = run(arch, name, seed);
        INFO(name << " arch " << arch << " seed " << seed << ", wanted " << fault.kind << " line "
                  << fault.line << "; found:\n"
                  << outcome.text);
        const std::string place = "wrong.cu:" + std::to_string(fault.line);
        bool is_named = false;
        for (const Finding& finding : outcome.findings) {
            is_named |=
                finding.kind == fault.kind && finding.where.find(place) != std::string::npos;
        }
        CHECK(is_named);
    }
}

// Breaks if an error that ends a kernel on a card leaves it running here, or the other way round.
TEST_CASE("errors carry the driver's numbers", "[check]") {
    CHECK(run("80", "beyond_the_end", 0).error == LaunchError::kIllegalAddress);
    CHECK(run("80", "beyond_shared", 0).error == LaunchError::kIllegalAddress);
    CHECK(run("80", "not_aligned", 0).error == LaunchError::kMisaligned);
    CHECK(run("80", "traps", 0).error == LaunchError::kFailure);
    CHECK(run("80", "divergent_barrier", 0).error == LaunchError::kFailure);
    CHECK(run("80", "spins_forever", 0).error == LaunchError::kFailure);
    CHECK(run("80", "no_barrier", 0).error == LaunchError::kNone);
    CHECK(run("80", "unwritten_global", 0).error == LaunchError::kNone);
}
