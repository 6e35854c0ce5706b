#pragma once

#include <cstdint>
#include <vector>

#include "backend/ops.h"
#include "cuda/cuda_args.h"

namespace fathom::cuda {

/// Hands out consecutive places of one allocation; with base 0 it only counts. Sizes that no
/// machine has saturate.
class DeviceArena {
public:
    explicit DeviceArena(uint64_t base) : base_(base) {}

    template <class T>
    T* take(uint64_t a, uint64_t b = 1, uint64_t c = 1) {
        const uint64_t at = base_ + used_;
        add(product(product(a, b), product(c, sizeof(T))));
        return base_ == 0 ? nullptr : reinterpret_cast<T*>(at);
    }
    uint64_t used() const { return used_; }

private:
    static uint64_t product(uint64_t a, uint64_t b);
    void add(uint64_t bytes);

    uint64_t base_;
    uint64_t used_ = 0;
};

/// Everything that an executor keeps on the device beside weights and KV pages. Pointers are
/// addresses of the device.
struct CudaWorkspace {
    std::vector<void*> slots;
    MatrixView* matrices;  // [n_weights] the plan's weights, as experts are looked up
    double* rope_turns;
    float* rope;  // [max_rows, qk_rope]

    int32_t* inputs;  // token, position, page_begin, logit_row, pages, one behind the other
    StepInputs in;

    float* router_logits;
    GroupArgs group;  // without what changes from call to call
    float* routed_hidden;
    float* shared_hidden;

    float* q_latent;  // [attend_rows, n_heads, latent]
    float* z;         // the same
    float* part_z;    // [attend_rows, kMaxSplits, n_heads, latent]
    float* part_state;
    uint32_t* arrived;  // [attend_rows, head blocks]
    uint64_t arrived_bytes;
    uint32_t* finished;  // [1] blocks of a kernel that have finished

    int32_t attend_rows;   // rows whose attention runs at a time
    int32_t max_pages;     // room in `in.pages`
    uint64_t input_count;  // of 4-byte values before the pages
    uint64_t bytes;        // of the device
    uint64_t host_bytes;   // pinned: the same inputs, and the logits
};

CudaWorkspace lay_out(const Plan& plan, const Limits& limits, uint64_t base);

uint64_t kv_layer_bytes(const Plan& plan, const Limits& limits);
uint64_t kv_cache_bytes(const Plan& plan, const Limits& limits);

}  // namespace fathom::cuda
