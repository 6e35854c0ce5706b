// Programs with one synchronisation dropped or weakened. A check that does not notice is blind, or
// the mutant is equivalent to the original.
#pragma once

#include <string>
#include <vector>

namespace virtual_gpu {

struct Mutation {
    std::string kernel;       // Whose code it is in, a function's for functions.
    int line = 0;             // Of the PTX.
    std::string statement;    // What stands there,
    std::string replacement;  // and what stands there instead; empty if it is dropped.
    size_t at = 0;            // Where in the text the statement begins.
};

// All mutations of a module's text, in its order. Barriers, fences, waits, commits and arrivals are
// dropped, waits for groups let one more be, waits for an mbarrier do not wait, and shuffles and
// votes leave out lane 31.
std::vector<Mutation> find_mutations(const std::string& ptx);

std::string mutate(std::string ptx, const Mutation& mutation);

}  // namespace virtual_gpu
