#include "machine/access.h"

#include <cstring>

#include "machine/access_global.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

// Whether all 32 lanes access neighbouring places in the order of the lanes.
bool is_row(const Access& access) {
    if (access.mask != kAllLanes) {
        return false;
    }
    uint64_t difference = 0;
    for (uint64_t lane = 0; lane < 32; lane++) {
        difference |= access.address[lane] - access.address[0] - lane * access.bytes;
    }
    return difference == 0;
}

void check_alignment(Warp& warp, const Instruction& instruction, Access* access) {
    uint64_t low_bits = 0;
    for_each_lane(access->mask, [&](int lane) { low_bits |= access->address[lane]; });
    if ((low_bits & (access->bytes - 1)) == 0) {
        return;
    }
    for_each_lane(access->mask, [&](int lane) {
        if ((access->address[lane] & (access->bytes - 1)) != 0) {
            access->mask &= ~(1u << lane);
            report(warp, instruction, "misaligned", lane,
                   std::to_string(access->bytes) + "-byte access at address ending in " +
                       std::to_string(access->address[lane] & 255),
                   LaunchError::kMisaligned);
        }
    });
}

void resolve_shared(Warp& warp, const Instruction& instruction, Access* access) {
    Block& block = *warp.block;
    for_each_lane(access->mask, [&](int lane) {
        const uint64_t offset = access->address[lane];
        if (offset + access->bytes > block.shared_bytes || offset > block.shared_bytes) {
            access->mask &= ~(1u << lane);
            report(warp, instruction, "out-of-bounds", lane,
                   std::to_string(access->bytes) + " bytes at shared+" + std::to_string(offset) +
                       ", the block has " + std::to_string(block.shared_bytes),
                   LaunchError::kIllegalAddress);
            return;
        }
        access->host[lane] = block.shared.data() + offset;
    });
    if (access->mask == 0) {
        return;
    }
    if (warp.launch->settings.count) {
        count_wavefronts(warp, instruction, access->address, access->mask, access->bytes);
    }
    if (!warp.launch->settings.check) {
        return;
    }
    for_each_lane(access->mask, [&](int lane) {
        const auto offset = static_cast<uint32_t>(access->address[lane]);
        block.shadow.access(warp, instruction, offset, access->bytes, lane, access->kind);
        if (access->kind != AccessKind::kWrite &&
            !shared_is_written(block, offset, access->bytes)) {
            report(warp, instruction, "uninitialised", lane,
                   "read of shared+" + std::to_string(offset) + ", which nobody wrote");
        }
        if (access->kind != AccessKind::kRead) {
            mark_shared_written(&block, offset, access->bytes);
        }
    });
}

void resolve_local(Warp& warp, const Instruction& instruction, Access* access) {
    const uint32_t size = warp.launch->kernel->local_bytes;
    for_each_lane(access->mask, [&](int lane) {
        const uint64_t offset = access->address[lane];
        if (offset + access->bytes > size || offset > size) {
            access->mask &= ~(1u << lane);
            report(warp, instruction, "out-of-bounds", lane,
                   "local+" + std::to_string(offset) + " of " + std::to_string(size) + " bytes",
                   LaunchError::kIllegalAddress);
            return;
        }
        const size_t at = static_cast<size_t>(lane) * size + offset;
        access->host[lane] = warp.local + at;
        if (access->kind == AccessKind::kRead) {
            for (uint32_t i = 0; i < access->bytes; i++) {
                if (warp.local_written[at + i] == 0) {
                    report(warp, instruction, "uninitialised", lane,
                           "read of local+" + std::to_string(offset) + ", which nobody wrote");
                    break;
                }
            }
        } else {
            std::memset(warp.local_written + at, 1, access->bytes);
        }
    });
}

void resolve_param(Warp& warp, const Instruction& instruction, Access* access) {
    std::vector<uint8_t>& parameters = warp.launch->request.parameters;
    for_each_lane(access->mask, [&](int lane) {
        const uint64_t offset = access->address[lane];
        if (offset + access->bytes > warp.launch->kernel->parameter_bytes ||
            access->kind != AccessKind::kRead) {
            access->mask &= ~(1u << lane);
            report(warp, instruction, "out-of-bounds", lane,
                   "access to param+" + std::to_string(offset) + " of " +
                       std::to_string(warp.launch->kernel->parameter_bytes) + " readable bytes",
                   LaunchError::kIllegalAddress);
            return;
        }
        access->host[lane] = parameters.data() + offset;
    });
}

// The space that a generic address belongs to.
Space space_of(uint64_t address) {
    switch (address / kSharedWindow) {
        case 1: return Space::kShared;
        case 2: return Space::kLocal;
        case 3: return Space::kParam;
        default: return Space::kGlobal;
    }
}

