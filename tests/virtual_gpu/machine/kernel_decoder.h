// Decodes one kernel: gives registers, constants and variables their places.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "machine/program.h"

namespace virtual_gpu {

class KernelDecoder {
public:
    // 'module_places' holds the addresses of global, const and shared variables of module scope.
    using Places = std::map<const PtxVariable*, uint64_t>;
    KernelDecoder(const PtxModule& module, const PtxFunction& function, const Places& module_places,
                  Kernel* out);

    void run();

    uint32_t register_place(int reg) const { return places_[reg]; }
    int register_bits(int reg) const;
    uint32_t constant(int bits, uint64_t value);
    uint32_t special(std::string_view name, int* width, int line);
    uint32_t dynamic_shared_base(int bits);
    uint32_t scratch(int bits);
    // The address of a variable inside its space.
    uint64_t variable_place(const PtxVariable& variable) const;
    Kernel& kernel() { return *out_; }
    const PtxFunction& function() const { return *function_; }
    // Where the current function's code begins, and its branch tables.
    int code_base() const { return code_base_; }
    int table_base() const { return table_base_; }

    // A function that the kernel calls. Its code lies before that of its callers, so that the
    // warp's rule "lowest instruction first" makes lanes inside a call go before those outside.
    struct Callee {
        const PtxFunction* function = nullptr;
        int entry = 0;
        uint32_t return_place = 0;  // A register: where each lane goes back to.
    };
    const Callee* callee(std::string_view name) const;
    const Callee* current() const { return current_; }  // nullptr in the kernel's own code.

private:
    uint32_t new_register(int bits);
    void place_parameters();
    void place_module_variables();
    void place_variables(const PtxFunction& function);
    void place_registers();
    void decode_function(const PtxFunction& function);
    void decode_callees(const PtxFunction& function, int depth);

    const PtxFunction* function_;
    std::map<std::string_view, Callee> callees_;
    const Callee* current_ = nullptr;
    int code_base_ = 0;
    int table_base_ = 0;
    const PtxModule& module_;
    const Places& module_places_;
    Places own_places_;
    Kernel* out_;
    std::vector<uint32_t> places_;  // By register.
    std::map<std::pair<int, uint64_t>, uint32_t> constants_;
    std::map<Special, uint32_t> specials_;
    uint32_t predicate_next_ = 0;
    uint32_t predicate_end_ = 0;
    uint32_t dynamic_align_ = 16;
};

}  // namespace virtual_gpu
