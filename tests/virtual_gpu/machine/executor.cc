#include "machine/executor.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "machine/barriers.h"
#include "machine/block_setup.h"
#include "machine/copies.h"
#include "machine/lanes.h"
#include "machine/warp_runner.h"

namespace virtual_gpu {
namespace {

// Instructions without any progress after which the machine begins to look for a loop that will
// never end, and how often the whole state must come back before it says so.
constexpr uint64_t kPatience = 1 << 20;
constexpr int kRepeats = 3;

// A small generator of our own (splitmix64), so that a seed means the same order everywhere.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    uint64_t below(uint64_t n) { return next() % n; }

private:
    uint64_t state_;
};

// The blocks of one launch that are on the device at the same time, and whose turn it is.
class Scheduler {
public:
    Scheduler(Launch* launch, uint64_t n_blocks)
        : launch_(launch), n_blocks_(n_blocks), random_(launch->settings.seed) {
        const uint32_t seed = launch->settings.seed;
        // A cooperative launch promises that all its blocks run at once. Otherwise a few do, if
        // there is a seed, so that what must not depend on it is seen not to.
        const uint64_t resident = launch->request.is_cooperative ? n_blocks
                                  : seed == 0                    ? 1
                                                                 : 1 + random_.below(4);
        first_ = seed == 0 ? 0 : random_.below(n_blocks);
        blocks_.resize(std::min(resident, n_blocks));
        clock_base_.assign(blocks_.size(), 0);
    }

    void run() {
        for (Block& block : blocks_) {
            setup_block(launch_, &block);
            next_block(&block);
        }
        while (live_blocks_ > 0 && launch_->error == LaunchError::kNone) {
            if (!pass()) {
                report_deadlock();
                return;
            }
            watch();
        }
    }

private:
    void next_block(Block* block) {
        if (started_ == n_blocks_) {
            block->live_warps = 0;
            return;
        }
        const uint64_t linear = (first_ + started_) % n_blocks_;
        started_ += 1;
        live_blocks_ += 1;
        uint32_t& base = clock_base_[static_cast<size_t>(block - blocks_.data())];
        base = start_block(block, linear, base);
    }

    // Every ready warp gets a turn. False if nothing could move.
    bool pass() {
        bool moved = false;
        const size_t n = blocks_.size();
        const size_t turn = launch_->settings.seed == 0 ? 0 : random_.below(n);
        for (size_t i = 0; i < n && launch_->error == LaunchError::kNone; i++) {
            Block& block = blocks_[(turn + i) % n];
            if (block.live_warps == 0) {
                continue;
            }
            moved |= pass_block(block);
            if (block.live_warps == 0) {
                live_blocks_ -= 1;
                next_block(&block);
            }
        }
        return moved;
    }

    bool pass_block(Block& block) {
        bool moved = false;
        const size_t n = block.warps.size();
        const bool is_natural = launch_->settings.seed == 0;
        const size_t turn = is_natural ? 0 : random_.below(n);
        const bool backwards = !is_natural && random_.below(2) != 0;
        for (size_t i = 0; i < n && launch_->error == LaunchError::kNone; i++) {
            Warp& warp = block.warps[(turn + (backwards ? n - i : i)) % n];
            if (warp.state == WarpState::kReady) {
                const int64_t budget =
                    is_natural ? 1 << 16 : static_cast<int64_t>(16 << random_.below(8));
                run_warp(warp, budget);
                moved = true;
            }
        }
        return release_barriers(block) || moved;
    }

    // Looks for warps that spin for something that will not come: if nothing has changed memory or
    // freed a warp for long, and then all registers are again what they were, it never will.
    void watch() {
        if (launch_->progress != seen_progress_) {
            seen_progress_ = launch_->progress;
            quiet_since_ = launch_->executed;
            states_.clear();
            return;
        }
        if (launch_->executed - quiet_since_ > kPatience && ++states_[state_hash()] >= kRepeats) {
            report_deadlock();
        }
    }

