#pragma once

#include <cstdint>

#include "base/tensor.h"

// The operator table: everything that crosses from the engine to a backend, as plain structs and
// status codes, because a backend may live in a plugin with its own C++ runtime. The model is a
// flat array of operator calls built once at load (model/deepseek.cc); a step is one call of
// `run` with a Batch, and the Batch is all that changes from step to step.
namespace fathom {

/// Tokens in one KV page. A page holds one latent row of kv_lora_rank + qk_rope_head_dim values
/// for each token and layer.
inline constexpr int32_t kPageTokens = 64;

/// Operators. Every activation is F32 [n_rows, width] unless it says otherwise; `w` are weights.
enum class Op : int32_t {
    /// out0[r] = w0[token[r]].
    kEmbed = 0,

    /// in0 += in1 (where in1 >= 0); out0 = w0 * in0 / sqrt(mean(in0^2) + epsilon).
    kRmsNorm,

    /// out0 = in0 w0^T.
    kLinear,

    /// For each row: latent c = rms_norm(in1[0 : kv_lora_rank], w0, epsilon) and the rope key
    /// in1[kv_lora_rank :] rotated by the row's position go to the row's place in its KV page;
    /// the last qk_rope_head_dim values of every head of in0 (queries
    /// [n_rows, n_heads, qk_nope + qk_rope]) are rotated in place. Pairs are interleaved: 2i, 2i+1.
    kMlaStore,

    /// Causal attention of in0 (queries, already rotated) over the KV pages of the row's sequence,
    /// positions 0 to its own. w0 = kv_b_proj as stored
    /// [n_heads * (qk_nope + v_head), kv_lora_rank], w1 = its key part transposed per head
    /// [n_heads * kv_lora_rank, qk_nope]. out0 [n_rows, n_heads * v_head_dim].
    /// The backend chooses the naive or the absorbed form; deterministic mode is absorbed only.
    kMlaAttention,

    /// Router. in0 hidden, w0 gate [n_routed_experts, hidden], w1 e_score_correction_bias
    /// [1, n_routed_experts] or none. out0 = ids as I32 [n_rows, top_k], out1 = weights
    /// [n_rows, top_k], normalised and scaled as the architecture says.
    kMoeRoute,

    /// out0 = sum_k in2[r, k] * swiglu_ffn(in0[r]; expert in1[r, k]) + swiglu_ffn(in0[r]; shared).
    /// w0 = first of n_routed_experts consecutive gate_proj, w1 = first up_proj, w2 = first
    /// down_proj, w3 = first of the three shared weights (gate, up, down) or none.
    kMoeFfn,

    /// out0 = swiglu_ffn(in0): (silu(in0 w0^T) * (in0 w1^T)) w2^T.
    kDenseFfn,

    /// out0[i] = in0[logit_row[i]], for the rows whose logits are wanted. The operators after it
    /// work on n_logit_rows rows.
    kGatherRows,

    kCount,
};

/// One call. Slots and weights are indices into the plan's arrays; -1 means none.
struct OpCall {
    Op op;
    int32_t layer;
    int32_t in[3];
    int32_t out[2];
    int32_t w[4];
    float epsilon;     // kRmsNorm, kMlaStore
    int32_t rows_from_gather;  // 1 after kGatherRows: the call runs over n_logit_rows rows
};

enum class SlotType : int32_t { kF32 = 0, kI32 = 1 };

/// An activation buffer: [max_rows, width], or [max_logit_rows, width] where `gathered`.
struct SlotInfo {
    int64_t width;
    SlotType type;
    int32_t gathered;
};

enum class Scoring : int32_t { kSoftmax = 0, kSigmoid = 1 };

/// Sum of what the operators need to know of the architecture.
struct ModelShape {
    int32_t n_layers;
    int32_t hidden;
    int32_t vocab_rows;  // rows of embedding and head; ids above the tokenizer's last are padding

    int32_t n_heads;
    int32_t qk_nope;
    int32_t qk_rope;
    int32_t v_head;
    int32_t kv_lora_rank;
    float softmax_scale;        // (qk_nope + qk_rope)^-0.5 * mscale^2
    float rope_magnitude;       // multiplies cos and sin; 1 for every released model
    const double* rope_inverse_frequency;  // [qk_rope / 2], YaRN already applied

