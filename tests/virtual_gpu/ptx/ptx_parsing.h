// The parser's own class; programs use ptx_parser.h.
#pragma once

#include <deque>
#include <string_view>

#include "ptx/ptx_cursor.h"
#include "ptx/ptx_module.h"
#include "ptx/ptx_scope.h"

namespace virtual_gpu {

class Parser {
public:
    explicit Parser(PtxModule* module) : module_(module), at_(lex_ptx(module->text)) {}

    void run() {
        module_->locations.push_back({});
        while (!at_.at_end()) {
            module_statement();
        }
    }

private:
    void module_statement();
    void entry(bool is_kernel);
    void parameters(std::deque<PtxVariable>* out);
    void attributes();
    void body();
    void body_statement();
    void body_directive();
    void declare_registers(std::string_view type_word);
    PtxVariable declaration(Space space);
    void initial_values(PtxVariable* variable);
    void file_directive();
    void loc_directive();
    void skip_section();
    void branch_targets(std::string_view name);
    void instruction();
    void call(PtxInstruction* instruction);
    void call_operands(PtxInstruction* instruction);
    PtxOperand operand(int index);
    PtxOperand number();
    PtxOperand address();
    PtxOperand named(std::string_view name, int index);
    PtxOperand list(char close, OperandKind kind);
    const PtxVariable* find_variable(std::string_view name) const;

    PtxModule* module_;
    TokenCursor at_;
    PtxFunction* function_ = nullptr;
    ScopeStack scopes_;
    uint32_t location_ = 0;
};

}  // namespace virtual_gpu
