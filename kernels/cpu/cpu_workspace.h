#pragma once

#include <atomic>
#include <cstdint>

#include "backend/ops.h"
#include "base/checked.h"
#include "cpu/cpu_kernels.h"

// All memory that running a plan needs, laid out once. The same function counts the bytes for an
// estimate and hands out the pointers, so the two cannot disagree.
namespace fathom {

/// Rows that go through the absorbed attention together.
inline constexpr int64_t kAttentionRows = 64;

/// Tokens that one part of a split softmax covers. Fixed, as the parts round differently.
inline constexpr int64_t kSplitPages = 8;
inline constexpr int64_t kSplitTokens = kSplitPages * kPageTokens;

/// Query rows that meet a page of keys together in the naive attention.
inline constexpr int64_t kNaiveRows = 48;

/// Counts, or hands out, consecutive 64-byte aligned pieces. Saturates instead of wrapping.
class Arena {
public:
    explicit Arena(unsigned char* base) : base_(base) {}

    template <class T>
    T* take(int64_t count) {
        const uint64_t at = used_;
        uint64_t bytes = 0;
        if (count < 0 || __builtin_mul_overflow(static_cast<uint64_t>(count), sizeof(T), &bytes) ||
            bytes > kLimit || used_ > kLimit) {
            used_ = UINT64_MAX;
            return nullptr;
        }
        used_ = round_up(used_ + bytes, 64);
        return base_ != nullptr ? reinterpret_cast<T*>(base_ + at) : nullptr;
    }

    uint64_t used() const { return used_; }

private:
    static constexpr uint64_t kLimit = uint64_t{1} << 60;
    unsigned char* base_;
    uint64_t used_ = 0;
};

/// A thread's own scratch.
struct alignas(64) ThreadScratch {
    std::atomic<int64_t> next_unit;  // of its share of the units, see for_units
    int64_t end_unit;
    float* partial;       // [kLinearPartialFloats]
    float* wide;          // [kLinearWideFloats]
    float* route;         // [2, n_routed_experts]
    int32_t* chosen;      // [n_routed_experts]
    float* scores;        // [max(n_heads, kNaiveRows), 64]
    float* keep;          // [max(n_heads, kNaiveRows)]
    float* z;             // [n_heads, kv_lora_rank]: one part of a split softmax
    SoftmaxState* state;  // [max(n_heads, max_rows)]
    float* keys;          // [64, qk_nope + qk_rope], naive
    float* values;        // [64, v_head], naive
    float* latent;        // [64, kv_lora_rank], naive; one row when storing
    float* mixed;         // [max_rows, v_head], naive
};

struct Workspace {
    void** slots;           // [n_slots] -> [rows, width]
    const float** vectors;  // [n_weights] -> F32 copies of norm weights and router biases
    float* rope;            // [max_rows, qk_rope / 2, 2]: cos, sin
    int32_t* row_sequence;  // [max_rows]
    uint16_t* x_bf16;       // [max_rows, widest input]
    float* router_logits;   // [max_rows, n_routed_experts]

    int32_t* expert_begin;   // [n_routed_experts + 1] into the assignments
    int32_t* active;         // [n_routed_experts] experts that have rows
    int32_t* assigned_row;   // [max_rows * top_k] grouped by expert
    float* assigned_weight;  // the same
    float* routed_hidden;    // [max_rows * top_k, moe_intermediate]
    float* shared_hidden;    // [max_rows, max(shared, dense intermediate)]

    int32_t* absorbed_rows;    // [max_rows]
    int32_t* naive_sequences;  // [max_sequences]
    float* q_latent;           // [kAttentionRows, n_heads, kv_lora_rank + qk_rope]
    float* z;                  // [kAttentionRows, n_heads, kv_lora_rank]
    SoftmaxState* state;       // [kAttentionRows, n_heads]
    float* part_z;             // [n_parts, n_heads, kv_lora_rank]
    SoftmaxState* part_state;  // [n_parts, n_heads]
    int32_t* part_begin;       // [kAttentionRows + 1] first part of a row
    int32_t* unit_row;         // [kAttentionRows + n_parts]
    int64_t n_parts;

    ThreadScratch* threads;  // [n_threads]
    uint64_t bytes;
};

/// Lays the workspace out behind `base`; with null it only counts.
Workspace lay_out(const Plan& plan, const Limits& limits, int32_t n_threads, unsigned char* base);

/// Bytes of a latent row, of a layer, and of the whole KV cache. Saturates.
uint64_t kv_row_bytes(const Plan& plan, const Limits& limits);
uint64_t kv_layer_bytes(const Plan& plan, const Limits& limits);
uint64_t kv_cache_bytes(const Plan& plan, const Limits& limits);

}  // namespace fathom
