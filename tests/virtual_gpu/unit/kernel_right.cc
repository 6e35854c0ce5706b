// Compiled kernels that are right, against plain C++ in double, on both code generators and with
// several schedules.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/support.h"

using namespace virtual_gpu;

namespace {

// A device with the program for one architecture and one seed.
struct Fixture {
    explicit Fixture(const char* arch, uint32_t seed) {
        machine.settings.seed = seed;
        program =
            machine.load(read_text(std::string(VIRTUAL_GPU_PTX_DIR "/right.") + arch + ".ptx"));
    }
    Kernel& kernel(const char* name) { return *program->kernels.at(name); }
    void run(const char* name, LaunchRequest request) {
        INFO(name << " seed " << machine.settings.seed);
        REQUIRE(machine.run(&kernel(name), std::move(request)) == LaunchError::kNone);
        INFO(findings_text(machine));
        REQUIRE(machine.findings().list().empty());
    }
    Machine machine{uint64_t{1} << 30};
    std::unique_ptr<Program> program;
    Values values{7};
};

#define ON_EVERY_DEVICE                                 \
    const char* arch = GENERATE("80", "90a", "100a");   \
    const uint32_t seed = GENERATE(0u, 1u, 2u, 3u, 4u); \
    Fixture f(arch, seed)

bool close(double found, double wanted, double tolerance) {
    return std::fabs(found - wanted) <= tolerance;  // False for a NaN.
}

double bf16(uint16_t bits) { return bf16_to_float(bits); }

}  // namespace

// Breaks if loads, float arithmetic or shuffles are wrong, or a correct kernel is complained about.
TEST_CASE("gemv equals the dot products", "[kernel]") {
    ON_EVERY_DEVICE;
    const int rows = 37;  // Not a multiple of the four rows of a block.
    const int k = 1024;
    const std::vector<uint16_t> w = f.values.bf16(size_t{rows} * k);
    const std::vector<uint16_t> x = f.values.bf16(k);
    const uint64_t y = f.machine.memory().allocate(rows * 4);
    f.run("gemv", request_for(f.kernel("gemv"), {(rows + 3) / 4}, {128}, upload(f.machine, w),
                              upload(f.machine, x), y, rows, k / 8));
    const std::vector<float> found = download<float>(f.machine, y, rows);
    for (int row = 0; row < rows; row++) {
        double sum = 0;
        for (int i = 0; i < k; i++) {
            sum += bf16(w[row * k + i]) * bf16(x[i]);
        }
        // 1,024 products of at most 1, added in float in chains of 16: far below 1e-4.
        CHECK(close(found[row], sum, 1e-4));
    }
    // All of the weights once, the vector once, the result once: what DRAM must deliver.
    const InstructionCounters all = total(f.kernel("gemv").counters);
    CHECK(all.unique_sectors == (w.size() + x.size()) * 2 / 32 + (rows * 4 + 31) / 32);
    CHECK(all.wavefronts == 0);
}

// Breaks if barriers, dynamic shared memory or the conversion to bf16 are wrong.
TEST_CASE("rms_norm equals the formula", "[kernel]") {
    ON_EVERY_DEVICE;
    const int rows = 3;
    const int n = 1000;
    const std::vector<float> x = f.values.f32(size_t{rows} * n);
    const std::vector<float> w = f.values.f32(n);
    const uint64_t y = f.machine.memory().allocate(size_t{rows} * n * 2);
    LaunchRequest request = request_for(f.kernel("rms_norm"), {rows}, {256}, upload(f.machine, x),
                                        upload(f.machine, w), y, n, 1e-6f);
    request.dynamic_shared_bytes = n * 4;
    f.run("rms_norm", request);
    const std::vector<uint16_t> found = download<uint16_t>(f.machine, y, size_t{rows} * n);
    for (int row = 0; row < rows; row++) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += double{x[row * n + i]} * x[row * n + i];
        }
        const double scale = 1 / std::sqrt(sum / n + 1e-6);
        for (int i = 0; i < n; i++) {
            const double wanted = x[row * n + i] * scale * w[i];
            // Half a unit in the last place of bf16, and a little for the float sum.
            REQUIRE(close(bf16(found[row * n + i]), wanted, std::fabs(wanted) / 256 + 1e-6));
        }
    }
}

