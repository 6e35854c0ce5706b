// The names that a function body knows: registers and labels, by braces.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/ptx_module.h"

namespace virtual_gpu {

// Inline assembly opens scopes of its own ('{ .reg .pred p; ... }'), so the same register or label
// name may be declared many times in one function.
class ScopeStack {
public:
    void open() { scopes_.emplace_back(); }

    // Settles the jumps to labels of the innermost scope; others wait for the scope around it.
    // Throws PtxError if the last scope closes with a jump to nowhere.
    void close(PtxFunction* function);

    bool is_empty() const { return scopes_.empty(); }

    void declare_register(const std::string& name, int index, int line);
    void declare_label(std::string_view name, int instruction, int line);
    int find_register(std::string_view name) const;  // -1 if there is none.

    // Operand 'operand' of instruction 'instruction' jumps to 'name'.
    void jump(int instruction, int operand, std::string_view name, int line);
    // Entry 'entry' of branch table 'table' is 'name'.
    void table_entry(int table, int entry, std::string_view name, int line);
    // Operand 'operand' of instruction 'instruction' names a branch table.
    void declare_table(std::string_view name, int table) { tables_[std::string(name)] = table; }

private:
    struct Jump {
        bool in_table;
        int index;  // Instruction or table.
        int position;
        std::string name;
        int line;
    };
    struct Scope {
        std::unordered_map<std::string, int> registers;
        std::unordered_map<std::string, int> labels;
        std::vector<Jump> jumps;
    };

    bool settle(const Scope& scope, const Jump& jump, PtxFunction* function) const;

    std::vector<Scope> scopes_;
    std::unordered_map<std::string, int> tables_;
};

}  // namespace virtual_gpu
