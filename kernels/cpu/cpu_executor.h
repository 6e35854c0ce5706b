#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "backend/ops.h"
#include "base/thread.h"
#include "cpu/cpu_check.h"
#include "cpu/cpu_kernels.h"
#include "cpu/cpu_memory.h"
#include "cpu/cpu_workspace.h"

namespace fathom {

/// The threads and the variant of the instruction set, shared by the executors of one device.
struct CpuDevice {
    CpuDevice(const CpuKernels& chosen, const BackendOptions& given, int32_t n_threads);

    const CpuKernels& kernels;
    BackendOptions options;
    ThreadPool pool;
    std::string description;
};

/// A plan made ready to run: its memory, and the batch while it runs.
struct CpuExecutor {
    CpuExecutor(CpuDevice& on, const Plan& of, const Limits& within);

    void run(const Batch& batch);
    void copy_page(int32_t from_page, int32_t to_page, int32_t n_tokens);

    template <class T>
    T* slot(int32_t index) const {
        return static_cast<T*>(space.slots[index]);
    }
    int64_t slot_width(int32_t index) const { return plan.slots[index].width; }
    const Weight& weight(int32_t index) const { return plan.weights[index]; }
    unsigned char* kv_layer(int32_t layer) const {
        return kv.data() + static_cast<uint64_t>(layer) * layer_bytes;
    }

    CpuDevice& device;
    const CpuKernels& kernels;
    const Plan& plan;
    const ModelShape& shape;
    Limits limits;
    MappedMemory workspace;
    MappedMemory kv;
    uint64_t layer_bytes;
    Workspace space{};
    const Batch* batch = nullptr;
};

// Operators, each over `n_rows` rows.
void op_embed(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_rms_norm(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_gather_rows(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_linear(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_mla_store(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_mla_attention(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_moe_route(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_moe_ffn(CpuExecutor& executor, const OpCall& call, int64_t n_rows);
void op_dense_ffn(CpuExecutor& executor, const OpCall& call, int64_t n_rows);

/// Cosine and sine of every row's position for every pair, for all layers.
void prepare_rope(CpuExecutor& executor);

/// The sequences of the batch that use the naive form go to space.naive_sequences, the rows of the
/// others to space.absorbed_rows. Depends on the batch only, so once a run.
struct AttentionForms {
    int64_t n_naive = 0;
    int64_t n_absorbed = 0;
};
AttentionForms choose_forms(CpuExecutor& executor);
void naive_attention(CpuExecutor& executor, const OpCall& call, int64_t n_sequences);
void absorbed_attention(CpuExecutor& executor, const OpCall& call, int64_t n_rows);

/// Calls body(unit, thread scratch) once for each unit, on all threads. A thread takes its own
/// consecutive share first, so that it reads memory in one direction, then helps the others: which
/// thread computes a unit changes nothing but time. With `alone` the caller does everything,
/// because waking threads costs more than the work.
template <class Body>
void for_units(CpuExecutor& executor, int64_t n_units, bool alone, Body&& body) {
    ThreadScratch* threads = executor.space.threads;
    if (alone || n_units <= 1 || executor.device.pool.size() == 1) {
        for (int64_t unit = 0; unit < n_units; ++unit) body(unit, threads[0]);
        return;
    }
    const int32_t n_threads = executor.device.pool.size();
    for (int32_t t = 0; t < n_threads; ++t) {
        threads[t].next_unit.store(n_units * t / n_threads, std::memory_order_relaxed);
        threads[t].end_unit = n_units * (t + 1) / n_threads;
    }
    executor.device.pool.run([&](int32_t thread, int32_t) {
        for (int32_t i = 0; i < n_threads; ++i) {
            ThreadScratch& owner = threads[(thread + i) % n_threads];
            while (true) {
                const int64_t unit = owner.next_unit.fetch_add(1, std::memory_order_relaxed);
                if (unit >= owner.end_unit) break;
                body(unit, threads[thread]);
            }
        }
    });
}

/// Whether so many elements of row-wise work are too few to wake threads for.
inline bool is_small(int64_t n_rows, int64_t width) { return n_rows * width <= 32768; }

}  // namespace fathom
