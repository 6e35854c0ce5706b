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
    const PtxFunction& function() const { return function_; }

private:
    uint32_t new_register(int bits);
    void place_parameters();
    void place_variables();
    void place_registers();

    const PtxFunction& function_;
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
