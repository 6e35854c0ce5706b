#include "cpu/row_blocks.h"

#include <algorithm>

namespace fathom {
namespace {

/// A block that is read once: long enough for the memory to stream.
constexpr int64_t kStreamBytes = 128 << 10;

constexpr int64_t kRowGroup = 8;

}  // namespace

MatrixRows matrix_of(const Weight& weight) {
    MatrixRows rows;
    rows.data = weight.data;
    rows.scale = weight.dtype == DType::kF8E4M3 ? weight.scale : nullptr;
    rows.dtype = weight.dtype;
    rows.stride = weight.cols;
    rows.scale_stride = ceil_div(weight.cols, kFp8Block);
    return rows;
}

MatrixRows rows_from(const MatrixRows& rows, int64_t first) {
    MatrixRows view = rows;
    view.data = static_cast<const unsigned char*>(rows.data) +
                first * rows.stride * dtype_bytes(rows.dtype);
    view.first_row += first;
    return view;
}

const void* activations_for(CpuExecutor& executor, DType dtype, const float* x, int64_t n_rows,
                            int64_t width) {
    if (!wants_bf16(executor, dtype)) return x;
    uint16_t* rounded = executor.space.x_bf16;
    for_units(executor, n_rows, is_small(n_rows, width), [&](int64_t row, ThreadScratch&) {
        executor.kernels.round_bf16(x + row * width, rounded + row * width, width);
    });
    return rounded;
}

int64_t rows_per_block(const CpuExecutor& executor, const LinearJob& job, int64_t n_rows) {
    const int64_t matrices = job.up.data != nullptr ? 2 : 1;
    const int64_t n_threads = executor.device.pool.size();
    int64_t rows = 0;
    if (job.n_tokens <= executor.kernels.tile_tokens) {
        const int64_t row_bytes = job.k * dtype_bytes(job.w.dtype) * matrices;
        rows = std::max(kStreamBytes / std::max<int64_t>(row_bytes, 1), kRowGroup);
    } else {
        rows = 64 / matrices;  // What the kernel works on at a time.
    }
    rows = std::min(rows, ceil_div(n_rows, 4 * n_threads));
    return std::max<int64_t>(ceil_div(rows, kRowGroup), 1) * kRowGroup;
}

void linear_rows(const CpuExecutor& executor, ThreadScratch& thread, const LinearJob& job,
                 int64_t first, int64_t n) {
    LinearJob part = job;
    part.w = rows_from(job.w, first);
    if (job.up.data != nullptr) part.up = rows_from(job.up, first);
    part.n_rows = n;
    part.out = static_cast<unsigned char*>(job.out) + first * (job.out_bf16 ? 2 : 4);
    if (part.ahead == nullptr) {
        // This thread's next block most likely: the rows behind.
        part.ahead = rows_from(part.w, n).data;
        if (job.up.data != nullptr) part.ahead_up = rows_from(part.up, n).data;
        part.ahead_bytes = n * job.w.stride * dtype_bytes(job.w.dtype);
    }
    part.partial = thread.partial;
    part.wide = thread.wide;
    executor.kernels.linear(&part);
}

void linear_all(CpuExecutor& executor, const LinearJob& job, int64_t n_rows) {
    const int64_t block = rows_per_block(executor, job, n_rows);
    const int64_t n_blocks = ceil_div(n_rows, block);
    const bool alone = job.n_tokens * n_rows * job.k <= 65536;
    for_units(executor, n_blocks, alone, [&](int64_t unit, ThreadScratch& thread) {
        const int64_t first = unit * block;
        linear_rows(executor, thread, job, first, std::min(block, n_rows - first));
    });
}

}  // namespace fathom
