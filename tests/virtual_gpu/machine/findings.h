// What the checks have to say, each with the line of CUDA source.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace virtual_gpu {

struct Finding {
    std::string kind;  // "out-of-bounds", "race", ...; see README.md for the list.
    std::string kernel;
    std::string where;        // "gemv.cu:12 (inlined at gemv.cu:30)"
    std::string instruction;  // "ld.global.v4.u32"
    std::string detail;       // Of the first occurrence.
    uint64_t count = 0;
    uint32_t block[3] = {0, 0, 0};
    uint32_t thread = 0;
};

// "race k.cu:12: ld.shared.f32 in gemv, block (0,0,0) thread 3: ... (31 more)"
std::string describe(const Finding& finding);

// Equal findings (kind, kernel, line, instruction) are kept once and counted.
class Findings {
public:
    void add(Finding finding);
    const std::vector<Finding>& list() const { return list_; }
    void clear();

private:
    // Beyond this a log helps nobody; what is over is still counted at its first occurrence.
    static constexpr size_t kMax = 256;

    std::vector<Finding> list_;
    std::map<std::string, size_t> index_;
};

}  // namespace virtual_gpu
