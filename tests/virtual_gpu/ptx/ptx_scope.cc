#include "ptx/ptx_scope.h"

#include "ptx/ptx_error.h"

namespace virtual_gpu {

bool ScopeStack::settle(const Scope& scope, const Jump& jump, PtxFunction* function) const {
    const auto label = scope.labels.find(jump.name);
    const auto table = tables_.find(jump.name);
    if (jump.in_table) {
        if (label == scope.labels.end()) {
            return false;
        }
        function->branch_tables[jump.index][jump.position] = label->second;
        return true;
    }
    PtxOperand& operand = function->instructions[jump.index].operands[jump.position];
    if (label != scope.labels.end()) {
        operand.target = label->second;
    } else if (table != tables_.end()) {
        operand.target = table->second;
    } else {
        return false;
    }
    return true;
}

void ScopeStack::close(PtxFunction* function) {
    const Scope scope = std::move(scopes_.back());
    scopes_.pop_back();
    for (const Jump& jump : scope.jumps) {
        if (settle(scope, jump, function)) {
            continue;
        }
        if (scopes_.empty()) {
            throw PtxError(jump.line, "'" + jump.name + "' is no register, variable or label");
        }
        scopes_.back().jumps.push_back(jump);
    }
}

void ScopeStack::declare_register(const std::string& name, int index, int line) {
    if (!scopes_.back().registers.emplace(name, index).second) {
        throw PtxError(line, "register '" + name + "' is declared twice");
    }
}

void ScopeStack::declare_label(std::string_view name, int instruction, int line) {
    if (!scopes_.back().labels.emplace(std::string(name), instruction).second) {
        throw PtxError(line, "label '" + std::string(name) + "' is declared twice");
    }
}

int ScopeStack::find_register(std::string_view name) const {
    const std::string key(name);
    for (size_t depth = scopes_.size(); depth-- > 0;) {
        const auto found = scopes_[depth].registers.find(key);
        if (found != scopes_[depth].registers.end()) {
            return found->second;
        }
    }
    return -1;
}

void ScopeStack::jump(int instruction, int operand, std::string_view name, int line) {
    scopes_.back().jumps.push_back({false, instruction, operand, std::string(name), line});
}

void ScopeStack::table_entry(int table, int entry, std::string_view name, int line) {
    scopes_.back().jumps.push_back({true, table, entry, std::string(name), line});
}

}  // namespace virtual_gpu
