// What the decoders of single opcodes work with.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "machine/program.h"

namespace virtual_gpu {

// One instruction on its way from text to Instruction. Every suffix must be taken and every
// operand consumed by the opcode's decoder; what is left over makes the instruction unknown.
class Decoding {
public:
    Decoding(const PtxInstruction& source, class KernelDecoder* kernel, Instruction* out);

    std::string_view opcode() const { return parts_[0]; }

    // Takes a suffix ("rn") if it is there and not taken yet.
    bool take(std::string_view suffix);
    // Takes the first of several that is there; its index, or -1.
    int take_one_of(std::initializer_list<std::string_view> suffixes);
    // Takes suffixes that change nothing here: cache hints, scopes, '.sync' and the like.
    void ignore(std::initializer_list<std::string_view> suffixes);
    // Takes the next suffix that names a type; kNone if none is left.
    Type take_type();
    Type need_type();
    // Takes the next suffix whatever it is, without its dot.
    std::string_view take_next();

    // The next operand of the text becomes the next of the instruction. 'type' gives the width of
    // a constant or of a sink.
    void destination(Type type);
    void value(Type type);
    void predicate_value();  // Sets 'is_negated' for '!p'.
    void address();          // [register + offset], or a place known now.
    // "[map, {x, y}]": the address as the next operand, the coordinates to the list. Returns the
    // address's offset.
    int64_t tensor_address(std::vector<uint32_t>* coordinates);
    void values(int n, Type type);
    // All elements of a vector (or one scalar): n of them.
    int vector(Type type);
    // A vector whose elements go to the operand list.
    void list_vector(std::vector<uint32_t>* list, int n, Type type);
    void list_value(std::vector<uint32_t>* list, Type type);
    uint64_t immediate();  // The next operand must be a constant.
    void keep_list(std::vector<uint32_t> list);

    size_t operands_left() const { return source_.operands.size() - at_; }
    const PtxOperand& peek(size_t ahead = 0) const;
    void skip() { at_ += 1; }
    uint32_t place_of(const PtxOperand& operand, Type type, int* width);
    uint32_t scratch(Type type);
    bool is_negated = false;

    const PtxInstruction& source() const { return source_; }
    Instruction& out() { return *out_; }
    KernelDecoder& kernel() { return *kernel_; }
    [[noreturn]] void fail(const std::string& what) const;
    void finish() const;

private:
    void put(const PtxOperand& operand, Type type);
    void put_address(const PtxOperand& operand);

    const PtxInstruction& source_;
    KernelDecoder* kernel_;
    Instruction* out_;
    std::vector<std::string_view> parts_;
    uint32_t taken_ = 1;  // One bit a part.
    size_t at_ = 0;
};

struct Opcode {
    std::string_view name;
    void (*decode)(Decoding& decoding);  // Sets 'run' and everything that the handler needs.
};

// The opcodes of each handler file.
std::span<const Opcode> arithmetic_opcodes();
std::span<const Opcode> bit_opcodes();
std::span<const Opcode> compare_opcodes();
std::span<const Opcode> convert_opcodes();
std::span<const Opcode> move_opcodes();
std::span<const Opcode> memory_opcodes();
std::span<const Opcode> atomic_opcodes();
std::span<const Opcode> control_opcodes();
std::span<const Opcode> warp_opcodes();
std::span<const Opcode> matrix_opcodes();
std::span<const Opcode> copy_opcodes();
std::span<const Opcode> mbarrier_opcodes();
std::span<const Opcode> wgmma_opcodes();

}  // namespace virtual_gpu
