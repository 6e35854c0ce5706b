// Instructions and their operands.
#include <algorithm>

#include "ptx/ptx_parsing.h"

namespace virtual_gpu {

void Parser::instruction() {
    PtxInstruction instruction;
    instruction.line = at_.line();
    instruction.location = location_;
    if (at_.accept('@')) {
        instruction.guard_negated = at_.accept('!');
        const std::string_view name = at_.word("predicate");
        instruction.guard = scopes_.find_register(name);
        if (instruction.guard < 0 ||
            function_->registers[instruction.guard].type != Type::kPredicate) {
            throw PtxError(instruction.line, "'" + std::string(name) + "' is no predicate");
        }
    }
    instruction.mnemonic = at_.word("instruction");
    if (instruction.mnemonic == "call" || instruction.mnemonic == "call.uni") {
        call(&instruction);
    } else if (!at_.peek().is(';')) {
        do {
            const int index = static_cast<int>(instruction.operands.size());
            instruction.operands.push_back(operand(index));
        } while (at_.accept(','));
    }
    at_.expect(';');
    function_->instructions.push_back(std::move(instruction));
}

// 'call (result), function, (arguments);', each list with its comma optional.
void Parser::call(PtxInstruction* instruction) {
    if (at_.peek().is('(')) {
        call_operands(instruction);
        instruction->n_results = instruction->operands.size();
        at_.expect(',');
    }
    instruction->callee = at_.word("function");
    if (at_.accept(',')) {
        call_operands(instruction);
    }
}

void Parser::call_operands(PtxInstruction* instruction) {
    at_.expect('(');
    if (at_.accept(')')) {
        return;
    }
    do {
        const PtxOperand value = named(at_.word("parameter"), -1);
        if (value.kind != OperandKind::kSymbol) {
            at_.fail("a '.param' variable is wanted as argument");
        }
        instruction->operands.push_back(value);
    } while (at_.accept(','));
    at_.expect(')');
}

PtxOperand Parser::operand(int index) {
    if (at_.accept('{')) {
        return list('}', OperandKind::kVector);
    }
    if (at_.accept('[')) {
        return address();
    }
    if (at_.peek().is('-') || at_.peek().kind == TokenKind::kNumber) {
        return number();
    }
    const bool is_negated = at_.accept('!');
    PtxOperand value = named(at_.word("operand"), index);
    value.is_negated = is_negated;
    if (at_.accept('|')) {
        PtxOperand pair;
        pair.kind = OperandKind::kPair;
        pair.elements = {std::move(value), named(at_.word("second of a pair"), index)};
        return pair;
    }
    return value;
}

PtxOperand Parser::list(char close, OperandKind kind) {
    PtxOperand vector;
    vector.kind = kind;
    do {
        vector.elements.push_back(operand(-1));
    } while (at_.accept(','));
    at_.expect(close);
    return vector;
}

PtxOperand Parser::number() {
    PtxOperand value;
    value.kind = OperandKind::kImmediate;
    value.bits = at_.literal(&value.literal);
    return value;
}

// What follows '[': a register or variable with an optional offset, or a number, then coordinates.
PtxOperand Parser::address() {
    PtxOperand value;
    if (at_.peek().kind == TokenKind::kNumber) {
        value.bits = at_.integer();
    } else {
        value = named(at_.word("address"), -1);
        if (value.kind != OperandKind::kRegister && value.kind != OperandKind::kSymbol) {
            at_.fail("register or variable expected as address");
        }
        if (at_.accept('+')) {
            value.offset = static_cast<int64_t>(at_.integer());
        }
    }
    value.kind = OperandKind::kAddress;
    while (at_.accept(',')) {
        value.elements.push_back(operand(-1));
    }
    at_.expect(']');
    return value;
}

PtxOperand Parser::named(std::string_view name, int index) {
    PtxOperand value;
    value.name = name;
    if (name == "_") {
        return value;
    }
    value.reg = scopes_.find_register(name);
    if (value.reg >= 0) {
        value.kind = OperandKind::kRegister;
        return value;
    }
    value.variable = find_variable(name);
    if (value.variable != nullptr) {
        value.kind = OperandKind::kSymbol;
        if (index >= 0 && at_.accept('+')) {
            value.offset = static_cast<int64_t>(at_.integer());
        }
        return value;
    }
    if (name[0] == '%') {
        value.kind = OperandKind::kSpecial;
        return value;
    }
    if (index < 0) {
        throw PtxError(at_.line(), "'" + std::string(name) + "' is no register or variable");
    }
    value.kind = OperandKind::kLabel;
    const int instruction = static_cast<int>(function_->instructions.size());
    scopes_.jump(instruction, index, name, at_.line());
    return value;
}

const PtxVariable* Parser::find_variable(std::string_view name) const {
    const std::deque<PtxVariable>* const places[] = {&function_->variables, &function_->parameters,
                                                     &function_->results, &module_->variables};
    for (const std::deque<PtxVariable>* place : places) {
        // Every call has a scope in which its '.param's have the same names: the last one counts.
        const auto found = std::find_if(place->rbegin(), place->rend(),
                                        [name](const PtxVariable& v) { return v.name == name; });
        if (found != place->rend()) {
            return &*found;
        }
    }
    return nullptr;
}

}  // namespace virtual_gpu
