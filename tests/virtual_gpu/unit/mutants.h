// Programs with one synchronisation dropped or weakened, and whether the checks notice.
#pragma once

#include <functional>

#include "unit/support.h"

namespace virtual_gpu {

struct Subject {
    const char* kernel;
    std::function<LaunchRequest(Machine&, const Kernel&)> request;
};

struct Mutant {
    std::string what;
    std::string text;
};

inline std::string replaced(std::string line, const std::string& from, const std::string& to) {
    const size_t at = line.find(from);
    return at == std::string::npos ? line : line.replace(at, from.size(), to);
}

// What to put in a line's place, for each mutant of it.
using Change = std::function<std::vector<std::string>(const std::string& line)>;

// All mutants of one kernel: the lines between its name and the next kernel.
inline std::vector<Mutant> mutants_by(const std::string& ptx, const std::string& kernel,
                                      const Change& change) {
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
        for (const std::string& changed : change(lines[i])) {
            add(changed);
        }
    }
    return mutants;
}

inline bool has(const std::string& line, const char* word) {
    return line.find(word) != std::string::npos;
}

// Barriers, waits, commits and fences dropped, waits that let one more group be, shuffles without
// lane 31.
inline std::vector<Mutant> mutants_of(const std::string& ptx, const std::string& kernel) {
    return mutants_by(ptx, kernel, [](const std::string& line) {
        std::vector<std::string> changed;
        if (has(line, "bar.sync") || has(line, "membar") || has(line, "fence.") ||
            has(line, "cp.async.wait_group") || has(line, "cp.async.commit_group")) {
            changed.push_back("");
        }
        if (has(line, "cp.async.wait_group")) {
            changed.push_back(replaced(line, "wait_group 1", "wait_group 2"));
        }
        if (has(line, "shfl.sync")) {
            // The register may hold the mask, so the whole operand goes.
            changed.push_back(line.substr(0, line.rfind(',')) + ", 2147483647;");
        }
        return changed;
    });
}

// The same for mbarriers, bulk copies and wgmma. A wait that is dropped goes on at once.
inline std::vector<Mutant> async_mutants_of(const std::string& ptx, const std::string& kernel) {
    return mutants_by(ptx, kernel, [](const std::string& line) {
        std::vector<std::string> changed;
        if (has(line, "bar.sync") || (has(line, "fence.") && !has(line, "wgmma")) ||
            has(line, "mbarrier.arrive") || has(line, "mbarrier.init") ||
            has(line, "commit_group") || has(line, "wait_group")) {
            changed.push_back("");
        }
        if (has(line, "mbarrier.try_wait")) {
            changed.push_back("setp.eq.u32 P, 0, 0;");
        }
        return changed;
    });
}

inline std::string without_line(const std::string& text, const std::string& word) {
    const size_t at = text.find(word);
    const size_t begin = text.rfind('\n', at);
    return text.substr(0, begin) + text.substr(text.find('\n', at));
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
