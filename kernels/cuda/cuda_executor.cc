#include "cuda/cuda_executor.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "cpu/cpu_check.h"

namespace fathom::cuda {
namespace {

/// Steps of at most this many rows run as a graph: more take longer than their launches do.
constexpr int32_t kGraphRows = 256;

/// Graphs kept; the one unused for longest makes room.
constexpr size_t kMostGraphs = 64;

/// What check_plan() allows and these kernels do not have.
void check_supported(const Plan& plan, const Limits& limits) {
    const ModelShape& s = plan.shape;
    const auto most = [](const char* what, int64_t found, int64_t wanted) {
        if (found > wanted) {
            fail(Status::kUnsupported, "cuda backend: ", what, " ", found, ", at most ", wanted);
        }
    };
    most("kv_lora_rank", s.kv_lora_rank, 512);
    most("qk_rope_head_dim", s.qk_rope, 64);
    most("routed experts", s.n_routed_experts, kMaxExperts);
    most("experts a token", s.n_routed_experts > 0 ? s.top_k : 0, kMaxTopK);
    most("expert groups", s.n_routed_experts > 0 ? s.n_group : 0, kMaxGroups);
    most("rows of a batch", limits.max_rows, 65535);
    if (s.kv_lora_rank % 2 != 0 || s.qk_nope % 2 != 0 || s.v_head % 2 != 0) {
        fail(Status::kUnsupported, "cuda backend: kv_lora_rank ", s.kv_lora_rank,
             ", qk_nope_head_dim ", s.qk_nope, " and v_head_dim ", s.v_head,
             ", wanted even numbers");
    }
    for (int32_t i = 0; i < plan.n_calls; ++i) {
        const OpCall& call = plan.calls[i];
        const bool is_norm = call.op == Op::kRmsNorm || call.op == Op::kMlaStore;
        const int32_t vector = is_norm ? call.w[0] : call.op == Op::kMoeRoute ? call.w[1] : -1;
        if (vector >= 0 && plan.weights[vector].dtype != DType::kF32) {
            fail(Status::kUnsupported, "cuda backend: norm weight or router bias of type ",
                 dtype_name(plan.weights[vector].dtype), ", wanted F32");
        }
        if (call.op == Op::kEmbed && plan.weights[call.w[0]].dtype == DType::kF8E4M3) {
            fail(Status::kUnsupported, "cuda backend: an embedding of type F8_E4M3");
        }
    }
}

}  // namespace

CudaExecutor::CudaExecutor(const CudaDevice& device, const Plan& plan, const Limits& limits)
    : device_(device), plan_(plan), shape_(plan.shape), limits_(limits) {
    check_supported(plan, limits);
    kernels_ = find_kernels(device, shape_, limits.kv_dtype);
    layer_bytes_ = kv_layer_bytes(plan, limits);
    const CudaWorkspace need = lay_out(plan, limits, 0);
    memory_ = CudaMemory(device, need.bytes, false);
    kv_ = CudaMemory(device, kv_cache_bytes(plan, limits), false);
    host_ = CudaMemory(device, need.host_bytes, true);
    space_ = lay_out(plan, limits, memory_.address());
    host_inputs_ = reinterpret_cast<int32_t*>(host_.host());
    const uint64_t input_bytes =
        (space_.input_count + static_cast<uint64_t>(space_.max_pages)) * sizeof(int32_t);
    host_logits_ = reinterpret_cast<float*>(host_.host() + round_up(input_bytes, 256));
    std::memset(host_inputs_, 0, input_bytes);
    graphs_.reserve(kMostGraphs);
    upload_tables();
}

CudaExecutor::~CudaExecutor() {
    device_.api().cuStreamSynchronize(device_.stream());
    for (const StepGraph& graph : graphs_) device_.api().cuGraphExecDestroy(graph.exec);
}

CudaExecutor::StepShape CudaExecutor::fill_inputs(const Batch& batch) {
    const auto max_rows = static_cast<size_t>(limits_.max_rows);
    int32_t* token = host_inputs_;
    int32_t* position = token + max_rows;
    int32_t* page_begin = position + max_rows;
    int32_t* logit_row = page_begin + max_rows;
    int32_t* pages = host_inputs_ + space_.input_count;
    const auto n_rows = static_cast<size_t>(batch.n_rows);
    std::memcpy(token, batch.token, n_rows * sizeof(int32_t));
    std::memcpy(position, batch.position, n_rows * sizeof(int32_t));
    if (batch.n_logit_rows > 0) {
        std::memcpy(logit_row, batch.logit_row,
                    static_cast<size_t>(batch.n_logit_rows) * sizeof(int32_t));
    }
    int32_t n_pages = 0;
    int32_t longest = 0;
    for (int32_t s = 0; s < batch.n_sequences; ++s) {
        const SequenceRows& sequence = batch.sequences[s];
        const int32_t last = batch.position[sequence.first_row + sequence.n_rows - 1];
        const int32_t needed = last / kPageTokens + 1;
        if (needed > space_.max_pages - n_pages) {
            fail(Status::kUnsupported, "cuda backend: the sequences of a batch have more than ",
                 space_.max_pages, " pages together");
        }
        std::fill_n(page_begin + sequence.first_row, sequence.n_rows, n_pages);
        std::memcpy(pages + n_pages, sequence.pages, static_cast<size_t>(needed) * sizeof(int32_t));
        n_pages += needed;
        longest = std::max(longest, last + 1);
    }
    const uint64_t bytes = (space_.input_count + static_cast<uint64_t>(n_pages)) * sizeof(int32_t);
    device_.check(device_.api().cuMemcpyHtoDAsync(reinterpret_cast<CUdeviceptr>(space_.inputs),
                                                  host_inputs_, bytes, device_.stream()),
                  "cuMemcpyHtoDAsync");
    // Shorter rows have fewer parts than the longest: with n tokens a part each begins a new one.
    const int32_t n_splits = longest > kMaxSplits * kMinSplitTokens
                                 ? kMaxSplits
                                 : static_cast<int32_t>(ceil_div(longest, kMinSplitTokens));
    return {batch.n_rows, batch.n_logit_rows, n_splits};
}

void CudaExecutor::run(const Batch& batch) {
    check_batch(limits_, shape_.vocab_rows, batch);
    const CudaApi& api = device_.api();
    ++n_steps_;
    const StepShape shape = fill_inputs(batch);
    if (shape.n_rows <= kGraphRows && shape.n_rows == batch.n_sequences) {
        device_.check(api.cuGraphLaunch(graph_for(shape), device_.stream()), "cuGraphLaunch");
    } else {
        enqueue(shape);
    }
    const uint64_t bytes = static_cast<uint64_t>(batch.n_logit_rows) *
                           static_cast<uint64_t>(shape_.vocab_rows) * sizeof(float);
    if (bytes > 0) {
        const auto from = reinterpret_cast<CUdeviceptr>(slot(plan_.logits_slot));
        device_.check(api.cuMemcpyDtoHAsync(host_logits_, from, bytes, device_.stream()),
                      "cuMemcpyDtoHAsync");
    }
    device_.check(api.cuStreamSynchronize(device_.stream()), "cuStreamSynchronize");
}

CUgraphExec CudaExecutor::graph_for(const StepShape& shape) {
    for (StepGraph& graph : graphs_) {
        if (graph.shape != shape) continue;
        graph.last_used = n_steps_;
        return graph.exec;
    }
    const CudaApi& api = device_.api();
    const CUgraph graph = capture(shape);
    CUgraphExec exec = nullptr;
    const CUresult result = api.cuGraphInstantiateWithFlags(&exec, graph, 0);
    api.cuGraphDestroy(graph);
    device_.check(result, "cuGraphInstantiate");
    if (graphs_.size() < kMostGraphs) {
        graphs_.push_back({shape, exec, n_steps_});
    } else {
        StepGraph& oldest = *std::ranges::min_element(graphs_, {}, &StepGraph::last_used);
        api.cuGraphExecDestroy(oldest.exec);
        oldest = {shape, exec, n_steps_};
    }
    return exec;
}

CUgraph CudaExecutor::capture(const StepShape& shape) {
    const CudaApi& api = device_.api();
    CUgraph graph = nullptr;
    device_.check(api.cuStreamBeginCapture(device_.stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                  "cuStreamBeginCapture");
    try {
        enqueue(shape);
    } catch (...) {
        // The stream must leave capture, or every later call on it fails.
        if (api.cuStreamEndCapture(device_.stream(), &graph) == CUDA_SUCCESS) {
            api.cuGraphDestroy(graph);
        }
        throw;
    }
    device_.check(api.cuStreamEndCapture(device_.stream(), &graph), "cuStreamEndCapture");
    return graph;
}

void CudaExecutor::copy_page(int32_t from_page, int32_t to_page, int32_t n_tokens) {
    for (const int32_t page : {from_page, to_page}) {
        if (page < 0 || page >= limits_.n_pages) {
            fail(Status::kInvalidArgument, "copy_page: page ", page, ", the cache has ",
                 limits_.n_pages, " pages");
        }
    }
    if (n_tokens < 0 || n_tokens > kPageTokens) {
        fail(Status::kInvalidArgument, "copy_page: ", n_tokens, " tokens, a page holds ",
             kPageTokens);
    }
    if (n_tokens == 0 || from_page == to_page) return;
    const uint64_t page_bytes = layer_bytes_ / static_cast<uint64_t>(limits_.n_pages);
    const uint64_t bytes = page_bytes / kPageTokens * static_cast<uint64_t>(n_tokens);
    for (int32_t layer = 0; layer < shape_.n_layers; ++layer) {
        const auto base = reinterpret_cast<CUdeviceptr>(kv_layer(layer));
        device_.check(
            device_.api().cuMemcpyDtoDAsync(base + static_cast<uint64_t>(to_page) * page_bytes,
                                            base + static_cast<uint64_t>(from_page) * page_bytes,
                                            bytes, device_.stream()),
            "cuMemcpyDtoDAsync");
    }
    device_.check(device_.api().cuStreamSynchronize(device_.stream()), "cuStreamSynchronize");
}

}  // namespace fathom::cuda