// Breaks if in-place updates across barriers are taken for races, or ex2 or division is wrong.
TEST_CASE("softmax in place equals the formula", "[kernel]") {
    ON_EVERY_DEVICE;
    const int rows = 3;
    const int n = 333;
    const std::vector<float> x = f.values.f32(size_t{rows} * n);
    const uint64_t at = upload(f.machine, x);
    f.run("softmax", request_for(f.kernel("softmax"), {rows}, {128}, at, n));
    const std::vector<float> found = download<float>(f.machine, at, size_t{rows} * n);
    for (int row = 0; row < rows; row++) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
            sum += std::exp(double{x[row * n + i]});
        }
        for (int i = 0; i < n; i++) {
            REQUIRE(close(found[row * n + i], std::exp(double{x[row * n + i]}) / sum, 1e-7));
        }
    }
}

// Breaks if mma or ldmatrix put a value into the wrong lane, or cp.async groups are miscounted.
TEST_CASE("gemm on tensor cores equals the dot products", "[kernel]") {
    ON_EVERY_DEVICE;
    const int n = 128;
    const int k = 256;
    const std::vector<uint16_t> a = f.values.bf16(size_t{64} * k);
    const std::vector<uint16_t> b = f.values.bf16(size_t{n} * k);
    const uint64_t c = f.machine.memory().allocate(size_t{64} * n * 4);
    f.run("gemm", request_for(f.kernel("gemm"), {n / 64}, {128}, upload(f.machine, a),
                              upload(f.machine, b), c, n, k));
    const std::vector<float> found = download<float>(f.machine, c, size_t{64} * n);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int q = 0; q < k; q++) {
                sum += bf16(a[i * k + q]) * bf16(b[j * k + q]);
            }
            // 256 float additions of sums below 256: 256 x 2^-24 x 256 / 2 bounds the error.
            REQUIRE(close(found[i * n + j], sum, 2e-3));
        }
    }
    CHECK(total(f.kernel("gemm").counters).flops == uint64_t{2} * 64 * n * k);
}

// Breaks if fences with atomics do not order one block after another for the race check.
TEST_CASE("the last block adds the parts", "[kernel]") {
    ON_EVERY_DEVICE;
    const int n = 5000;
    const std::vector<float> x = f.values.f32(n);
    const uint64_t parts = f.machine.memory().allocate(5 * 4);
    const uint64_t done = upload(f.machine, std::vector<uint32_t>{0});
    const uint64_t sum = f.machine.memory().allocate(4);
    f.run("reduce_last_block", request_for(f.kernel("reduce_last_block"), {5}, {256},
                                           upload(f.machine, x), parts, done, sum, n));
    double wanted = 0;
    for (const float value : x) {
        wanted += value;
    }
    CHECK(close(download<float>(f.machine, sum, 1)[0], wanted, 1e-3));
}

// Breaks if a cooperative launch does not hold all its blocks at once.
TEST_CASE("a grid-wide barrier lets every block through", "[kernel]") {
    ON_EVERY_DEVICE;
    const uint32_t blocks = 24;
    const uint64_t arrived = upload(f.machine, std::vector<uint32_t>{0});
    const uint64_t values = f.machine.memory().allocate(blocks * 4);
    const uint64_t out = f.machine.memory().allocate(blocks * 4);
    LaunchRequest request =
        request_for(f.kernel("grid_barrier"), {blocks}, {64}, arrived, values, out);
    request.is_cooperative = true;
    f.run("grid_barrier", request);
    const std::vector<int> found = download<int>(f.machine, out, blocks);
    for (uint32_t block = 0; block < blocks; block++) {
        CHECK(found[block] == static_cast<int>((block + 1) % blocks * 7));
    }
}

