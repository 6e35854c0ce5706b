#include "machine/ops_call.h"

#include <cstring>

#include "machine/kernel_decoder.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

// Copies a piece of each lane's local memory, with the marks of what was written.
void copy_local(Warp& warp, uint32_t mask, const uint32_t* piece) {
    const size_t size = warp.launch->kernel->local_bytes;
    for_each_lane(mask, [&](int lane) {
        const size_t first = static_cast<size_t>(lane) * size;
        std::memcpy(warp.local + first + piece[0], warp.local + first + piece[1], piece[2]);
        std::memcpy(warp.local_written + first + piece[0], warp.local_written + first + piece[1],
                    piece[2]);
    });
}

void jump(Warp& warp, uint32_t mask, int32_t target) {
    if (mask == warp.mask) {
        warp.next = target;
        return;
    }
    warp.parked.push_back({target, mask, false});
    warp.mask &= ~mask;
    warp.limit = 0;
}

// The list holds pieces of local memory {to, from, bytes}: 'vector' arguments, then results that
// the return copies. op[0]: the callee's return register.
void run_call(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for (int i = 0; i < instruction.vector; i++) {
        copy_local(warp, mask, instruction.list + 3 * i);
    }
    uint32_t* back = reg<uint32_t>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { back[lane] = static_cast<uint32_t>(warp.pc + 1); });
    jump(warp, mask, instruction.target);
}

// op[0]: where each lane goes back to.
void run_return(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t* back = reg<uint32_t>(warp, instruction.op[0]);
    for (uint32_t rest = mask; rest != 0;) {
        const uint32_t to = back[first_lane(rest)];
        uint32_t same = 0;
        for_each_lane(rest,
                      [&](int lane) { same |= static_cast<uint32_t>(back[lane] == to) << lane; });
        rest &= ~same;
        const Instruction& call = warp.launch->kernel->code[to - 1];
        for (int i = 0; i < call.mode; i++) {
            copy_local(warp, same, call.list + 3 * (call.vector + i));
        }
        jump(warp, same, static_cast<int32_t>(to));
    }
}

}  // namespace

void decode_call(Decoding& d) {
    const PtxInstruction& source = d.source();
    const KernelDecoder::Callee* callee = d.kernel().callee(source.callee);
    d.ignore({"uni"});
    if (callee == nullptr) {
        d.fail("function '" + std::string(source.callee) + "' is not defined in the module");
    }
    const PtxFunction& function = *callee->function;
    const size_t n_results = source.n_results;
    const size_t n_arguments = source.operands.size() - n_results;
    if (n_results != function.results.size() || n_arguments != function.parameters.size()) {
        d.fail("it passes another number of values than the function takes");
    }
    std::vector<uint32_t> list;
    const auto add = [&](const PtxVariable& to, const PtxVariable& from) {
        if (to.bytes != from.bytes) {
            d.fail("'" + from.name + "' has another size than '" + to.name + "'");
        }
        list.push_back(static_cast<uint32_t>(d.kernel().variable_place(to)));
        list.push_back(static_cast<uint32_t>(d.kernel().variable_place(from)));
        list.push_back(static_cast<uint32_t>(to.bytes));
    };
    for (size_t i = 0; i < n_arguments; i++) {
        add(function.parameters[i], *source.operands[n_results + i].variable);
    }
    for (size_t i = 0; i < n_results; i++) {
        add(*source.operands[i].variable, function.results[i]);
    }
    for (size_t i = 0; i < source.operands.size(); i++) {
        d.skip();
    }
    Instruction& out = d.out();
    out.vector = static_cast<uint8_t>(n_arguments);
    out.mode = static_cast<uint8_t>(n_results);
    out.op[0] = callee->return_place;
    out.width[0] = 32;
    out.n_ops = 1;
    out.target = callee->entry;
    d.keep_list(std::move(list));
    out.run = run_call;
}

void decode_return(Decoding& d) {
    d.out().op[0] = d.kernel().current()->return_place;
    d.out().width[0] = 32;
    d.out().n_ops = 1;
    d.out().run = run_return;
}

}  // namespace virtual_gpu
