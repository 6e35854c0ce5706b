#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "cuda/cuda_device.h"
#include "cuda/cuda_workspace.h"

namespace fathom::cuda {

/// Kernels by operator, weight type and form, looked up once.
struct KernelTable {
    static constexpr int kTypes = 4;  // as DType counts
    CUfunction embed[3];
    CUfunction rms_norm;
    CUfunction gather;
    CUfunction mla_store;
    CUfunction attend;
    CUfunction route;
    CUfunction gate_route[3];             // one row; F32, F16, BF16
    CUfunction linear[kTypes][4];         // 1, 2, 4, 8 inputs
    CUfunction linear_narrow[kTypes][2];  // 1, 4 inputs
    CUfunction ffn_up[kTypes][2];         // 1, 4 inputs
    CUfunction ffn_down[kTypes][2];
    CUfunction ffn_narrow_up[kTypes][2];
    CUfunction ffn_narrow_down[kTypes][2];
    CUfunction linear_tensor[kTypes][3];  // 8, 16, 32 inputs; BF16 and FP8 only
    CUfunction ffn_tensor_up[kTypes];
    CUfunction ffn_tensor_down[kTypes];
};
uint32_t attend_shared_bytes(const ModelShape& shape, DType kv_dtype);
KernelTable find_kernels(const CudaDevice& device, const ModelShape& shape, DType kv_dtype);

/// A plan made ready to run on a device.
class CudaExecutor {
public:
    CudaExecutor(const CudaDevice& device, const Plan& plan, const Limits& limits);
    ~CudaExecutor();
    CudaExecutor(const CudaExecutor&) = delete;
    CudaExecutor& operator=(const CudaExecutor&) = delete;

    void run(const Batch& batch);
    const float* logits() const { return host_logits_; }
    void copy_page(int32_t from_page, int32_t to_page, int32_t n_tokens);
    const CudaDevice& device() const { return device_; }

private:
    /// What of a batch decides which kernels run, and how large they are.
    struct StepShape {
        int32_t n_rows;
        int32_t n_logit_rows;
        int32_t n_splits;  // most parts of a row's context
        bool operator==(const StepShape&) const = default;
    };
    struct StepGraph {
        StepShape shape;
        CUgraphExec exec;
        uint64_t last_used;
    };

    void upload_tables();
    StepShape fill_inputs(const Batch& batch);
    CUgraphExec graph_for(const StepShape& shape);
    CUgraph capture(const StepShape& shape);

    // One step's kernels, in the order of the plan.
    void enqueue(const StepShape& shape);
    int32_t enqueue_call(int32_t index);
    void embed(const OpCall& call);
    void rms_norm(const OpCall& call, int32_t n_rows);
    void gather(const OpCall& call);
    int32_t linear(int32_t index, int32_t n_rows);
    const OpCall* norm_after(int32_t index, int32_t n_rows) const;
    LastBlockNorm last_block(const OpCall& norm) const;
    RmsNormArgs norm_args(const OpCall& call) const;
    void mla_store(const OpCall& call);
    void mla_attention(const OpCall& call);
    void attend_group(const OpCall& call, int32_t first, int32_t n_rows);
    void moe_route(const OpCall& call);
    int32_t moe_ffn(int32_t index);
    int32_t dense_ffn(int32_t index);

    void launch_linear(LinearArgs args, DType dtype, bool exact = false);
    void launch_ffn_up(FfnUpArgs args, DType dtype);
    void launch_ffn_down(const FfnDownArgs& args, DType dtype);
    LinearPart plain_part(const OpCall& call) const;
    bool is_wide(int64_t cols, DType dtype) const;
    bool uses_tensor_cores(int32_t n_rows, DType dtype) const;
    static void set_blocks(LinearArgs& args, int32_t outputs);

    template <class Args, class... More>
    void launch(CUfunction function, std::array<uint32_t, 3> grid, uint32_t threads,
                uint32_t shared_bytes, const Args& args, const More&... more);

    template <class T = float>
    T* slot(int32_t index) const {
        return static_cast<T*>(space_.slots[static_cast<size_t>(index)]);
    }
    int64_t slot_width(int32_t index) const { return plan_.slots[index].width; }
    const Weight& weight(int32_t index) const { return plan_.weights[index]; }
    MatrixView view(int32_t index) const {
        return {plan_.weights[index].data, plan_.weights[index].scale};
    }
    void* kv_layer(int32_t layer) const {
        return reinterpret_cast<void*>(kv_.address() + static_cast<uint64_t>(layer) * layer_bytes_);
    }

    const CudaDevice& device_;
    const Plan& plan_;
    const ModelShape& shape_;
    Limits limits_;
    KernelTable kernels_;
    uint64_t layer_bytes_;
    CudaMemory memory_;
    CudaMemory kv_;
    CudaMemory host_;
    CudaWorkspace space_;
    int32_t* host_inputs_;
    float* host_logits_;
    std::vector<StepGraph> graphs_;
    uint64_t n_steps_ = 0;
    StepShape step_{};  // the one being enqueued
};

}  // namespace fathom::cuda
