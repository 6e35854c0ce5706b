// Drops or weakens every barrier, wait, fence and member mask of the right kernels, one at a time.
// The checks must notice each, or the mutant is listed here with the reason why it is harmless.
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "unit/mutants.h"

using namespace virtual_gpu;

namespace {

uint64_t zeros(Machine& machine, size_t n) { return upload(machine, std::vector<uint32_t>(n, 0)); }

LaunchRequest with_shared(LaunchRequest request, uint32_t bytes) {
    request.dynamic_shared_bytes = bytes;
    return request;
}

LaunchRequest cooperative(LaunchRequest request) {
    request.is_cooperative = true;
    return request;
}

std::vector<Subject> subjects() {
    return {
        {"gemv",
         [](Machine& m, const Kernel& k) {
             Values v{1};
             return request_for(k, {2}, {128}, upload(m, v.bf16(8 * 256)), upload(m, v.bf16(256)),
                                m.memory().allocate(32), 8, 32);
         }},
        {"rms_norm",
         [](Machine& m, const Kernel& k) {
             Values v{2};
             return with_shared(
                 request_for(k, {2}, {256}, upload(m, v.f32(1000)), upload(m, v.f32(500)),
                             m.memory().allocate(2000), 500, 1e-6f),
                 2000);
         }},
        {"softmax",
         [](Machine& m, const Kernel& k) {
             Values v{3};
             return request_for(k, {2}, {128}, upload(m, v.f32(600)), 300);
         }},
        {"gemm",
         [](Machine& m, const Kernel& k) {
             Values v{4};
             return request_for(k, {1}, {128}, upload(m, v.bf16(64 * 128)),
                                upload(m, v.bf16(64 * 128)), m.memory().allocate(64 * 64 * 4), 64,
                                128);
         }},
        {"reduce_last_block",
         [](Machine& m, const Kernel& k) {
             Values v{5};
             return request_for(k, {3}, {256}, upload(m, v.f32(2000)), m.memory().allocate(12),
                                zeros(m, 1), m.memory().allocate(4), 2000);
         }},
        {"grid_barrier",
         [](Machine& m, const Kernel& k) {
             return cooperative(request_for(k, {8}, {64}, zeros(m, 1), m.memory().allocate(32),
                                            m.memory().allocate(32)));
         }},
        {"grid_write_after_read",
         [](Machine& m, const Kernel& k) {
             return cooperative(request_for(k, {8}, {64}, zeros(m, 1), zeros(m, 8)));
         }},
        {"histogram",
         [](Machine& m, const Kernel& k) {
             return request_for(k, {2}, {256}, zeros(m, 500), zeros(m, 16), 500);
         }},
    };
}

}  // namespace

// Breaks if a check has gone blind: comparing values alone misses most of these.
TEST_CASE("every mutant is noticed", "[mutant]") {
    for (const char* arch : {"80", "90a", "100a"}) {
        const std::string ptx =
            read_text(std::string(VIRTUAL_GPU_PTX_DIR "/right.") + arch + ".ptx");
        size_t n_mutants = 0;
        for (const Subject& subject : subjects()) {
            REQUIRE_FALSE(is_noticed(ptx, subject));
            for (const Mutant& mutant : mutants_of(ptx, subject.kernel)) {
                INFO(arch << " " << mutant.what);
                CHECK(is_noticed(mutant.text, subject));
                n_mutants += 1;
            }
        }
        CHECK(n_mutants >= 40);
    }
}
