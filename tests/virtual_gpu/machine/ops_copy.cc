// cp.async and its groups.
//
// A copy is carried out when the program waits for it and not a moment before: later than that the
// ISA does not allow, and every program that is right gets the same bytes at any moment between. A
// program that forgets to wait reads what was there before, and the shadow says so.
#include <cstring>

#include "machine/access.h"
#include "machine/copies.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/ops_bulk.h"

namespace virtual_gpu {
namespace {

// op: destination in shared memory, source, [bytes to read]; offsets in 'offset' (source) and
// 'target' (destination). Whether op[2] is there, 'mode' says.
void run_copy(Warp& warp, const Instruction& instruction, uint32_t mask) {
    Access from;
    from.mask = mask;
    from.bytes = instruction.bytes;
    Access to = from;
    to.kind = AccessKind::kWrite;
    PendingCopy copy;
    for_each_lane(mask, [&](int lane) {
        from.address[lane] =
            operand(warp, instruction, 1, lane) + static_cast<uint64_t>(instruction.offset);
        to.address[lane] =
            (operand(warp, instruction, 0, lane) + static_cast<uint32_t>(instruction.target)) &
            0xffffffff;
        copy.source_bytes[lane] =
            instruction.mode == 0 ? instruction.bytes
                                  : static_cast<uint8_t>(std::min<uint64_t>(
                                        operand(warp, instruction, 2, lane), instruction.bytes));
        if (copy.source_bytes[lane] == 0) {
            from.mask &= ~(1u << lane);  // It reads nothing, so its address may be anything.
        }
    });
    const uint32_t reading = from.mask;
    if (reading != 0) {
        resolve(warp, instruction, Space::kGlobal, &from);
    }
    to.mask = mask & ~(reading & ~from.mask);
    if (to.mask == 0) {
        return;
    }
    resolve(warp, instruction, Space::kShared, &to);
    copy.instruction = &instruction;
    copy.serial = warp.launch->executed;
    copy.mask = to.mask;
    for_each_lane(to.mask, [&](int lane) {
        copy.to[lane] = static_cast<uint32_t>(to.address[lane]);
        copy.from[lane] = from.address[lane];
        copy.group[lane] = warp.committed[lane];
        if (warp.launch->settings.check) {
            warp.block->shadow.start_copy(warp, instruction, copy.to[lane], instruction.bytes,
                                          lane);
        }
    });
    warp.copies.push_back(copy);
}

void carry_out(Warp& warp, const PendingCopy& copy, int lane) {
    const uint32_t bytes = copy.instruction->bytes;
    uint8_t* to = warp.block->shared.data() + copy.to[lane];
    const uint32_t given = copy.source_bytes[lane];
    if (given != 0) {
        std::memcpy(to, warp.launch->memory->find(copy.from[lane], given), given);
    }
    std::memset(to + given, 0, bytes - given);
    if (warp.launch->settings.check) {
        warp.block->shadow.finish_copy(warp, *copy.instruction, copy.to[lane], bytes, lane);
    }
}

// Waits until at most 'pending' of each lane's groups are on their way; kEverything: until none is,
// committed or not.
constexpr uint32_t kEverything = ~0u;

void wait_for_groups(Warp& warp, uint32_t mask, uint32_t pending) {
    size_t kept = 0;
    for (PendingCopy& copy : warp.copies) {
        for_each_lane(copy.mask & mask, [&](int lane) {
            const uint32_t open = warp.committed[lane];
            if (pending == kEverything ||
                (copy.group[lane] < open && open - copy.group[lane] > pending)) {
                carry_out(warp, copy, lane);
                copy.mask &= ~(1u << lane);
            }
        });
        if (copy.mask != 0) {
            warp.copies[kept++] = copy;
        }
    }
    warp.copies.resize(kept);
}

void run_commit(Warp& warp, const Instruction&, uint32_t mask) {
    for_each_lane(mask, [&](int lane) { warp.committed[lane] += 1; });
}

void run_wait_group(Warp& warp, const Instruction& instruction, uint32_t mask) {
    wait_for_groups(warp, mask, static_cast<uint32_t>(instruction.offset));
}

void run_wait_all(Warp& warp, const Instruction&, uint32_t mask) {
    wait_for_groups(warp, mask, kEverything);
}

int64_t take_offset(Decoding& d) {
    d.address();
    const int64_t offset = d.out().offset;
    d.out().offset = 0;
    return offset;
}

void decode_copy(Decoding& d) {
    Instruction& out = d.out();
    const bool is_cached = d.take("ca");
    if (!is_cached && !d.take("cg")) {
        d.fail("'.ca' or '.cg' is missing");
    }
    if ((!d.take("shared") && !d.take("shared::cta")) || !d.take("global")) {
        d.fail("only copies from global to shared memory are supported");
    }
    d.ignore({"L2::64B", "L2::128B", "L2::256B"});
    out.target = static_cast<int32_t>(take_offset(d));
    const int64_t source_offset = take_offset(d);
    const uint64_t bytes = d.immediate();
    if (!(bytes == 16 || (is_cached && (bytes == 4 || bytes == 8)))) {
        d.fail("it copies 16 bytes, or with .ca also 4 or 8");
    }
    out.bytes = static_cast<uint8_t>(bytes);
    out.offset = source_offset;
    if (d.operands_left() > 0) {
        d.value(Type::kU32);
        out.mode = 1;
    }
    out.run = run_copy;
}

void decode_cp(Decoding& d) {
    if (!d.take("async")) {
        d.fail("only cp.async is supported");
    }
    if (d.take("bulk")) {
        decode_bulk(d);
    } else if (d.take("mbarrier")) {
        decode_async_arrive(d);
    } else if (d.take("commit_group")) {
        d.out().run = run_commit;
    } else if (d.take("wait_group")) {
        d.out().offset = static_cast<int64_t>(d.immediate());
        d.out().run = run_wait_group;
    } else if (d.take("wait_all")) {
        d.out().run = run_wait_all;
    } else {
        decode_copy(d);
    }
}

constexpr Opcode kOpcodes[] = {{"cp", decode_cp}};

}  // namespace

void carry_out_copies(Warp& warp, int lane, uint64_t serial) {
    std::erase_if(warp.copies, [&](PendingCopy& copy) {
        if ((copy.mask >> lane & 1) != 0 && copy.serial < serial) {
            carry_out(warp, copy, lane);
            copy.mask &= ~(1u << lane);
        }
        return copy.mask == 0;
    });
}

void drop_copies(Warp& warp) {
    for (const PendingCopy& copy : warp.copies) {
        report(warp, *copy.instruction, "copy-never-waited-for", first_lane(copy.mask),
               "the warp ends while this cp.async is on its way");
        for_each_lane(copy.mask, [&](int lane) {
            warp.block->shadow.forget_copy(copy.to[lane], copy.instruction->bytes);
        });
    }
    warp.copies.clear();
}

std::span<const Opcode> copy_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
