// What lanes do together: shuffles, votes, matches, reductions, block-wide reductions, jump tables,
// atomics, and the zero-filling form of cp.async.
#include <bit>
#include <catch2/catch_test_macros.hpp>
#include <functional>

#include "unit/one_instruction.h"

using namespace virtual_gpu;

namespace {

// 128 threads; 'wanted' gives the result of a lane from the 32 values of its warp.
void check_lanes(const char* body,
                 const std::function<uint32_t(const uint32_t* warp, int lane)>& wanted) {
    Values values{11};
    std::vector<uint64_t> a(128);
    for (uint64_t& value : a) {
        value = values.next() % 7;
    }
    const auto found = run_instruction(body, "b32", "b32", {a});
    for (int warp = 0; warp < 4; warp++) {
        uint32_t lanes[32];
        for (int lane = 0; lane < 32; lane++) {
            lanes[lane] = static_cast<uint32_t>(a[warp * 32 + lane]);
        }
        for (int lane = 0; lane < 32; lane++) {
            INFO(body << " lane " << lane);
            REQUIRE(static_cast<uint32_t>(found[warp * 32 + lane]) == wanted(lanes, lane));
        }
    }
}

uint32_t ballot(const uint32_t* warp, const std::function<bool(uint32_t)>& holds) {
    uint32_t bits = 0;
    for (int lane = 0; lane < 32; lane++) {
        bits |= static_cast<uint32_t>(holds(warp[lane])) << lane;
    }
    return bits;
}

}  // namespace

// Breaks if a shuffle reads the wrong lane, or its predicate says the wrong thing.
TEST_CASE("shuffles", "[instruction]") {
    check_lanes("shfl.sync.bfly.b32 %d, %a, 5, 31, -1;",
                [](const uint32_t* w, int l) { return w[l ^ 5]; });
    check_lanes("shfl.sync.up.b32 %d, %a, 3, 0, -1;",
                [](const uint32_t* w, int l) { return w[l >= 3 ? l - 3 : l]; });
    check_lanes("shfl.sync.down.b32 %d, %a, 3, 31, -1;",
                [](const uint32_t* w, int l) { return w[l + 3 < 32 ? l + 3 : l]; });
    check_lanes("shfl.sync.idx.b32 %d, %a, 9, 31, -1;",
                [](const uint32_t* w, int) { return w[9]; });
    // Segments of 8 lanes: c = (32 - 8) << 8 | 31 for idx, bfly and down, | 0 for up.
    check_lanes("shfl.sync.idx.b32 %d, %a, 3, 6175, -1;",
                [](const uint32_t* w, int l) { return w[(l & ~7) + 3]; });
    check_lanes("shfl.sync.down.b32 %d, %a, 2, 6175, -1;",
                [](const uint32_t* w, int l) { return w[l % 8 + 2 < 8 ? l + 2 : l]; });
    check_lanes("shfl.sync.up.b32 %d, %a, 2, 6144, -1;",
                [](const uint32_t* w, int l) { return w[l % 8 >= 2 ? l - 2 : l]; });
    check_lanes("shfl.sync.down.b32 %r3|%p, %a, 3, 31, -1; selp.b32 %d, 1, 0, %p;",
                [](const uint32_t*, int l) { return uint32_t{l + 3 < 32}; });
}

// Breaks if a vote counts lanes wrongly.
TEST_CASE("votes, matches and reductions of a warp", "[instruction]") {
    const auto small = [](uint32_t value) { return value < 3; };
    check_lanes("setp.lt.u32 %p, %a, 3; vote.sync.ballot.b32 %d, %p, -1;",
                [&](const uint32_t* w, int) { return ballot(w, small); });
    check_lanes("setp.lt.u32 %p, %a, 3; vote.sync.any.pred %p, !%p, -1; selp.b32 %d, 1, 0, %p;",
                [&](const uint32_t* w, int) { return uint32_t{ballot(w, small) != ~0u}; });
    check_lanes("setp.lt.u32 %p, %a, 7; vote.sync.all.pred %p, %p, -1; selp.b32 %d, 1, 0, %p;",
                [](const uint32_t*, int) { return 1u; });
    check_lanes("match.any.sync.b32 %d, %a, -1;", [](const uint32_t* w, int l) {
        return ballot(w, [&](uint32_t value) { return value == w[l]; });
    });
    check_lanes("redux.sync.add.u32 %d, %a, -1;", [](const uint32_t* w, int) {
        uint32_t sum = 0;
        for (int lane = 0; lane < 32; lane++) {
            sum += w[lane];
        }
        return sum;
    });
    check_lanes("sub.s32 %b, %a, 3; redux.sync.min.s32 %d, %b, -1;", [](const uint32_t* w, int) {
        int least = 100;
        for (int lane = 0; lane < 32; lane++) {
            least = std::min(least, static_cast<int>(w[lane]) - 3);
        }
        return static_cast<uint32_t>(least);
    });
    check_lanes("activemask.b32 %d;", [](const uint32_t*, int) { return ~0u; });
}

