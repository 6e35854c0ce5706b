// A parsed PTX module: names are resolved, nothing is interpreted yet.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ptx/ptx_types.h"

namespace virtual_gpu {

// Where an instruction comes from in the CUDA source. With inlining, (file, line) is the helper
// and (inlined_file, inlined_line) the place that called it; 0 where there is none.
struct SourceLocation {
    uint32_t file = 0;
    uint32_t line = 0;
    uint32_t inlined_file = 0;
    uint32_t inlined_line = 0;
};

struct PtxRegister {
    std::string name;
    Type type = Type::kNone;
};

struct PtxVariable {
    std::string name;
    Space space = Space::kGeneric;
    Type type = Type::kNone;
    uint64_t bytes = 0;
    uint32_t align = 1;
    bool is_dynamic = false;       // 'extern .shared x[]': begins where the static part ends.
    std::vector<uint8_t> initial;  // Empty or of 'bytes' bytes.
};

enum class OperandKind : uint8_t {
    kRegister,   // reg
    kImmediate,  // bits, with 'literal' saying how it was written
    kSymbol,     // variable + offset: its address
    kSpecial,    // name: %tid.x and the like
    kAddress,    // [register or variable or bits + offset]; further coordinates in elements
    kVector,     // elements
    kPair,       // elements: the two of 'a|b'
    kSink,       // '_'
    kLabel,      // target
};

struct PtxOperand {
    OperandKind kind = OperandKind::kSink;
    int reg = -1;
    bool is_negated = false;  // '!%p1'
    char literal = 'i';       // i integer, f 0f..., d 0d...
    uint64_t bits = 0;
    int64_t offset = 0;
    const PtxVariable* variable = nullptr;
    std::string_view name;
    int target = -1;  // Index of an instruction, for labels.
    std::vector<PtxOperand> elements;
};

struct PtxInstruction {
    std::string_view mnemonic;  // With all suffixes: "ld.global.nc.v4.u32".
    int guard = -1;             // A predicate register, or -1.
    bool guard_negated = false;
    std::vector<PtxOperand> operands;
    uint32_t location = 0;    // Index into PtxModule::locations.
    int line = 0;             // Line of the PTX text.
    std::string_view callee;  // Of a call; its operands are results, then arguments.
    size_t n_results = 0;
};

struct PtxFunction {
    std::string name;
    bool is_entry = true;  // A kernel; otherwise a function that is called.
    std::deque<PtxVariable> results;
    std::deque<PtxVariable> parameters;
    // Shared and local variables declared inside, and what calls pass on ('.param').
    std::deque<PtxVariable> variables;
    std::vector<PtxRegister> registers;
    std::vector<PtxInstruction> instructions;
    std::vector<std::vector<int>> branch_tables;  // '.branchtargets', as instruction indices.
    uint32_t max_threads = 0;                     // '.maxntid' multiplied out; 0: not given.
    uint32_t required_threads[3] = {0, 0, 0};     // '.reqntid'.
    uint32_t cluster[3] = {0, 0, 0};              // '.reqnctapercluster'.
};

struct PtxModule {
    std::string text;  // What every string_view in here points into.
    std::string version;
    std::string target;  // "sm_90a"
    std::map<uint32_t, std::string> files;
    std::vector<SourceLocation> locations;
    std::deque<PtxVariable> variables;
    std::vector<std::unique_ptr<PtxFunction>> functions;
};

// "gemv.cu:12 (inlined at gemv.cu:30)", without folders; "?" if the module has no line table.
std::string describe_location(const PtxModule& module, uint32_t location);

}  // namespace virtual_gpu
