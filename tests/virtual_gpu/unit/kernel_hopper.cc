// Kernels of sm_90a against plain C++, and mutants of them.
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "machine/tensor_map.h"
#include "unit/mutants.h"
#include "unit/support.h"

using namespace virtual_gpu;

namespace {

struct MapBytes {
    alignas(64) uint8_t bytes[128];
};

// A map of a matrix of rows, as cuTensorMapEncodeTiled would make it.
MapBytes map_of(uint64_t address, uint32_t columns, uint32_t rows, uint16_t box_columns,
                uint16_t box_rows, uint8_t element_bytes) {
    TensorMap map;
    map.rank = 2;
    map.element_bytes = element_bytes;
    map.swizzle_bytes = 128;
    map.address = address;
    map.stride[0] = uint64_t{columns} * element_bytes;
    map.extent[0] = columns;
    map.extent[1] = rows;
    map.box[0] = box_columns;
    map.box[1] = box_rows;
    MapBytes bytes;
    std::memcpy(bytes.bytes, &map, sizeof map);
    return bytes;
}

std::string hopper_ptx() { return read_text(VIRTUAL_GPU_PTX_DIR "/hopper.90a.ptx"); }

struct Device {
    explicit Device(uint32_t seed, const std::string& ptx = hopper_ptx()) {
        machine.settings.seed = seed;
        program = machine.load(ptx);
    }
    Kernel& kernel(const char* name) { return *program->kernels.at(name); }
    void run(const char* name, LaunchRequest request) {
        const LaunchError error = machine.run(&kernel(name), std::move(request));
        INFO(findings_text(machine));
        REQUIRE(error == LaunchError::kNone);
        REQUIRE(machine.findings().list().empty());
    }
    Machine machine{uint64_t{1} << 28};
    std::unique_ptr<Program> program;
};

// Five steps: the compiler unrolls the loop by two, and the odd one runs the rest of it.
constexpr int kDepth = 320;

LaunchRequest gemm_request(Machine& m, const Kernel& k, uint64_t* c) {
    Values v{4};
    const uint64_t a = upload(m, v.bf16(64 * kDepth));
    const uint64_t b = upload(m, v.bf16(16 * kDepth));
    *c = m.memory().allocate(64 * 16 * 4);
    LaunchRequest request = request_for(k, {1}, {160}, map_of(a, kDepth, 64, 64, 64, 2),
                                        map_of(b, kDepth, 16, 64, 16, 2), *c, kDepth);
    request.dynamic_shared_bytes = 2 * (8192 + 2048);
    return request;
}

LaunchRequest bulk_request(Machine& m, const Kernel& k, uint64_t* y) {
    Values v{5};
    const uint64_t x = upload(m, v.f32(3 * 1024));
    *y = m.memory().allocate(3 * 4096);
    return request_for(k, {1}, {128}, x, *y, 3);
}

// 70 columns and 20 rows: the last tiles hang over both edges.
constexpr uint32_t kColumns = 76;
constexpr uint32_t kRows = 20;

LaunchRequest tile_request(Machine& m, const Kernel& k, uint64_t* y) {
    Values v{6};
    const uint64_t x = upload(m, v.f32(kColumns * kRows));
    *y = m.memory().allocate(kColumns * kRows * 4);
    return request_for(k, {3, 2}, {128}, map_of(x, kColumns, kRows, 32, 16, 4),
                       map_of(*y, kColumns, kRows, 32, 16, 4));
}

LaunchRequest report_request(Machine& m, const Kernel& k, uint64_t* y) {
    Values v{7};
    const uint64_t x = upload(m, v.f32(512));
    *y = m.memory().allocate(2048);
    return request_for(k, {1}, {128}, x, *y);
}

}  // namespace

// Breaks if a fragment, a swizzle or a descriptor of the Hopper instructions is misunderstood.
TEST_CASE("a warp-specialised GEMM is right", "[hopper]") {
    for (uint32_t seed = 0; seed < 5; seed++) {
        Device d(seed);
        uint64_t c = 0;
        d.run("warp_specialised_gemm",
              gemm_request(d.machine, d.kernel("warp_specialised_gemm"), &c));
        Values v{4};
        const std::vector<uint16_t> a = v.bf16(64 * kDepth);
        const std::vector<uint16_t> b = v.bf16(16 * kDepth);
        const std::vector<float> found = download<float>(d.machine, c, 64 * 16);
        for (int row = 0; row < 64; row++) {
            for (int column = 0; column < 16; column++) {
                double wanted = 0;
                for (int k = 0; k < kDepth; k++) {
                    wanted += double{bf16_to_float(a[row * kDepth + k])} *
                              bf16_to_float(b[column * kDepth + k]);
                }
                // Products below 1 in float: each addition loses 2^-24 of 16 at most.
                CHECK(std::abs(found[row * 16 + column] - wanted) < kDepth * 16 * 6e-8);
            }
        }
        CHECK(total(d.kernel("warp_specialised_gemm").counters).flops ==
              uint64_t{2} * 64 * 16 * kDepth);
        // Each of the two matrices is read once.
        CHECK(total(d.kernel("warp_specialised_gemm").counters).unique_reads ==
              (64 + 16) * kDepth * 2 / 32);
    }
}

