// Programs with one synchronisation dropped or weakened, and whether the checks notice.
#pragma once

#include <functional>

#include "ptx/ptx_mutation.h"
#include "unit/support.h"

namespace virtual_gpu {

struct Subject {
    const char* kernel;
    std::function<LaunchRequest(Machine&, const Kernel&)> request;
};

inline bool has(const std::string& line, const char* word) {
    return line.find(word) != std::string::npos;
}

inline std::string without_line(const std::string& text, const std::string& word) {
    const size_t at = text.find(word);
    const size_t begin = text.rfind('\n', at);
    return text.substr(0, begin) + text.substr(text.find('\n', at));
}

struct Mutant {
    std::string what;
    std::string text;
};

inline std::vector<Mutant> mutants_of(const std::string& ptx, const std::string& kernel) {
    std::vector<Mutant> mutants;
    for (const Mutation& mutation : find_mutations(ptx)) {
        if (mutation.kernel == kernel) {
            mutants.push_back({kernel + " PTX line " + std::to_string(mutation.line) + ": '" +
                                   mutation.statement + "' -> '" + mutation.replacement + "'",
                               mutate(ptx, mutation)});
        }
    }
    return mutants;
}

// Whether any of several schedules ends in an error or a finding.
inline bool is_noticed(const std::string& ptx, const Subject& subject) {
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

}  // namespace virtual_gpu
