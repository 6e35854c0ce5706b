#include "ptx/ptx_mutation.h"

#include <algorithm>
#include <string_view>

namespace virtual_gpu {
namespace {

bool begins(std::string_view text, std::string_view word) {
    return text.substr(0, word.size()) == word;
}

// Instructions whose absence must show. wgmma.fence is not among them: after the first, it only
// repeats that nobody else touched the registers.
constexpr std::string_view kDropped[] = {
    "bar.sync",
    "barrier.sync",
    "barrier.cta.sync",
    "bar.red",
    "bar.warp.sync",
    "membar",
    "fence.",
    "cp.async.commit_group",
    "cp.async.wait_group",
    "cp.async.wait_all",
    "cp.async.bulk.commit_group",
    "cp.async.bulk.wait_group",
    "cp.async.mbarrier.arrive",
    "mbarrier.arrive",
    "mbarrier.init",
    "wgmma.commit_group",
    "wgmma.wait_group",
    "griddepcontrol.wait",
};

// A barrier that computes something cannot just go: its result would be missing.
bool is_droppable(std::string_view opcode) {
    return !begins(opcode, "bar.red") &&
           std::any_of(std::begin(kDropped), std::end(kDropped),
                       [opcode](std::string_view word) { return begins(opcode, word); });
}

// "cp.async.wait_group 1" -> "cp.async.wait_group 2".
std::string with_next_number(const std::string& statement) {
    const size_t last = statement.find_last_of("0123456789");
    const size_t first = statement.find_last_not_of("0123456789", last) + 1;
    return statement.substr(0, first) + std::to_string(std::stoul(statement.substr(first)) + 1);
}

std::vector<std::string> replacements(const std::string& statement) {
    // The guard, if there is one, stays.
    const size_t opcode_at =
        statement[0] == '@' ? statement.find_first_not_of(" \t", statement.find_first_of(" \t"))
                            : 0;
    if (opcode_at == std::string::npos) {
        return {};
    }
    const std::string guard = statement.substr(0, opcode_at);
    const std::string rest = statement.substr(opcode_at);
    std::vector<std::string> all;
    if (is_droppable(rest)) {
        all.emplace_back();
    }
    if (begins(rest, "cp.async.wait_group") || begins(rest, "cp.async.bulk.wait_group") ||
        begins(rest, "wgmma.wait_group")) {
        all.push_back(guard + with_next_number(rest));
    }
    if (begins(rest, "mbarrier.try_wait") || begins(rest, "mbarrier.test_wait")) {
        const size_t name = rest.find_first_not_of(" \t", rest.find_first_of(" \t"));
        all.push_back(guard + "setp.eq.u32 " + rest.substr(name, rest.find(',') - name) + ", 0, 0");
    }
    if (begins(rest, "shfl.sync") || begins(rest, "vote.sync")) {
        // The register may hold the mask, so the whole operand goes.
        all.push_back(guard + rest.substr(0, rest.rfind(',')) + ", 2147483647");
    }
    return all;
}

// The name after ".entry" or ".func" on this line, or nothing.
std::string function_on(std::string_view line) {
    for (const std::string_view word : {".entry ", ".func "}) {
        const size_t at = line.find(word);
        if (at == std::string_view::npos) {
            continue;
        }
        size_t first = at + word.size();
        const size_t result = line.find('(', first);
        if (word == ".func " && result == first) {
            first = line.find(')', first) + 1;
        }
        first = std::min(line.find_first_not_of(" \t", first), line.size());
        return std::string(line.substr(first, line.find_first_of("( \t", first) - first));
    }
    return {};
}

// Statements of one line: between ';', braces and labels.
void add_line(std::string_view line, size_t line_at, int number, const std::string& kernel,
              std::vector<Mutation>* out) {
    for (size_t first = 0; first < line.size();) {
        const size_t end = line.find(';', first);
        if (end == std::string_view::npos || line.find("//") < end) {
            return;
        }
        size_t begin = line.find_first_not_of(" \t{}", first);
        const size_t label = line.find(": ", begin);
        if (label < end) {
            begin = line.find_first_not_of(" \t", label + 1);
        }
        first = end + 1;
        if (begin >= end) {
            continue;
        }
        const std::string statement(line.substr(begin, end - begin));
        for (std::string& changed : replacements(statement)) {
            out->push_back({kernel, number, statement, std::move(changed), line_at + begin});
        }
    }
}

}  // namespace

std::vector<Mutation> find_mutations(const std::string& ptx) {
    std::vector<Mutation> all;
    std::string kernel;
    int number = 1;
    for (size_t at = 0; at < ptx.size(); number++) {
        const size_t end = std::min(ptx.find('\n', at), ptx.size());
        const std::string_view line = std::string_view(ptx).substr(at, end - at);
        const std::string function = function_on(line);
        kernel = function.empty() ? kernel : function;
        add_line(line, at, number, kernel, &all);
        at = end + 1;
    }
    return all;
}

std::string mutate(std::string ptx, const Mutation& mutation) {
    return ptx.replace(mutation.at, mutation.statement.size(), mutation.replacement);
}

}  // namespace virtual_gpu
