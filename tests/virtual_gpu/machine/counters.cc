#include "machine/counters.h"

#include <map>

#include "machine/program.h"

namespace virtual_gpu {
namespace {

void add(InstructionCounters* sum, const InstructionCounters& one) {
    sum->executed += one.executed;
    sum->lanes += one.lanes;
    sum->bytes += one.bytes;
    sum->sectors += one.sectors;
    sum->ideal_sectors += one.ideal_sectors;
    sum->unique_sectors += one.unique_sectors;
    sum->wavefronts += one.wavefronts;
    sum->ideal_wavefronts += one.ideal_wavefronts;
    sum->flops += one.flops;
}

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
    return out + '"';
}

std::string number(const char* name, uint64_t value) {
    return quoted(name) + ": " + std::to_string(value);
}

// The memory part of a line or of a kernel.
std::string memory_json(const InstructionCounters& c) {
    return number("bytes", c.bytes) + ", " + number("sectors", c.sectors) + ", " +
           number("ideal_sectors", c.ideal_sectors) + ", " +
           number("unique_sectors", c.unique_sectors) + ", " + number("wavefronts", c.wavefronts) +
           ", " + number("ideal_wavefronts", c.ideal_wavefronts) + ", " + number("flops", c.flops);
}

}  // namespace

InstructionCounters total(const KernelCounters& counters) {
    InstructionCounters sum;
    for (const InstructionCounters& one : counters.instructions) {
        add(&sum, one);
    }
    return sum;
}

std::string counters_json(const Kernel& kernel) {
    std::map<std::string, uint64_t> kinds;
    std::map<std::string, InstructionCounters> lines;
    for (size_t pc = 0; pc < kernel.code.size(); pc++) {
        const InstructionCounters& one = kernel.counters.instructions[pc];
        if (one.executed == 0) {
            continue;
        }
        kinds[std::string(kernel.mnemonics[pc])] += one.executed;
        if (one.bytes + one.wavefronts + one.flops != 0) {
            add(&lines[describe_location(*kernel.source, kernel.code[pc].location)], one);
        }
    }
    const InstructionCounters sum = total(kernel.counters);
    std::string json = "{" + number("launches", kernel.counters.launches) + ", " +
                       number("blocks", kernel.counters.blocks) + ", " +
                       number("barriers", kernel.counters.barriers) + ", " +
                       number("warp_instructions", sum.executed) + ", " +
                       number("lanes", sum.lanes) + ", " + memory_json(sum) +
                       ", \"instructions\": {";
    const char* comma = "";
    for (const auto& [kind, count] : kinds) {
        json += comma + quoted(kind) + ": " + std::to_string(count);
        comma = ", ";
    }
    json += "}, \"lines\": {";
    comma = "";
    for (const auto& [line, one] : lines) {
        json += comma + quoted(line) + ": {" + memory_json(one) + "}";
        comma = ", ";
    }
    return json + "}}";
}

std::string counters_json(const Program& program) {
    std::string json = "{";
    const char* comma = "";
    for (const auto& [name, kernel] : program.kernels) {
        if (kernel->counters.launches != 0) {
            json += comma + quoted(name) + ": " + counters_json(*kernel);
            comma = ",\n";
        }
    }
    return json + "}";
}

}  // namespace virtual_gpu
