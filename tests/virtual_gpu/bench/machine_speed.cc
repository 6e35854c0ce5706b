// How many warp instructions a second the machine executes, with all checks and counters, in
// processor time of one core; exit status 1 below the bars.
//
//   virtual_gpu_speed PTX_FOLDER
#include <ctime>

#include <algorithm>
#include <cstdio>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

double processor_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Case {
    const char* kernel;
    double bar;  // Million warp instructions a second.
    LaunchRequest (*request)(Machine& machine, const Kernel& kernel);
};

// 41 MB of BF16 weights.
LaunchRequest gemv(Machine& m, const Kernel& k) {
    constexpr int kRows = 2880;
    constexpr int kColumns = 7168;
    Values v{1};
    return request_for(k, {kRows / 4}, {128}, upload(m, v.bf16(size_t{kRows} * kColumns)),
                       upload(m, v.bf16(kColumns)), m.memory().allocate(kRows * 4), kRows,
                       kColumns / 8);
}

// The mix of an attention kernel: cp.async, ldmatrix, mma and barriers.
LaunchRequest gemm(Machine& m, const Kernel& k) {
    constexpr int kColumns = 512;
    constexpr int kDepth = 2048;
    Values v{2};
    return request_for(k, {kColumns / 64}, {128}, upload(m, v.bf16(64 * kDepth)),
                       upload(m, v.bf16(size_t{kColumns} * kDepth)),
                       m.memory().allocate(64 * kColumns * 4), kColumns, kDepth);
}

bool run(const std::string& ptx, const Case& one, bool has_checks) {
    Machine machine(uint64_t{1} << 30);
    machine.settings.check = machine.settings.count = has_checks;
    const auto program = machine.load(ptx);
    Kernel& kernel = *program->kernels.at(one.kernel);
    const LaunchRequest request = one.request(machine, kernel);
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const double began = processor_seconds();
        if (machine.run(&kernel, request) != LaunchError::kNone) {
            return false;
        }
        best = std::min(best, processor_seconds() - began);
    }
    const auto executed = static_cast<double>(total(kernel.counters).executed) / 5;
    const double speed = executed / best / 1e6;
    std::printf("%-5s %s: %6.1f million warp instructions a second", one.kernel,
                has_checks ? "checked and counted" : "neither            ", speed);
    std::printf(has_checks ? ", bar %.0f\n" : "\n", one.bar);
    return !has_checks || (speed >= one.bar && machine.findings().list().empty());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "virtual_gpu_speed PTX_FOLDER\n");
        return 2;
    }
    const std::string ptx = read_text(std::string(argv[1]) + "/right.80.ptx");
    bool is_fast = true;
    for (const Case& one : {Case{"gemv", 20, gemv}, Case{"gemm", 5, gemm}}) {
        run(ptx, one, false);
        is_fast = run(ptx, one, true) && is_fast;
    }
    return is_fast ? 0 : 1;
}
