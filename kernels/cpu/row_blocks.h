#pragma once

#include "cpu/cpu_executor.h"

// How a matrix product is cut into blocks of weight rows, and what goes to the kernel.
namespace fathom {

MatrixRows matrix_of(const Weight& weight);

/// Rows of a weight from `first` on.
MatrixRows rows_from(const MatrixRows& rows, int64_t first);

/// Whether products with this weight take activations rounded to BF16.
inline bool wants_bf16(const CpuExecutor& executor, DType dtype) {
    return executor.kernels.bf16_dot && (dtype == DType::kBF16 || dtype == DType::kF8E4M3);
}

/// The activations as the weight wants them: `x` itself or its copy in space.x_bf16.
const void* activations_for(CpuExecutor& executor, DType dtype, const float* x, int64_t n_rows,
                            int64_t width);

/// Rows of a block: few enough for the L2 cache where many tokens pass, and for all threads to
/// have some; enough to read memory in long runs.
int64_t rows_per_block(const CpuExecutor& executor, const LinearJob& job, int64_t n_rows);

/// Rows [first, first + n) of a job that describes the whole product, on this thread.
void linear_rows(const CpuExecutor& executor, ThreadScratch& thread, const LinearJob& job,
                 int64_t first, int64_t n);

/// The whole product, `n_rows` weight rows, on all threads.
void linear_all(CpuExecutor& executor, const LinearJob& job, int64_t n_rows);

}  // namespace fathom
