// If this fails, fathom_model_estimate promises a host another amount of memory than loading takes.
#include <cstdlib>
#include <fstream>
#include <memory>

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "backend/backend.h"
#include "model/estimate.h"
#include "model/model.h"
#include "unit/model_checkpoint.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// About 50 MB in BF16, nearly all of it experts and head.
const char kFiftyMegabytes[] = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
  "first_k_dense_replace": 1, "hidden_size": 512, "intermediate_size": 1024, "kv_lora_rank": 128,
  "max_position_embeddings": 4096, "moe_intermediate_size": 256, "n_group": 4,
  "n_routed_experts": 16, "n_shared_experts": 1, "num_attention_heads": 8,
  "num_experts_per_tok": 4, "num_hidden_layers": 4, "q_lora_rank": 192, "qk_nope_head_dim": 64,
  "qk_rope_head_dim": 32, "topk_group": 2, "v_head_dim": 64, "vocab_size": 2048})";

uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    uint64_t size = 0, resident = 0;
    statm >> size >> resident;
    return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

struct Device {
    explicit Device(const BackendOptions& options) {
        BackendError error{};
        REQUIRE(cpu_backend()->open(&options, &handle, &error) == 0);
    }
    ~Device() { cpu_backend()->close(handle); }
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    void* handle = nullptr;
};

/// Runs steps until every page has been written, as a long conversation would.
void fill_cache(void* executor, const Limits& limits) {
    std::vector<int32_t> pages, tokens, positions, logit_rows;
    for (int32_t page = 0; page < limits.n_pages; ++page) pages.push_back(page);
    for (int32_t row = 0; row < limits.max_rows; ++row) {
        tokens.push_back(row * 7 % 2048);
        positions.push_back(row);
        if (row < limits.max_logit_rows) logit_rows.push_back(row);
    }
    SequenceRows sequence{0, limits.max_rows, pages.data(), limits.n_pages, 0};
    const Batch batch{limits.max_rows, 1, limits.max_logit_rows, 0, tokens.data(),
                      positions.data(), &sequence, logit_rows.data()};
    for (int32_t first = 0; first < limits.n_pages * kPageTokens; first += limits.max_rows) {
        for (int32_t row = 0; row < limits.max_rows; ++row) {
            positions[static_cast<size_t>(row)] = first + row;
        }
        BackendError error{};
        REQUIRE(cpu_backend()->run(executor, &batch, &error) == 0);
    }
}

}  // namespace

TEST_CASE("estimate within 2 percent of what a model takes") {
    TemporaryFolder folder;
    TestCheckpoint(kFiftyMegabytes, "BF16").write(folder);
    const BackendTable& table = *cpu_backend();
    for (const bool deterministic : {false, true}) {
        const BackendOptions options{2, deterministic ? 1 : 0, CpuIsa::kAuto, MlaForm::kAuto};
        const Device device(options);
        const Checkpoint checkpoint(folder.path());
        const ModelConfig config = read_model_config(checkpoint.config());
        const Limits limits{256, 64, 8, 4, DType::kBF16};
        const ModelEstimate estimate =
            estimate_model(table, options, checkpoint, config, limits);
        CHECK(estimate.file_bytes == checkpoint.tensor_bytes());
        CHECK(estimate.kv_bytes >= estimate.kv_bytes_per_token * 4 * 64);

        const uint64_t before = resident_bytes();
        const std::unique_ptr<Model> model =
            Model::load(table, device.handle, checkpoint, config, {});
        CHECK(model->weight_bytes() == estimate.weight_bytes);
        void* executor = nullptr;
        BackendError error{};
        REQUIRE(table.prepare(device.handle, &model->plan(), &limits, &executor, &error) == 0);
        fill_cache(executor, limits);
        const double taken = static_cast<double>(resident_bytes() - before);
        table.release(executor);

        const double promised = static_cast<double>(estimate.weight_bytes +
                                                    estimate.workspace_bytes + estimate.kv_bytes);
        CAPTURE(deterministic, taken, promised, estimate.weight_bytes, estimate.workspace_bytes,
                estimate.kv_bytes);
#ifndef __SANITIZE_ADDRESS__  // its shadow memory is resident, too
        CHECK(taken < 1.02 * promised);
        CHECK(taken > 0.98 * promised);
#endif
    }
}
