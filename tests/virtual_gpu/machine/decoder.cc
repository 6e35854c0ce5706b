#include "machine/decoder.h"

#include <algorithm>
#include <utility>

#include "machine/kernel_decoder.h"
#include "ptx/ptx_error.h"

namespace virtual_gpu {
namespace {

std::vector<std::string_view> split(std::string_view mnemonic) {
    std::vector<std::string_view> parts;
    for (size_t at = 0; at <= mnemonic.size();) {
        const size_t dot = std::min(mnemonic.find('.', at), mnemonic.size());
        parts.push_back(mnemonic.substr(at, dot - at));
        at = dot + 1;
    }
    return parts;
}

int register_width(Type type) {
    const int bits = type_bits(type);
    return bits == 1 ? 1 : bits <= 16 ? 16 : bits;
}

}  // namespace

Decoding::Decoding(const PtxInstruction& source, KernelDecoder* kernel, Instruction* out)
    : source_(source), kernel_(kernel), out_(out), parts_(split(source.mnemonic)) {
    if (parts_.size() > 32) {
        fail("too many suffixes");
    }
    out_->location = source.location;
    if (source.guard >= 0) {
        out_->guard = static_cast<int32_t>(kernel->register_place(source.guard));
        out_->guard_negated = source.guard_negated;
    }
}

void Decoding::fail(const std::string& what) const {
    throw PtxError(source_.line,
                   kernel_->kernel().name + ": '" + std::string(source_.mnemonic) + "': " + what);
}

bool Decoding::take(std::string_view suffix) {
    for (size_t i = 1; i < parts_.size(); i++) {
        if ((taken_ >> i & 1) == 0 && parts_[i] == suffix) {
            taken_ |= 1u << i;
            return true;
        }
    }
    return false;
}

int Decoding::take_one_of(std::initializer_list<std::string_view> suffixes) {
    int index = 0;
    for (const std::string_view suffix : suffixes) {
        if (take(suffix)) {
            return index;
        }
        index += 1;
    }
    return -1;
}

void Decoding::ignore(std::initializer_list<std::string_view> suffixes) {
    for (const std::string_view suffix : suffixes) {
        take(suffix);
    }
}

Type Decoding::take_type() {
    for (size_t i = 1; i < parts_.size(); i++) {
        if ((taken_ >> i & 1) == 0 && type_named(parts_[i]) != Type::kNone) {
            taken_ |= 1u << i;
            return type_named(parts_[i]);
        }
    }
    return Type::kNone;
}

Type Decoding::need_type() {
    const Type type = take_type();
    if (type == Type::kNone) {
        fail("it names no type");
    }
    return type;
}

std::string_view Decoding::take_next() {
    for (size_t i = 1; i < parts_.size(); i++) {
        if ((taken_ >> i & 1) == 0) {
            taken_ |= 1u << i;
            return parts_[i];
        }
    }
    fail("a suffix is missing");
}

void Decoding::finish() const {
    for (size_t i = 1; i < parts_.size(); i++) {
        if ((taken_ >> i & 1) == 0) {
            fail("suffix '." + std::string(parts_[i]) + "' is not supported");
        }
    }
    if (at_ < source_.operands.size()) {
        fail("it has " + std::to_string(source_.operands.size()) + " operands, " +
             std::to_string(at_) + " are understood");
    }
    if (out_->run == nullptr) {
        fail("this combination of type and suffixes is not supported");
    }
}

const PtxOperand& Decoding::peek(size_t ahead) const {
    if (at_ + ahead >= source_.operands.size()) {
        fail("an operand is missing");
    }
    return source_.operands[at_ + ahead];
}

uint32_t Decoding::scratch(Type type) { return kernel_->scratch(register_width(type)); }

uint32_t Decoding::place_of(const PtxOperand& operand, Type type, int* width) {
    *width = register_width(type);
    switch (operand.kind) {
        case OperandKind::kRegister:
            *width = kernel_->register_bits(operand.reg);
            is_negated = is_negated || operand.is_negated;
            return kernel_->register_place(operand.reg);
        case OperandKind::kImmediate: {
            uint64_t bits = operand.bits;
            if (operand.literal == 'd' && *width == 32) {
                fail("a double where 32 bits are wanted");
            }
            if (*width < 64 && *width > 1) {
                bits &= (uint64_t{1} << *width) - 1;
            }
            return kernel_->constant(*width, bits);
        }
        case OperandKind::kSpecial: return kernel_->special(operand.name, width, source_.line);
        case OperandKind::kSymbol:
            if (operand.variable->is_dynamic) {
                if (operand.offset != 0) {
                    fail("an offset to dynamic shared memory");
                }
                return kernel_->dynamic_shared_base(*width);
            }
            return kernel_->constant(*width,
                                     kernel_->variable_place(*operand.variable) + operand.offset);
        case OperandKind::kSink: return kernel_->scratch(*width);
        default: fail("an operand of this form is not supported");
    }
}

void Decoding::put(const PtxOperand& operand, Type type) {
    if (out_->n_ops >= 6) {
        fail("too many operands");
    }
    int width = 0;
    out_->op[out_->n_ops] = place_of(operand, type, &width);
    out_->width[out_->n_ops] = static_cast<uint8_t>(width);
    out_->n_ops += 1;
}

void Decoding::destination(Type type) {
    const PtxOperand& operand = peek();
    if (operand.kind != OperandKind::kRegister && operand.kind != OperandKind::kSink) {
        fail("a register is wanted as destination");
    }
    put(operand, type);
    at_ += 1;
}

void Decoding::value(Type type) {
    put(peek(), type);
    at_ += 1;
}

void Decoding::values(int n, Type type) {
    for (int i = 0; i < n; i++) {
        value(type);
    }
}

void Decoding::predicate_value() {
    is_negated = false;
    if (peek().kind == OperandKind::kImmediate) {
        const uint64_t bits = peek().bits;
        out_->op[out_->n_ops] = kernel_->constant(1, bits != 0);
        out_->width[out_->n_ops] = 1;
        out_->n_ops += 1;
        at_ += 1;
        return;
    }
    value(Type::kPredicate);
    if (out_->width[out_->n_ops - 1] != 1) {
        fail("a predicate is wanted");
    }
}

void Decoding::address() {
    const PtxOperand& operand = peek();
    if (operand.kind != OperandKind::kAddress || !operand.elements.empty()) {
        fail("an address in brackets is wanted");
    }
    put_address(operand);
    at_ += 1;
}

int64_t Decoding::tensor_address(std::vector<uint32_t>* coordinates) {
    const PtxOperand& operand = peek();
    if (operand.kind != OperandKind::kAddress || operand.elements.size() != 1 ||
        operand.elements[0].kind != OperandKind::kVector) {
        fail("a tensor map with its coordinates is wanted");
    }
    put_address(operand);
    at_ += 1;
    for (const PtxOperand& element : operand.elements[0].elements) {
        int width = 0;
        coordinates->push_back(place_of(element, Type::kS32, &width));
    }
    return std::exchange(out_->offset, 0);
}

void Decoding::put_address(const PtxOperand& operand) {
    PtxOperand base = operand;
    base.offset = 0;
    out_->offset = operand.offset;
    if (operand.reg >= 0) {
        base.kind = OperandKind::kRegister;
    } else if (operand.variable != nullptr) {
        base.kind = OperandKind::kSymbol;
    } else {
        base.kind = OperandKind::kImmediate;
    }
    base.elements.clear();
    put(base, Type::kB64);
}

int Decoding::vector(Type type) {
    const PtxOperand& operand = peek();
    at_ += 1;
    if (operand.kind != OperandKind::kVector) {
        put(operand, type);
        return 1;
    }
    for (const PtxOperand& element : operand.elements) {
        put(element, type);
    }
    return static_cast<int>(operand.elements.size());
}

void Decoding::list_vector(std::vector<uint32_t>* list, int n, Type type) {
    const PtxOperand& operand = peek();
    if (operand.kind != OperandKind::kVector || static_cast<int>(operand.elements.size()) != n) {
        fail("a vector of " + std::to_string(n) + " is wanted");
    }
    for (const PtxOperand& element : operand.elements) {
        int width = 0;
        list->push_back(place_of(element, type, &width));
        if (width != register_width(type)) {
            fail("a register of " + std::to_string(register_width(type)) + " bits is wanted");
        }
    }
    at_ += 1;
}

void Decoding::list_value(std::vector<uint32_t>* list, Type type) {
    int width = 0;
    list->push_back(place_of(peek(), type, &width));
    at_ += 1;
}

uint64_t Decoding::immediate() {
    const PtxOperand& operand = peek();
    if (operand.kind != OperandKind::kImmediate) {
        fail("a constant is wanted");
    }
    at_ += 1;
    return operand.bits;
}

void Decoding::keep_list(std::vector<uint32_t> list) {
    Kernel& kernel = kernel_->kernel();
    kernel.lists.push_back(std::move(list));
    out_->list = kernel.lists.back().data();
}

}  // namespace virtual_gpu