// Breaks if bulk copies bring or take the wrong bytes, or at the wrong time.
TEST_CASE("bulk copies move what they should", "[hopper]") {
    for (uint32_t seed = 0; seed < 3; seed++) {
        Device d(seed);
        uint64_t y = 0;
        d.run("bulk_double", bulk_request(d.machine, d.kernel("bulk_double"), &y));
        Values v{5};
        const std::vector<float> x = v.f32(3 * 1024);
        const std::vector<float> found = download<float>(d.machine, y, 3 * 1024);
        for (size_t i = 0; i < x.size(); i++) {
            REQUIRE(found[i] == 2 * x[i]);
        }
    }
}

// Breaks if tiles beyond the edge are read, written or filled wrongly.
TEST_CASE("tiles over the edge of a tensor are cut", "[hopper]") {
    Device d(0);
    uint64_t y = 0;
    d.run("tile_increment", tile_request(d.machine, d.kernel("tile_increment"), &y));
    Values v{6};
    const std::vector<float> x = v.f32(kColumns * kRows);
    const std::vector<float> found = download<float>(d.machine, y, kColumns * kRows);
    for (size_t i = 0; i < x.size(); i++) {
        REQUIRE(found[i] == x[i] + 1);
    }
}

// Breaks if a cp.async that reports to a barrier does not count, or is not waited for.
TEST_CASE("cp.async reports to a barrier", "[hopper]") {
    for (uint32_t seed = 0; seed < 3; seed++) {
        Device d(seed);
        uint64_t y = 0;
        d.run("copies_report", report_request(d.machine, d.kernel("copies_report"), &y));
        Values v{7};
        const std::vector<float> x = v.f32(512);
        const std::vector<float> found = download<float>(d.machine, y, 512);
        for (size_t i = 0; i < 512; i++) {
            REQUIRE(found[i] == x[511 - i]);
        }
    }
}

// Breaks if a dependent launch may touch what the launch before it uses without waiting for it.
TEST_CASE("a dependent launch waits before it touches the other's data", "[hopper]") {
    const auto findings = [](const std::string& ptx) {
        Device d(0, ptx);
        const uint64_t x = upload(d.machine, std::vector<float>(128, 1.0f));
        const uint64_t y = d.machine.memory().allocate(512);
        Kernel& kernel = d.kernel("dependent_add");
        REQUIRE(d.machine.run(&kernel, request_for(kernel, {1}, {128}, x, y)) ==
                LaunchError::kNone);
        const uint64_t z = d.machine.memory().allocate(512);
        LaunchRequest second = request_for(kernel, {1}, {128}, y, z);
        second.depends_on = d.machine.last_launch();
        REQUIRE(d.machine.run(&kernel, second) == LaunchError::kNone);
        CHECK(download<float>(d.machine, z, 128)[5] == 11.0f);
        return findings_text(d.machine);
    };
    CHECK(findings(hopper_ptx()).empty());
    const std::string without = findings(without_line(hopper_ptx(), "griddepcontrol.wait"));
    CHECK(without.find("race-launch") != std::string::npos);
}

// Breaks if a check of the asynchronous instructions has gone blind.
TEST_CASE("every mutant of the Hopper kernels is noticed", "[hopper][mutant]") {
    using Maker = LaunchRequest (*)(Machine&, const Kernel&, uint64_t*);
    const std::pair<const char*, Maker> subjects[] = {{"warp_specialised_gemm", gemm_request},
                                                      {"bulk_double", bulk_request},
                                                      {"tile_increment", tile_request},
                                                      {"copies_report", report_request}};
    const std::string ptx = hopper_ptx();
    size_t n_mutants = 0;
    size_t n_equivalent = 0;
    for (const auto& [name, maker] : subjects) {
        const Subject subject = {name, [maker = maker](Machine& m, const Kernel& k) {
                                     uint64_t out = 0;
                                     return maker(m, k, &out);
                                 }};
        REQUIRE_FALSE(is_noticed(ptx, subject));
        for (const Mutant& mutant : mutants_of(ptx, name)) {
            INFO(mutant.what);
            n_mutants += 1;
            const bool noticed = is_noticed(mutant.text, subject);
            if (!noticed && has(mutant.what, "mbarrier.arrive.shared")) {
                n_equivalent += 1;  // The arrival after the last tile: no one waits for it.
                continue;
            }
            CHECK(noticed);
        }
    }
    // After the first, wgmma.fence only repeats that nobody else has touched the registers; so one
    // alone is not missed, but all of them are.
    std::string unfenced = ptx;
    while (has(unfenced, "wgmma.fence")) {
        unfenced = without_line(unfenced, "wgmma.fence");
    }
    CHECK(is_noticed(unfenced, {"warp_specialised_gemm", [](Machine& m, const Kernel& k) {
                                    uint64_t out = 0;
                                    return gemm_request(m, k, &out);
                                }}));
    CHECK(n_mutants >= 25);
    CHECK(n_equivalent == 1);
}
