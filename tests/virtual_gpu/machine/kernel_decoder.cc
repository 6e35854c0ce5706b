#include "machine/kernel_decoder.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "machine/decoder.h"
#include "machine/device_memory.h"
#include "ptx/ptx_error.h"
#include "ptx/ptx_parser.h"

namespace virtual_gpu {
namespace {

struct SpecialName {
    std::string_view name;
    Special special;
    int bits;
};

constexpr SpecialName kSpecials[] = {
    {"%tid.x", Special::kTidX, 32},
    {"%tid.y", Special::kTidY, 32},
    {"%tid.z", Special::kTidZ, 32},
    {"%ntid.x", Special::kNtidX, 32},
    {"%ntid.y", Special::kNtidY, 32},
    {"%ntid.z", Special::kNtidZ, 32},
    {"%ctaid.x", Special::kCtaidX, 32},
    {"%ctaid.y", Special::kCtaidY, 32},
    {"%ctaid.z", Special::kCtaidZ, 32},
    {"%nctaid.x", Special::kNctaidX, 32},
    {"%nctaid.y", Special::kNctaidY, 32},
    {"%nctaid.z", Special::kNctaidZ, 32},
    {"%laneid", Special::kLaneid, 32},
    {"%warpid", Special::kWarpid, 32},
    {"%nwarpid", Special::kNwarpid, 32},
    {"%smid", Special::kSmid, 32},
    {"%nsmid", Special::kNsmid, 32},
    {"%lanemask_eq", Special::kLanemaskEq, 32},
    {"%lanemask_le", Special::kLanemaskLe, 32},
    {"%lanemask_lt", Special::kLanemaskLt, 32},
    {"%lanemask_ge", Special::kLanemaskGe, 32},
    {"%lanemask_gt", Special::kLanemaskGt, 32},
    {"%dynamic_smem_size", Special::kDynamicSharedBytes, 32},
    {"%total_smem_size", Special::kTotalSharedBytes, 32},
    {"%cluster_ctarank", Special::kClusterCtaRank, 32},
    {"%cluster_nctarank", Special::kClusterCtas, 32},
};

uint64_t round_up(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

const Opcode* find_opcode(std::string_view name) {
    const std::array<std::span<const Opcode>, 13> tables = {
        arithmetic_opcodes(), bit_opcodes(),    compare_opcodes(), convert_opcodes(),
        move_opcodes(),       memory_opcodes(), atomic_opcodes(),  control_opcodes(),
        warp_opcodes(),       matrix_opcodes(), copy_opcodes(),    mbarrier_opcodes(),
        wgmma_opcodes()};
    for (const std::span<const Opcode> table : tables) {
        for (const Opcode& opcode : table) {
            if (opcode.name == name) {
                return &opcode;
            }
        }
    }
    return nullptr;
}

}  // namespace

KernelDecoder::KernelDecoder(const PtxModule& module, const PtxFunction& function,
                             const Places& module_places, Kernel* out)
    : function_(&function), module_(module), module_places_(module_places), out_(out) {}

uint32_t KernelDecoder::new_register(int bits) {
    if (bits == 1) {
        // Sixteen predicates share a cache line.
        if (predicate_next_ == predicate_end_) {
            predicate_next_ = out_->register_bytes;
            predicate_end_ = predicate_next_ + 64;
            out_->register_bytes += 64;
        }
        predicate_next_ += 4;
        return predicate_next_ - 4;
    }
    const uint32_t place = out_->register_bytes;
    out_->register_bytes += static_cast<uint32_t>(bits) / 8 * 32;
    return place;
}

int KernelDecoder::register_bits(int reg) const {
    const int bits = type_bits(function_->registers[reg].type);
    return bits == 1 ? 1 : bits <= 16 ? 16 : bits;
}

uint32_t KernelDecoder::scratch(int bits) { return new_register(bits); }

uint32_t KernelDecoder::constant(int bits, uint64_t value) {
    const auto [found, is_new] = constants_.try_emplace({bits, value}, 0);
    if (is_new) {
        found->second = new_register(bits);
        out_->constants.push_back({found->second, bits, value});
    }
    return found->second;
}

uint32_t KernelDecoder::special(std::string_view name, int* width, int line) {
    for (const SpecialName& row : kSpecials) {
        if (row.name != name) {
            continue;
        }
        *width = row.bits;
        const auto [found, is_new] = specials_.try_emplace(row.special, 0);
        if (is_new) {
            found->second = new_register(row.bits);
            out_->specials.emplace_back(row.special, found->second);
        }
        return found->second;
    }
    throw PtxError(line,
                   out_->name + ": special register '" + std::string(name) + "' is not supported");
}

uint32_t KernelDecoder::dynamic_shared_base(int bits) {
    const Special special =
        bits == 64 ? Special::kDynamicSharedBase64 : Special::kDynamicSharedBase32;
    const auto [found, is_new] = specials_.try_emplace(special, 0);
    if (is_new) {
        found->second = new_register(bits);
        out_->specials.emplace_back(special, found->second);
    }
    return found->second;
}

uint64_t KernelDecoder::variable_place(const PtxVariable& variable) const {
    const auto own = own_places_.find(&variable);
    return own != own_places_.end() ? own->second : module_places_.at(&variable);
}

void KernelDecoder::place_parameters() {
    for (const PtxVariable& parameter : function_->parameters) {
        const auto offset = static_cast<uint32_t>(round_up(out_->parameter_bytes, parameter.align));
        own_places_[&parameter] = offset;
        out_->parameters.push_back({offset, static_cast<uint32_t>(parameter.bytes)});
        out_->parameter_bytes = offset + static_cast<uint32_t>(parameter.bytes);
    }
}

void KernelDecoder::place_module_variables() {
    for (const PtxVariable& variable : module_.variables) {
        if (variable.space == Space::kShared && !variable.is_dynamic) {
            out_->static_shared_bytes = std::max<uint32_t>(
                out_->static_shared_bytes, module_places_.at(&variable) + variable.bytes);
        }
        if (variable.space == Space::kShared && variable.is_dynamic) {
            dynamic_align_ = std::max(dynamic_align_, variable.align);
        }
    }
}

// There is no recursion, so every function's variables have one place for the whole kernel.
void KernelDecoder::place_variables(const PtxFunction& function) {
    const auto place = [this](const PtxVariable& variable) {
        if (variable.is_dynamic) {
            dynamic_align_ = std::max(dynamic_align_, variable.align);
            return;
        }
        uint32_t* end =
            variable.space == Space::kShared ? &out_->static_shared_bytes : &out_->local_bytes;
        const uint64_t at = round_up(*end, variable.align);
        own_places_[&variable] = at;
        *end = static_cast<uint32_t>(at + variable.bytes);
    };
    std::for_each(function.variables.begin(), function.variables.end(), place);
    if (!function.is_entry) {
        std::for_each(function.parameters.begin(), function.parameters.end(), place);
        std::for_each(function.results.begin(), function.results.end(), place);
    }
}

void KernelDecoder::place_registers() {
    places_.clear();
    places_.reserve(function_->registers.size());
    for (size_t reg = 0; reg < function_->registers.size(); reg++) {
        places_.push_back(new_register(register_bits(static_cast<int>(reg))));
    }
}

const KernelDecoder::Callee* KernelDecoder::callee(std::string_view name) const {
    const auto found = callees_.find(name);
    return found == callees_.end() ? nullptr : &found->second;
}

void KernelDecoder::decode_callees(const PtxFunction& function, int depth) {
    constexpr int kDepthMax = 32;
    if (depth > kDepthMax) {
        throw PtxError(1, out_->name + ": function '" + function.name + "' calls itself");
    }
    for (const PtxInstruction& instruction : function.instructions) {
        if (instruction.callee.empty() || callees_.count(instruction.callee) != 0) {
            continue;
        }
        for (const auto& other : module_.functions) {
            if (!other->is_entry && other->name == instruction.callee) {
                decode_callees(*other, depth + 1);
                Callee callee = {other.get(), static_cast<int>(out_->code.size()),
                                 new_register(32)};
                current_ = &callees_.emplace(other->name, callee).first->second;
                place_variables(*other);
                decode_function(*other);
            }
        }
    }
}

void KernelDecoder::decode_function(const PtxFunction& function) {
    function_ = &function;
    code_base_ = static_cast<int>(out_->code.size());
    table_base_ = static_cast<int>(out_->branch_tables.size());
    place_registers();
    for (std::vector<int> table : function.branch_tables) {
        for (int& entry : table) {
            entry += code_base_;
        }
        out_->branch_tables.push_back(std::move(table));
    }
    for (const PtxInstruction& source : function.instructions) {
        Instruction instruction;
        Decoding decoding(source, this, &instruction);
        const Opcode* opcode = find_opcode(decoding.opcode());
        if (opcode == nullptr) {
            decoding.fail("unknown opcode");
        }
        opcode->decode(decoding);
        decoding.finish();
        out_->code.push_back(instruction);
        out_->mnemonics.push_back(source.mnemonic);
        out_->ptx_lines.push_back(source.line);
    }
}

void KernelDecoder::run() {
    const PtxFunction& kernel = *function_;
    out_->name = kernel.name;
    out_->source = &module_;
    out_->max_threads = kernel.max_threads;
    std::copy(kernel.required_threads, kernel.required_threads + 3, out_->required_threads);
    place_parameters();
    place_module_variables();
    place_variables(kernel);
    decode_callees(kernel, 0);
    current_ = nullptr;
    // The dynamic part begins after the static one, at a multiple of its own alignment.
    out_->static_shared_bytes =
        static_cast<uint32_t>(round_up(out_->static_shared_bytes, dynamic_align_));
    out_->entry = static_cast<int32_t>(out_->code.size());
    decode_function(kernel);
    out_->local_bytes = static_cast<uint32_t>(round_up(out_->local_bytes, 16));
    out_->register_bytes = static_cast<uint32_t>(round_up(out_->register_bytes, 64));
    out_->counters.instructions.resize(out_->code.size());
}

std::unique_ptr<Program> load_program(std::string ptx, DeviceMemory* memory) {
    auto program = std::make_unique<Program>();
    program->source = parse_ptx(std::move(ptx));
    KernelDecoder::Places places;
    uint64_t shared_end = 0;
    for (const PtxVariable& variable : program->source->variables) {
        if (variable.space == Space::kShared) {
            places[&variable] = round_up(shared_end, variable.align);
            shared_end = places[&variable] + variable.bytes;
            continue;
        }
        const uint64_t address = memory->allocate(std::max<uint64_t>(variable.bytes, 1));
        if (address == 0) {
            throw std::runtime_error("no device memory for variable '" + variable.name + "'");
        }
        uint8_t* bytes = memory->find(address, variable.bytes);
        std::copy(variable.initial.begin(), variable.initial.end(), bytes);
        // Variables without an initial value are zero: PTX says so, and the pages are fresh.
        memory->mark_written(address, variable.bytes);
        places[&variable] = address;
        program->globals[variable.name] = {address, variable.bytes};
    }
    for (const auto& function : program->source->functions) {
        if (!function->is_entry) {
            continue;
        }
        auto kernel = std::make_unique<Kernel>();
        KernelDecoder(*program->source, *function, places, kernel.get()).run();
        program->kernels[kernel->name] = std::move(kernel);
    }
    return program;
}

}  // namespace virtual_gpu
