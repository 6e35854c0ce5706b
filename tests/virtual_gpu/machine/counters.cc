#include "machine/counters.h"

#include <map>

#include "machine/program.h"

namespace virtual_gpu {

void add(InstructionCounters* sum, const InstructionCounters& one) {
    sum->executed += one.executed;
    sum->lanes += one.lanes;
    sum->bytes += one.bytes;
    sum->sectors += one.sectors;
    sum->ideal_sectors += one.ideal_sectors;
    sum->unique_sectors += one.unique_sectors;
    sum->unique_reads += one.unique_reads;
    sum->step_reads += one.step_reads;
    sum->wavefronts += one.wavefronts;
    sum->ideal_wavefronts += one.ideal_wavefronts;
    sum->flops += one.flops;
}

void add(RegionCounters* sum, const RegionCounters& one) {
    sum->bytes += one.bytes;
    sum->sectors += one.sectors;
    sum->ideal_sectors += one.ideal_sectors;
    sum->unique_reads += one.unique_reads;
    sum->step_reads += one.step_reads;
}

std::string json_quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
        }
        out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
    }
    return out + '"';
}

namespace {

std::string number(const char* name, uint64_t value) {
    return json_quoted(name) + ": " + std::to_string(value);
}

}  // namespace

std::string memory_json(const InstructionCounters& c) {
    return number("bytes", c.bytes) + ", " + number("sectors", c.sectors) + ", " +
           number("ideal_sectors", c.ideal_sectors) + ", " +
           number("unique_sectors", c.unique_sectors) + ", " +
           number("unique_reads", c.unique_reads) + ", " + number("step_reads", c.step_reads) +
           ", " + number("wavefronts", c.wavefronts) + ", " +
           number("ideal_wavefronts", c.ideal_wavefronts) + ", " + number("flops", c.flops);
}

std::string region_json(const RegionCounters& r) {
    return std::string("{") + number("bytes", r.bytes) + ", " + number("sectors", r.sectors) +
           ", " + number("ideal_sectors", r.ideal_sectors) + ", " +
           number("unique_reads", r.unique_reads) + ", " + number("step_reads", r.step_reads) + "}";
}

InstructionCounters total(const KernelCounters& counters) {
    InstructionCounters sum;
    for (const InstructionCounters& one : counters.instructions) {
        add(&sum, one);
    }
    return sum;
}

std::string counters_json(const Kernel& kernel, const KernelCounters& counters) {
    std::map<std::string, uint64_t> kinds;
    std::map<std::string, InstructionCounters> lines;
    for (size_t pc = 0; pc < counters.instructions.size(); pc++) {
        const InstructionCounters& one = counters.instructions[pc];
        if (one.executed == 0) {
            continue;
        }
        kinds[std::string(kernel.mnemonics[pc])] += one.executed;
        if (one.bytes + one.wavefronts + one.flops != 0) {
            add(&lines[describe_location(*kernel.source, kernel.code[pc].location)], one);
        }
    }
    const InstructionCounters sum = total(counters);
    std::string json =
        std::string("{") + number("launches", counters.launches) + ", " +
        number("blocks", counters.blocks) + ", " + number("barriers", counters.barriers) + ", " +
        number("warp_instructions", sum.executed) + ", " + number("lanes", sum.lanes) + ", " +
        memory_json(sum) + ", \"instructions\": {";
    const char* comma = "";
    for (const auto& [kind, count] : kinds) {
        json += comma + json_quoted(kind) + ": " + std::to_string(count);
        comma = ", ";
    }
    json += "}, \"lines\": {";
    comma = "";
    for (const auto& [line, one] : lines) {
        json += comma + json_quoted(line) + ": {" + memory_json(one) + "}";
        comma = ", ";
    }
    return json + "}}";
}

std::string counters_json(const Program& program) {
    std::string json = "{";
    const char* comma = "";
    for (const auto& [name, kernel] : program.kernels) {
        if (kernel->counters.launches != 0) {
            json += comma + json_quoted(name) + ": " + counters_json(*kernel, kernel->counters);
            comma = ",\n";
        }
    }
    return json + "}";
}

}  // namespace virtual_gpu