    int32_t n_routed_experts;   // 0 in a model without experts
    int32_t top_k;
    int32_t n_group;            // 1: no group limiting
    int32_t topk_group;
    Scoring scoring;
    int32_t group_score_top2;   // 1: sum of the two best (noaux_tc); 0: maximum (V2)
    int32_t norm_topk_prob;
    int32_t scale_when_normalised;  // 1: V3 normalises and scales; 0: V2 does one or the other
    float routed_scaling_factor;
    int32_t moe_intermediate;
    int32_t shared_intermediate;  // n_shared_experts * moe_intermediate; 0: none
    int32_t dense_intermediate;
};

struct Plan {
    ModelShape shape;
    const OpCall* calls;
    int32_t n_calls;
    const SlotInfo* slots;
    int32_t n_slots;
    const Weight* weights;  // `data` and `scale` in memory from the backend's `alloc`
    int32_t n_weights;
    int32_t logits_slot;    // [max_logit_rows, vocab_rows]
};

/// What one executor has to be ready for; all memory is taken at `prepare`.
struct Limits {
    int32_t max_rows;
    int32_t max_logit_rows;
    int32_t max_sequences;
    int32_t n_pages;
    DType kv_dtype;  // kF32 or kBF16
};

/// The rows of one sequence in a batch: contiguous rows with consecutive positions, so that the
/// last row's position + 1 is the length of the sequence after the step.
struct SequenceRows {
    int32_t first_row;
    int32_t n_rows;
    const int32_t* pages;  // page of tokens 0 to 63, of 64 to 127, ...
    int32_t n_pages;
    int32_t padding;
};

struct Batch {
    int32_t n_rows;
    int32_t n_sequences;
    int32_t n_logit_rows;
    int32_t padding;
    const int32_t* token;      // [n_rows]
    const int32_t* position;   // [n_rows]
    const SequenceRows* sequences;  // [n_sequences], covering every row once, in order
    const int32_t* logit_row;  // [n_logit_rows], rows whose logits are wanted
};

/// Instruction set of the CPU backend. kAuto picks the best that the processor has.
enum class CpuIsa : int32_t { kAuto = 0, kScalar = 1, kAvx2 = 2, kAvx512 = 3, kAvx512Bf16 = 4 };

/// Which form kMlaAttention computes; kAuto is the measured crossover. Tests force the others.
enum class MlaForm : int32_t { kAuto = 0, kNaive = 1, kAbsorbed = 2 };

struct BackendOptions {
    int32_t n_threads;      // 0: all usable processors
    int32_t deterministic;  // same bits for a row whatever else is in the batch, any thread count
    CpuIsa isa;
    MlaForm mla_form;
    int32_t device_index;       // of several devices of one kind
    const char* driver_folder;  // where the driver's library lies; null: the system's. Used by open
};

/// Filled by a call that fails: a sentence that names what, found and wanted.
struct BackendError {
    char text[512];
};

/// A backend. Calls return a Status value (base/status.h); none throws. A device may be used by
/// one thread at a time, except alloc, free and upload.
struct BackendTable {
    const char* name;

    /// A device: its threads or its context.
    int32_t (*open)(const BackendOptions* options, void** device, BackendError* error);
    void (*close)(void* device);

    /// One line of JSON without braces about what was chosen, e.g. "isa":"avx512_bf16","threads":2.
    const char* (*describe)(void* device);

    /// Memory for weights, 64-byte aligned. Where `host_memory` is 1 the caller may write to it
    /// directly instead of calling `upload`.
    int32_t host_memory;
    int32_t (*alloc)(void* device, uint64_t bytes, void** memory, BackendError* error);
    void (*free)(void* device, void* memory, uint64_t bytes);
    int32_t (*upload)(void* device, void* to, const void* from, uint64_t bytes,
                      BackendError* error);

    /// Bytes that `prepare` will take: activations and scratch, and the KV pages.
    void (*memory_need)(const Plan* plan, const Limits* limits, const BackendOptions* options,
                        uint64_t* workspace_bytes, uint64_t* kv_bytes);

    /// Everything needed to run the plan. The plan and its weights outlive the executor.
    int32_t (*prepare)(void* device, const Plan* plan, const Limits* limits, void** executor,
                       BackendError* error);
    void (*release)(void* executor);

    /// Runs the whole plan over the batch; returns when the logits are ready. Allocates nothing.
    int32_t (*run)(void* executor, const Batch* batch, BackendError* error);

    /// Logits of the last run, [n_logit_rows, vocab_rows] F32 in host memory.
    const float* (*logits)(void* executor);

    /// Copies the latent rows of `n_tokens` tokens from one page to another, in every layer.
    int32_t (*copy_page)(void* executor, int32_t from_page, int32_t to_page, int32_t n_tokens,
                         BackendError* error);
};

}  // namespace fathom
