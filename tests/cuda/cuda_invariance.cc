// If this fails, the bits of a row depend on something else than its own tokens: in deterministic
// mode neither chunks nor the batch nor the pages may show, and nowhere may the order in which the
// device runs warps and blocks.

#include "backend/backend.h"
#include "cuda/cuda_runner.h"
#include "cuda/virtual_driver.h"

using namespace cuda_test;

namespace {

BackendOptions deterministic() {
    BackendOptions options{};
    options.deterministic = 1;
    options.driver_folder = VirtualDriver::instance().folder();
    return options;
}

std::vector<int32_t> first_ids(const Expected& expected, size_t n) {
    std::vector<int32_t> ids = expected.ids("long_prompt");
    ids.resize(n);
    return ids;
}

}  // namespace

TEST_CASE("cuda: chunks and pages do not change a bit", "[cuda][deterministic]") {
    for (const char* name : {"v2-lite", "v3-f32", "v3-fp8"}) {
        const CleanDriver driver;
        CAPTURE(name);
        const Expected expected(name);
        const std::vector<int32_t> ids = first_ids(expected, 80);  // into the second page
        Runner runner(cuda_backend(), golden(name), deterministic());
        Rows wanted;
        // The page that a chunk lies in differs each time: pages come back in another order.
        for (const size_t chunk : {size_t{80}, size_t{1}, size_t{7}, size_t{64}}) {
            Sequence sequence;
            const Rows rows = runner.feed(sequence, ids, chunk);
            runner.give_back(sequence);
            CAPTURE(chunk);
            if (wanted.empty()) wanted = rows;
            CHECK(same_bits(rows, wanted));
        }
        driver.check_clean();
    }
}

TEST_CASE("cuda: other sequences in the batch do not change a bit", "[cuda][deterministic]") {
    for (const char* name : {"v2-lite", "v3-fp8"}) {
        const CleanDriver driver;
        const Expected expected(name);
        const std::vector<int32_t> noise = expected.ids("long_prompt");
        std::vector<int32_t> ours = expected.ids("prompt");
        Runner runner(cuda_backend(), golden(name), deterministic());
        Sequence alone;
        runner.feed(alone, ours, ours.size());
        const Rows wanted = runner.feed(alone, first_ids(expected, 4), 1);
        for (const size_t n_batch : {size_t{2}, size_t{3}, size_t{8}, size_t{16}}) {
            CAPTURE(name, n_batch);
            // Ours stands in the middle, and the first of the others is still being prefilled.
            std::vector<Sequence> sequences(n_batch);
            const size_t at = n_batch / 2;
            runner.feed(sequences[at], ours, ours.size());
            for (size_t step = 0; step < wanted.size(); ++step) {
                std::vector<Part> parts;
                size_t first_row = 0;
                for (size_t i = 0; i < n_batch; ++i) {
                    std::vector<int32_t> ids;
                    for (size_t row = 0; row < (i == 0 ? 1 + step : 1); ++row) {
                        ids.push_back(noise[(step * 5 + i * 7 + row) % noise.size()]);
                    }
                    if (i == at) ids = {first_ids(expected, 4)[step]};
                    if (i < at) first_row += ids.size();
                    parts.push_back({&sequences[i], ids});
                }
                const Rows rows = runner.step(parts);
                CHECK(same_bits({rows[first_row]}, {wanted[step]}));
            }
            for (const Sequence& sequence : sequences) runner.give_back(sequence);
        }
        driver.check_clean();
    }
}

TEST_CASE("cuda: the order of warps and blocks does not change a bit", "[cuda][seeds]") {
    const Expected expected("v3-bf16");
    const std::vector<int32_t> ids = first_ids(expected, 70);
    Rows wanted;
    // On chips between and after those that kernels are compiled for, those of an older one run.
    constexpr int kComputes[] = {80, 90, 86, 100, 90};
    for (int seed = 0; seed < 5; ++seed) {
        const CleanDriver driver(fathom::concat("compute=", kComputes[seed], ",seed=", seed));
        Runner runner(cuda_backend(), golden("v3-bf16"), deterministic());
        Sequence sequence;
        Rows rows = runner.feed(sequence, ids, 66);
        for (const auto& row : runner.feed(sequence, {3, 5}, 1)) rows.push_back(row);
        if (wanted.empty()) wanted = rows;
        CAPTURE(seed);
        CHECK(same_bits(rows, wanted));
        driver.check_clean();
    }
}

TEST_CASE("cuda: a long context is cut and merged as it is computed whole", "[cuda]") {
    // Fails when the parts of a context get lost or are merged wrongly: 1,100 tokens are 16 parts,
    // and a copied page must hold what the original does.
    const CleanDriver driver;
    const Expected expected("v2-lite-f32");
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < 1100; ++i) ids.push_back((i * 7 + i / 3) % 200 + 3);
    BackendOptions options = deterministic();
    Runner runner(cuda_backend(), golden("v2-lite-f32"), options);
    options = {};
    options.mla_form = fathom::MlaForm::kNaive;
    Runner cpu(*fathom::cpu_backend(), golden("v2-lite-f32"), options);
    Sequence ours, theirs;
    const Rows found = runner.feed(ours, ids, 150);
    const Rows wanted = cpu.feed(theirs, ids, 150);
    for (size_t row = 0; row < found.size(); row += 11) {
        const std::vector<double> values(wanted[row].begin(), wanted[row].end());
        CAPTURE(row);
        CHECK(relative_error(found[row], values.data()) < 1e-5);
    }
    Sequence fork = ours;
    const int32_t copy = runner.take_page();
    runner.copy_page(fork.pages.back(), copy, fork.length % fathom::kPageTokens);
    fork.pages.back() = copy;
    const Rows original = runner.feed(ours, {9, 8}, 1);
    CHECK(same_bits(runner.feed(fork, {9, 8}, 1), original));
    driver.check_clean();
}
