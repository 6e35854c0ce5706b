#include "cpu/cpu_executor.h"

#include <cstring>

#include "base/status.h"
#include "cpu/row_blocks.h"

namespace fathom {
namespace {

static_assert(kPageRows == kPageTokens);

/// Norm weights and router biases as F32: small, and read in the middle of row-wise loops.
void widen_vectors(CpuExecutor& executor) {
    for (int32_t i = 0; i < executor.plan.n_weights; ++i) {
        const float* vector = executor.space.vectors[i];
        if (vector == nullptr) continue;
        const MatrixRows rows = matrix_of(executor.weight(i));
        executor.kernels.widen(&rows, 0, executor.weight(i).cols, const_cast<float*>(vector));
    }
}

void run_call(CpuExecutor& executor, const OpCall& call, int64_t n_rows) {
    switch (call.op) {
        case Op::kEmbed: return op_embed(executor, call, n_rows);
        case Op::kRmsNorm: return op_rms_norm(executor, call, n_rows);
        case Op::kLinear: return op_linear(executor, call, n_rows);
        case Op::kMlaStore: return op_mla_store(executor, call, n_rows);
        case Op::kMlaAttention: return op_mla_attention(executor, call, n_rows);
        case Op::kMoeRoute: return op_moe_route(executor, call, n_rows);
        case Op::kMoeFfn: return op_moe_ffn(executor, call, n_rows);
        case Op::kDenseFfn: return op_dense_ffn(executor, call, n_rows);
        case Op::kGatherRows: return op_gather_rows(executor, call, n_rows);
        case Op::kCount: return;
    }
}

}  // namespace

CpuDevice::CpuDevice(const CpuKernels& chosen, const BackendOptions& given, int32_t n_threads)
    : kernels(chosen), options(given), pool(n_threads) {
    options.n_threads = n_threads;
    description = concat("\"isa\":\"", kernels.name, "\",\"threads\":", pool.size());
}

CpuExecutor::CpuExecutor(CpuDevice& on, const Plan& of, const Limits& within)
    : device(on),
      kernels(on.kernels),
      plan(of),
      shape(of.shape),
      limits(within),
      layer_bytes(kv_layer_bytes(of, within)) {
    // The estimate counted the threads that were asked for; the pool may have got fewer.
    const int32_t n_threads = device.options.n_threads;
    workspace = MappedMemory(lay_out(plan, limits, n_threads, nullptr).bytes);
    kv = MappedMemory(kv_cache_bytes(plan, limits));
    space = lay_out(plan, limits, n_threads, workspace.data());
    widen_vectors(*this);
}

void CpuExecutor::run(const Batch& given) {
    check_batch(limits, shape.vocab_rows, given);
    batch = &given;
    for (int32_t s = 0; s < given.n_sequences; ++s) {
        const SequenceRows& sequence = given.sequences[s];
        for (int32_t i = 0; i < sequence.n_rows; ++i) {
            space.row_sequence[sequence.first_row + i] = s;
        }
    }
    prepare_rope(*this);
    for (int32_t i = 0; i < plan.n_calls; ++i) {
        const OpCall& call = plan.calls[i];
        const int64_t n_rows = call.rows_from_gather != 0 ? given.n_logit_rows : given.n_rows;
        if (n_rows > 0) run_call(*this, call, n_rows);
    }
}

void CpuExecutor::copy_page(int32_t from_page, int32_t to_page, int32_t n_tokens) {
    for (const int32_t page : {from_page, to_page}) {
        if (page < 0 || page >= limits.n_pages) {
            fail(Status::kInvalidArgument, "copy_page: page ", page, ", the cache has ",
                 limits.n_pages, " pages");
        }
    }
    if (n_tokens < 0 || n_tokens > kPageTokens) {
        fail(Status::kInvalidArgument, "copy_page: ", n_tokens, " tokens, a page holds ",
             kPageTokens);
    }
    const uint64_t row_bytes = kv_row_bytes(plan, limits);
    const uint64_t page_bytes = row_bytes * kPageTokens;
    for (int32_t layer = 0; layer < shape.n_layers; ++layer) {
        unsigned char* base = kv_layer(layer);
        std::memmove(base + static_cast<uint64_t>(to_page) * page_bytes,
                     base + static_cast<uint64_t>(from_page) * page_bytes,
                     static_cast<uint64_t>(n_tokens) * row_bytes);
    }
}

}  // namespace fathom