// Lanes of one instruction may point into different spaces; each space is one access of its own.
void resolve_generic(Warp& warp, const Instruction& instruction, Access* access) {
    uint32_t done = 0;
    for (uint32_t rest = access->mask; rest != 0;) {
        const Space space = space_of(access->address[first_lane(rest)]);
        Access part;
        part.bytes = access->bytes;
        part.kind = access->kind;
        for_each_lane(rest, [&](int lane) {
            if (space_of(access->address[lane]) == space) {
                part.mask |= 1u << lane;
            }
        });
        const uint64_t window = space == Space::kGlobal ? 0 : kSharedWindow - 1;
        for (int lane = 0; lane < 32; lane++) {
            const uint64_t address = access->address[lane];
            part.address[lane] = window == 0 ? address : address & window;
        }
        rest &= ~part.mask;
        const bool is_whole = part.mask == access->mask;
        resolve(warp, instruction, space, &part);
        for_each_lane(part.mask, [&](int lane) { access->host[lane] = part.host[lane]; });
        access->is_row = is_whole && part.is_row;
        done |= part.mask;
    }
    access->mask = done;
}

}  // namespace

void read_addresses(Warp& warp, const Instruction& instruction, int n, Access* access) {
    const auto offset = static_cast<uint64_t>(instruction.offset);
    if (instruction.width[n] == 32) {
        const uint32_t* base = reg<uint32_t>(warp, instruction.op[n]);
        for (int lane = 0; lane < 32; lane++) {
            access->address[lane] = static_cast<uint32_t>(base[lane] + offset);
        }
    } else {
        const uint64_t* base = reg<uint64_t>(warp, instruction.op[n]);
        for (int lane = 0; lane < 32; lane++) {
            access->address[lane] = base[lane] + offset;
        }
    }
}

void resolve(Warp& warp, const Instruction& instruction, Space space, Access* access) {
    if (space == Space::kGeneric) {
        resolve_generic(warp, instruction, access);
        return;
    }
    check_alignment(warp, instruction, access);
    if (access->mask == 0) {
        return;
    }
    access->is_row = is_row(*access);
    switch (space) {
        case Space::kShared: resolve_shared(warp, instruction, access); break;
        case Space::kLocal: resolve_local(warp, instruction, access); break;
        case Space::kParam: resolve_param(warp, instruction, access); break;
        default: resolve_global(warp, instruction, access); break;
    }
    access->is_row = access->is_row && access->mask == kAllLanes && space != Space::kLocal;
    if (access->kind != AccessKind::kRead) {
        warp.launch->progress += 1;
    }
}

void count_wavefronts(Warp& warp, const Instruction& instruction, const uint64_t* address,
                      uint32_t mask, uint32_t bytes) {
    // The hardware serves 128 bytes a pass, so lanes with 8 or 16 bytes go in 2 or 4 groups. In a
    // group the passes are as many as the most crowded bank has different units.
    const uint32_t unit = bytes < 4 ? 4 : bytes;
    const uint32_t group = 128 / unit;
    const int shift = __builtin_ctz(unit);
    uint32_t waves = 0;
    uint32_t ideal = 0;
    for (uint32_t start = 0; start < 32; start += group) {
        uint32_t lanes = group == 32 ? mask : (mask >> start) & ((1u << group) - 1);
        if (lanes == 0) {
            continue;
        }
        ideal += 1;
        uint32_t units[32];
        uint32_t n_units = 0;
        uint8_t crowd[32] = {};
        uint8_t most = 0;
        for (; lanes != 0; lanes &= lanes - 1) {
            const auto at = static_cast<uint32_t>(address[start + first_lane(lanes)] >> shift);
            bool is_known = false;
            // Only a bank that is in use already can hold the same unit.
            for (uint32_t i = 0; crowd[at % group] != 0 && i < n_units && !is_known; i++) {
                is_known = units[i] == at;
            }
            if (!is_known) {
                units[n_units++] = at;
                crowd[at % group] += 1;
                most = std::max(most, crowd[at % group]);
            }
        }
        waves += most;
    }
    InstructionCounters& counters = warp.launch->counters[pc_of(warp, instruction)];
    counters.wavefronts += waves;
    counters.ideal_wavefronts += ideal;
}

void mark_shared_written(Block* block, uint32_t offset, uint32_t bytes) {
    uint8_t* at = &block->shared_written[offset / 8];
    if (bytes >= 8) {
        std::memset(at, 0xff, bytes / 8);
    } else {
        *at |= static_cast<uint8_t>(((1u << bytes) - 1) << (offset % 8));
    }
}

bool shared_is_written(const Block& block, uint32_t offset, uint32_t bytes) {
    const uint8_t* at = &block.shared_written[offset / 8];
    if (bytes == 16) {
        return at[0] == 0xff && at[1] == 0xff;
    }
    const uint32_t wanted = ((1u << bytes) - 1) << (offset % 8);
    return (*at & wanted) == wanted;
}

}  // namespace virtual_gpu
