#pragma once

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

// What the kernel says of the processor: a witness that shares no line with the code under test.
namespace fathom::test {

inline std::set<std::string> processor_flags() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("flags")) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        std::set<std::string> flags;
        for (std::string word; words >> word;) flags.insert(word);
        return flags;
    }
    return {};
}

/// The instruction sets of the CPU backend in their order, scalar first, as far as the flags go.
inline std::vector<std::string> instruction_sets() {
    const std::set<std::string> flags = processor_flags();
    const std::vector<std::pair<std::string, std::vector<std::string>>> steps = {
        {"avx2", {"avx", "avx2", "fma", "f16c"}},
        {"avx512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}},
        {"avx512_bf16", {"avx512_bf16"}}};
    std::vector<std::string> sets = {"scalar"};
    for (const auto& [name, needed] : steps) {
        for (const std::string& flag : needed) {
            if (!flags.contains(flag)) return sets;
        }
        sets.push_back(name);
    }
    return sets;
}

}  // namespace fathom::test