// Breaks if bar.red does not see every thread of the block.
TEST_CASE("block-wide reductions", "[instruction]") {
    std::vector<uint64_t> a(128, 0);
    a[5] = a[40] = a[127] = 1;
    const auto count =
        run_instruction("setp.ne.u32 %p, %a, 0; bar.red.popc.u32 %d, 0, %p;", "b32", "b32", {a});
    const auto any =
        run_instruction("setp.ne.u32 %p, %a, 0; bar.red.or.pred %p, 0, %p; selp.b32 %d, 1, 0, %p;",
                        "b32", "b32", {a});
    const auto all = run_instruction(
        "setp.ne.u32 %p, %a, 0; bar.red.and.pred %p, 0, !%p; selp.b32 %d, 1, 0, %p;", "b32", "b32",
        {a});
    for (size_t i = 0; i < a.size(); i++) {
        CHECK(static_cast<uint32_t>(count[i]) == 3);
        CHECK(static_cast<uint32_t>(any[i]) == 1);
        CHECK(static_cast<uint32_t>(all[i]) == 0);
    }
}

// Breaks if lanes of one warp that jump to different entries are lost.
TEST_CASE("jump tables", "[instruction]") {
    check_lanes(
        "{ .reg .u32 i; rem.u32 i, %a, 3;\n"
        "TABLE: .branchtargets ONE, TWO, THREE;\n"
        "brx.idx i, TABLE;\n"
        "ONE: mov.u32 %d, 10; bra DONE;\n"
        "TWO: mov.u32 %d, 20; bra DONE;\n"
        "THREE: mov.u32 %d, 30;\n"
        "DONE: }",
        [](const uint32_t* w, int l) { return 10 + w[l] % 3 * 10; });
}

// Breaks if an atomic operation computes something else, or returns the new value for the old.
TEST_CASE("atomic operations", "[instruction]") {
    struct Row {
        const char* operation;
        uint32_t operand;
        uint32_t start;
        uint32_t end;  // After 128 threads.
    };
    const Row rows[] = {{"add.u32", 3, 5, 5 + 128 * 3},
                        {"max.s32", 7, 0xfffffff0, 7},
                        {"min.u32", 7, 9, 7},
                        {"or.b32", 12, 3, 15},
                        {"and.b32", 12, 7, 4},
                        {"exch.b32", 99, 1, 99},
                        {"inc.u32", 99, 0, 28},
                        {"dec.u32", 99, 0, 72},
                        {"add.f32", 0x3f800000, 0, 0x43000000}};  // 128 times 1.0
    for (const Row& row : rows) {
        INFO(row.operation);
        const std::string start = std::to_string(row.start);
        const auto found =
            run_instruction("{ .shared .align 4 .b32 cell; mov.u32 %r3, " + start +
                                "; setp.eq.u32 %p, %r1, 0; @%p st.shared.u32 [cell], %r3;" +
                                "bar.sync 0; atom.shared." + row.operation +
                                " %r3, [cell], %a; bar.sync 0; " + "ld.shared.u32 %d, [cell]; }",
                            "b32", "b32", {std::vector<uint64_t>(128, row.operand)});
        for (const uint64_t value : found) {
            REQUIRE(static_cast<uint32_t>(value) == row.end);
        }
    }
    const auto olds = run_instruction(
        "{ .shared .align 4 .b32 cell; mov.u32 %r3, 40; setp.eq.u32 %p, %r1, 0;"
        "@%p st.shared.u32 [cell], %r3; bar.sync 0;"
        "atom.shared.cas.b32 %d, [cell], 40, 50; }",
        "b32", "b32", {std::vector<uint64_t>(128, 0)});
    int first = 0;
    for (const uint64_t value : olds) {
        first += static_cast<uint32_t>(value) == 40;
        CHECK((static_cast<uint32_t>(value) == 40 || static_cast<uint32_t>(value) == 50));
    }
    CHECK(first == 1);
}

// Breaks if cp.async copies more than it was told to, or leaves the rest as it was.
TEST_CASE("cp.async fills the rest with zeros", "[instruction]") {
    std::vector<uint64_t> sizes(128);
    for (size_t i = 0; i < sizes.size(); i++) {
        sizes[i] = i % 17;
    }
    // Reads the second half of what it copied from the parameter array itself.
    const auto found = run_instruction(
        "{ .shared .align 16 .b8 tile[2048]; .reg .b32 at; .reg .b64 from;\n"
        "mov.u32 at, tile; mad.lo.u32 at, %r1, 16, at; ld.param.u64 from, [k_2];\n"
        "cp.async.ca.shared.global [at], [from], 16, %a; cp.async.wait_all;\n"
        "ld.shared.u32 %d, [at+8]; }",
        "b32", "b32", {sizes, std::vector<uint64_t>(128, 0x0807060504030201ull)});
    for (size_t i = 0; i < sizes.size(); i++) {
        uint32_t wanted = 0;
        for (uint64_t byte = 8; byte < std::min<uint64_t>(12, sizes[i]); byte++) {
            wanted |= static_cast<uint32_t>(byte - 7) << (8 * (byte - 8));
        }
        REQUIRE(static_cast<uint32_t>(found[i]) == wanted);
    }
}