// Breaks if lanes are lost, doubled or run in the wrong order when they part and meet again.
TEST_CASE("divergent lanes compute what one thread would", "[kernel]") {
    ON_EVERY_DEVICE;
    std::vector<uint32_t> x(256);
    for (uint32_t& value : x) {
        value = static_cast<uint32_t>(f.values.next() % 5000 + 1);
    }
    const uint64_t y = f.machine.memory().allocate(x.size() * 4);
    f.run("divergence", request_for(f.kernel("divergence"), {2}, {128}, upload(f.machine, x), y));
    std::vector<uint32_t> steps(256);
    for (size_t i = 0; i < x.size(); i++) {
        uint32_t value = x[i];
        uint32_t n = 0;
        while (value != 1 && n < 300) {
            if ((value & 1) != 0) {
                n += value % 3 == 0 ? 2 : 0;
                value = 3 * value + 1;
            } else {
                value /= 2;
            }
            n++;
        }
        switch (x[i] % 7) {
            case 0: n += 11; break;
            case 1: n *= 3; break;
            case 2: n ^= 0x55; break;
            case 3: n = ~n; break;
            case 4: n <<= 2; break;
            case 5: n = n / 5 + x[i] % 13; break;
            default: n -= 9;
        }
        steps[i] = n;
    }
    const std::vector<uint32_t> before = steps;
    for (size_t i = 0; i < x.size(); i++) {
        const size_t lane = i % 32;
        steps[i] += lane < 16 ? before[i ^ 1] * 3 : lane + 2 < 32 ? before[i + 2] : before[i];
    }
    const std::vector<uint32_t> found = download<uint32_t>(f.machine, y, x.size());
    for (size_t i = 0; i < x.size(); i++) {
        REQUIRE(found[i] == steps[i] + steps[i | 31]);
    }
}

// Breaks if an atomic update in shared or global memory is lost.
TEST_CASE("histogram counts everything", "[kernel]") {
    ON_EVERY_DEVICE;
    std::vector<int> x(1000);
    std::vector<int> wanted(16, 0);
    for (int& value : x) {
        value = static_cast<int>(f.values.next() & 0xff);
        wanted[value & 15] += 1;
    }
    const uint64_t counts = upload(f.machine, std::vector<int>(16, 0));
    f.run("histogram", request_for(f.kernel("histogram"), {4}, {256}, upload(f.machine, x), counts,
                                   static_cast<int>(x.size())));
    CHECK(download<int>(f.machine, counts, 16) == wanted);
}

// Breaks if counts depend on anything but the program and its input.
TEST_CASE("counters are the same in every run", "[kernel]") {
    const auto count = [](uint32_t seed) {
        Fixture f("80", seed);
        const std::vector<float> x = f.values.f32(3 * 333);
        f.run("softmax", request_for(f.kernel("softmax"), {3}, {128}, upload(f.machine, x), 333));
        return counters_json(*f.program);
    };
    const std::string first = count(0);
    CHECK(first == count(0));
    CHECK(first == count(5));  // No loop in softmax waits for anybody.
    CHECK(first.find("\"softmax\"") != std::string::npos);
    CHECK(first.find("right.cu:") != std::string::npos);
}

// Breaks if a call passes or returns the wrong value, or lanes do not meet again after it.
TEST_CASE("functions are called and come back", "[kernel]") {
    ON_EVERY_DEVICE;
    const std::vector<float> x = f.values.f32(128);
    const uint64_t y = f.machine.memory().allocate(512);
    f.run("calls", request_for(f.kernel("calls"), {1}, {128}, upload(f.machine, x), y));
    const auto weigh = [](float value, int steps) {
        float sum = 0;
        for (int i = 0; i < steps; i++) {
            sum = std::fma(value, static_cast<float>(i), sum);
        }
        return sum;
    };
    const std::vector<float> found = download<float>(f.machine, y, 128);
    for (int i = 0; i < 128; i++) {
        const float wanted = i % 3 == 0   ? weigh(x[i], i % 7)
                             : i % 3 == 1 ? weigh(x[i], i % 5) + weigh(2 * x[i], i % 5 / 2)
                                          : x[i];
        CHECK(std::abs(found[127 - i] - wanted) < 1e-5f);
    }
}
