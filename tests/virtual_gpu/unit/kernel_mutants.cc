// Drops or weakens every barrier, wait, fence and member mask of the right kernels, one at a time.
// The checks must notice each, or the mutant is listed here with the reason why it is harmless.
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

struct Subject {
    const char* kernel;
    std::function<LaunchRequest(Machine&, const Kernel&)> request;
};

uint64_t zeros(Machine& machine, size_t n) { return upload(machine, std::vector<uint32_t>(n, 0)); }

LaunchRequest with_shared(LaunchRequest request, uint32_t bytes) {
    request.dynamic_shared_bytes = bytes;
    return request;
}

LaunchRequest cooperative(LaunchRequest request) {
    request.is_cooperative = true;
    return request;
}

std::vector<Subject> subjects() {
    return {
        {"gemv",
         [](Machine& m, const Kernel& k) {
             Values v{1};
             return request_for(k, {2}, {128}, upload(m, v.bf16(8 * 256)), upload(m, v.bf16(256)),
                                m.memory().allocate(32), 8, 32);
         }},
        {"rms_norm",
         [](Machine& m, const Kernel& k) {
             Values v{2};
             return with_shared(
                 request_for(k, {2}, {256}, upload(m, v.f32(1000)), upload(m, v.f32(500)),
                             m.memory().allocate(2000), 500, 1e-6f),
                 2000);
         }},
        {"softmax",
         [](Machine& m, const Kernel& k) {
             Values v{3};
             return request_for(k, {2}, {128}, upload(m, v.f32(600)), 300);
         }},
        {"gemm",
         [](Machine& m, const Kernel& k) {
             Values v{4};
             return request_for(k, {1}, {128}, upload(m, v.bf16(64 * 128)),
                                upload(m, v.bf16(64 * 128)), m.memory().allocate(64 * 64 * 4), 64,
                                128);
         }},
        {"reduce_last_block",
         [](Machine& m, const Kernel& k) {
             Values v{5};
             return request_for(k, {3}, {256}, upload(m, v.f32(2000)), m.memory().allocate(12),
                                zeros(m, 1), m.memory().allocate(4), 2000);
         }},
        {"grid_barrier",
         [](Machine& m, const Kernel& k) {
             return cooperative(request_for(k, {8}, {64}, zeros(m, 1), m.memory().allocate(32),
                                            m.memory().allocate(32)));
         }},
        {"grid_write_after_read",
         [](Machine& m, const Kernel& k) {
             return cooperative(request_for(k, {8}, {64}, zeros(m, 1), zeros(m, 8)));
         }},
        {"histogram",
         [](Machine& m, const Kernel& k) {
             return request_for(k, {2}, {256}, zeros(m, 500), zeros(m, 16), 500);
         }},
    };
}

struct Mutant {
    std::string what;
    std::string text;
};

std::string replaced(std::string line, const std::string& from, const std::string& to) {
    const size_t at = line.find(from);
    return at == std::string::npos ? line : line.replace(at, from.size(), to);
}

// All mutants of one kernel: the lines between its name and the next kernel.
std::vector<Mutant> mutants_of(const std::string& ptx, const std::string& kernel) {
    std::vector<std::string> lines;
    std::stringstream stream(ptx);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    std::vector<Mutant> mutants;
    bool inside = false;
    for (size_t i = 0; i < lines.size(); i++) {
        const size_t entry = lines[i].find(".entry ");
        if (entry != std::string::npos) {
            inside = lines[i].compare(entry + 7, kernel.size() + 1, kernel + "(") == 0;
        }
        if (!inside) {
            continue;
        }
        const auto add = [&](const std::string& line) {
            std::string text;
            for (size_t j = 0; j < lines.size(); j++) {
                text += (j == i ? line : lines[j]) + "\n";
            }
            mutants.push_back({kernel + " PTX line " + std::to_string(i + 1) + ": '" + lines[i] +
                                   "' -> '" + line + "'",
                               text});
        };
        const auto has = [&](const char* word) { return lines[i].find(word) != std::string::npos; };
        if (has("bar.sync") || has("membar") || has("fence.") || has("cp.async.wait_group") ||
            has("cp.async.commit_group")) {
            add("");
        }
        if (has("cp.async.wait_group")) {
            add(replaced(lines[i], "wait_group 1", "wait_group 2"));
        }
        if (has("shfl.sync")) {
            // Without lane 31: its register may hold the mask, so the whole operand goes.
            add(lines[i].substr(0, lines[i].rfind(',')) + ", 2147483647;");
        }
    }
    return mutants;
}

// Whether any of several schedules ends in an error or a finding.
bool is_noticed(const std::string& ptx, const Subject& subject) {
    for (uint32_t seed = 0; seed < 5; seed++) {
        Machine machine(uint64_t{1} << 26);
        machine.settings.seed = seed;
        const auto program = machine.load(ptx);
        Kernel& kernel = *program->kernels.at(subject.kernel);
        const LaunchError error = machine.run(&kernel, subject.request(machine, kernel));
        if (error != LaunchError::kNone || !machine.findings().list().empty()) {
            return true;
        }
    }
    return false;
}

}  // namespace

// Breaks if a check has gone blind: comparing values alone misses most of these.
TEST_CASE("every mutant is noticed", "[mutant]") {
    for (const char* arch : {"80", "90a", "100a"}) {
        const std::string ptx =
            read_text(std::string(VIRTUAL_GPU_PTX_DIR "/right.") + arch + ".ptx");
        size_t n_mutants = 0;
        for (const Subject& subject : subjects()) {
            REQUIRE_FALSE(is_noticed(ptx, subject));
            for (const Mutant& mutant : mutants_of(ptx, subject.kernel)) {
                INFO(arch << " " << mutant.what);
                CHECK(is_noticed(mutant.text, subject));
                n_mutants += 1;
            }
        }
        CHECK(n_mutants >= 40);
    }
}