    uint64_t state_hash() const {
        uint64_t hash = 0xcbf29ce484222325;
        const auto add = [&hash](uint64_t word) { hash = (hash ^ word) * 0x100000001b3; };
        for (const Block& block : blocks_) {
            for (const Warp& warp : block.warps) {
                add(static_cast<uint64_t>(warp.pc) << 32 | warp.mask);
                add(static_cast<uint64_t>(warp.state));
                const auto* words = reinterpret_cast<const uint64_t*>(warp.registers);
                for (uint32_t i = 0; i < launch_->kernel->register_bytes / 8; i++) {
                    add(words[i]);
                }
            }
        }
        return hash;
    }

    // One finding for every instruction at which warps stand.
    void report_deadlock() {
        for (Block& block : blocks_) {
            for (Warp& warp : block.warps) {
                if (warp.state == WarpState::kDone || warp.mask == 0) {
                    continue;
                }
                const bool at_barrier = warp.state == WarpState::kAtBarrier;
                const Instruction& instruction =
                    at_barrier ? *warp.arrival.instruction : launch_->kernel->code[warp.pc];
                report(warp, instruction, "deadlock", first_lane(warp.mask),
                       at_barrier ? "warp waits at barrier " + std::to_string(warp.arrival.id) +
                                        ", which the others never reach"
                                  : "warp repeats the same steps and nothing will end its waiting",
                       LaunchError::kFailure);
            }
        }
    }

    Launch* launch_;
    uint64_t n_blocks_;
    Random random_;
    std::vector<Block> blocks_;
    std::vector<uint32_t> clock_base_;
    uint64_t first_ = 0;
    uint64_t started_ = 0;
    uint64_t live_blocks_ = 0;
    uint64_t seen_progress_ = 0;
    uint64_t quiet_since_ = 0;
    std::unordered_map<uint64_t, int> states_;
};

}  // namespace

Machine::Machine(uint64_t memory_bytes) : memory_(memory_bytes), sectors_(memory_) {}

LaunchError Machine::run(Kernel* kernel, LaunchRequest request) {
    Launch launch;
    launch.kernel = kernel;
    launch.request = std::move(request);
    launch.request.parameters.resize(kernel->parameter_bytes);
    launch.settings = settings;
    launch.memory = &memory_;
    launch.sectors = &sectors_;
    launch.depends_on = launch.request.depends_on;
    launch.random_state = settings.seed;
    launch.findings = &findings_;
    KernelCounters& counters =
        launch.request.counters != nullptr ? *launch.request.counters : kernel->counters;
    counters.instructions.resize(kernel->code.size());
    counters.regions.resize(std::max(counters.regions.size(), memory_.names().size()));
    launch.counters = counters.instructions.data();
    launch.regions = counters.regions.data();
    launch.kernel_counters = &counters;
    launch.warps_a_block = static_cast<uint32_t>((launch.request.block.count() + 31) / 32);
    sectors_.begin_launch();
    counters.launches += 1;
    counters.blocks += launch.request.grid.count();
    Scheduler(&launch, launch.request.grid.count()).run();
    return launch.error;
}

std::string where(const Warp& warp, size_t pc) {
    const Kernel& kernel = *warp.launch->kernel;
    return describe_location(*kernel.source, kernel.code[pc].location);
}

void report(Warp& warp, const Instruction& instruction, const char* kind, int lane,
            const std::string& detail, LaunchError error) {
    Launch& launch = *warp.launch;
    if (launch.error == LaunchError::kNone) {
        launch.error = error;
    }
    const size_t pc = pc_of(warp, instruction);
    const Dim& block = warp.block->index;
    launch.findings->add({kind,
                          launch.kernel->name,
                          where(warp, pc),
                          std::string(launch.kernel->mnemonics[pc]),
                          detail,
                          0,
                          {block.x, block.y, block.z},
                          warp.index * 32 + static_cast<uint32_t>(lane)});
}

}  // namespace virtual_gpu
