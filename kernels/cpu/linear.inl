// A block of weight rows times any number of tokens.
//
// Few tokens (decode): the block streams through once, memory bound. Many tokens (prefill): rows
// that are not F32 are widened once into the caller's scratch, where they stay in the L2 cache
// while tiles of tokens pass; the inner dimension goes in parts of kPart so that the activations
// of a tile stay in the L1 cache, and unfinished accumulators wait in `partial` as they are, so
// that parts do not change a bit.

constexpr int64_t kPart = 1024;
constexpr int64_t kBlockRows = 64;  // rows handled between two epilogues
constexpr int64_t kWidenTokens = 2 * kTileTokens;

static_assert(kBlockRows * kTileTokens * kLanes * 2 <= kLinearPartialFloats);

/// What one block of rows gave for one tile of tokens, before the epilogue.
struct BlockResult {
    alignas(64) float value[2][kTileTokens][kBlockRows];  // of w and up
};

/// Rows of a job that are worked on together: [first, first + n), as stored or widened.
struct Block {
    int64_t first;
    int64_t n;
    MatrixRows w;
    MatrixRows up;
};

template <class X>
static const X* token_row(const LinearJob& job, int64_t token) {
    const int64_t row = job.x_row != nullptr ? job.x_row[token] : token;
    return static_cast<const X*>(job.x) + row * job.x_stride;
}

/// Rows [from, to) of the block into out[token][row].
template <int R, int T, bool Scaled, class W, class X>
static void tile_rows(const MatrixRows& rows, int64_t from, int64_t to, float* partial,
                      float (*out)[kBlockRows], Tile<W, X>& tile) {
    tile.w_stride = rows.stride;
    for (int64_t row = from; row < to; row += R) {
        tile.w = matrix_row<W>(rows, row);
        if constexpr (Scaled) {
            for (int i = 0; i < R; ++i) tile.scale[i] = scale_row(rows, row + i);
        }
        tile.partial = partial + row * T * kLanes;
        tile.out = &out[0][row];
        dot_tile<R, T, Scaled>(tile);
    }
}

template <int T, bool Scaled, class W, class X>
static void token_tile(const LinearJob& job, const Block& block, int64_t token,
                       BlockResult& result) {
    constexpr int R = T <= kStreamTokens ? kMaxTileRows : 4;
    const int64_t part = job.n_tokens <= kTileTokens ? job.k : kPart;
    const int64_t whole = block.n / R * R;
    Tile<W, X> tile;
    tile.k = job.k;
    tile.out_stride = kBlockRows;
    for (int t = 0; t < T; ++t) tile.x[t] = token_row<X>(job, token + t);
    for (tile.begin = 0; tile.begin < job.k; tile.begin += part) {
        tile.end = tile.begin + part < job.k ? tile.begin + part : job.k;
        float* partial = job.partial;
        tile_rows<R, T, Scaled>(block.w, 0, whole, partial, result.value[0], tile);
        tile_rows<1, T, Scaled>(block.w, whole, block.n, partial, result.value[0], tile);
        if (job.up.data == nullptr) continue;
        partial += kLinearPartialFloats / 2;
        tile_rows<R, T, Scaled>(block.up, 0, whole, partial, result.value[1], tile);
        tile_rows<1, T, Scaled>(block.up, whole, block.n, partial, result.value[1], tile);
    }
}

// Epilogues: one token's results for the rows of a block go to their place.

static void put_store(const LinearJob& job, const Block& block, int64_t to, const float* value) {
    float* out = static_cast<float*>(job.out) + to * job.out_stride + block.first;
    for (int64_t i = 0; i < block.n; ++i) out[i] = value[i];
}

static void put_accumulate(const LinearJob& job, const Block& block, int64_t to, float weight,
                           const float* value) {
    float* out = static_cast<float*>(job.out) + to * job.out_stride + block.first;
    for (int64_t i = 0; i < block.n; ++i) out[i] += weight * value[i];
}

/// silu(gate) * up. The buffers are longer than the rows, so that whole vectors do.
static void put_swiglu(const LinearJob& job, const Block& block, int64_t to, float* gate,
                       const float* up) {
    for (int64_t i = 0; i < block.n; i += kLanes) {
        store(gate + i, mul(silu(load(gate + i)), load(up + i)));
    }
    if (!job.out_bf16) return put_store(job, block, to, gate);
    uint16_t* out = static_cast<uint16_t*>(job.out) + to * job.out_stride + block.first;
    round_bf16(gate, out, block.n);
}

static void put_tile(const LinearJob& job, const Block& block, int64_t token, int64_t n_tokens,
                     BlockResult& result) {
    for (int64_t t = 0; t < n_tokens; ++t) {
        const int64_t to = job.out_row != nullptr ? job.out_row[token + t] : token + t;
        if (job.up.data != nullptr) {
            put_swiglu(job, block, to, result.value[0][t], result.value[1][t]);
        } else if (job.accumulate) {
            const float weight = job.out_weight != nullptr ? job.out_weight[token + t] : 1.0f;
            put_accumulate(job, block, to, weight, result.value[0][t]);
        } else {
            put_store(job, block, to, result.value[0][t]);
        }
    }
}

template <bool Scaled, class W, class X>
static void all_tokens(const LinearJob& job, const Block& block) {
    BlockResult result;
    // put_swiglu reads up to a whole vector of what a short block leaves unset.
    if (block.n % kLanes != 0) result = {};
    for (int64_t token = 0; token < job.n_tokens; token += kTileTokens) {
        const int64_t left = job.n_tokens - token;
        switch (left < kTileTokens ? left : kTileTokens) {
            case 1: token_tile<1, Scaled, W, X>(job, block, token, result); break;
            case 2: token_tile<2, Scaled, W, X>(job, block, token, result); break;
#if FATHOM_TILE_TOKENS > 2
            case 3: token_tile<3, Scaled, W, X>(job, block, token, result); break;
#endif
#if FATHOM_TILE_TOKENS > 3
            case 4: token_tile<4, Scaled, W, X>(job, block, token, result); break;
            case 5: token_tile<5, Scaled, W, X>(job, block, token, result); break;
            case 6: token_tile<6, Scaled, W, X>(job, block, token, result); break;
#endif
            default: break;
        }
        put_tile(job, block, token, left < kTileTokens ? left : kTileTokens, result);
    }
}

/// Rows [first, first + n) of a matrix, as they are.
static MatrixRows rows_from(const MatrixRows& rows, int64_t first) {
    MatrixRows view = rows;
    view.data = static_cast<const unsigned char*>(rows.data) +
                first * rows.stride * element_bytes(rows.dtype);
    view.first_row += first;
    return view;
}

/// The same rows as F32, or as BF16 where activations are BF16, unscaled; FP8 fits both exactly.
static MatrixRows widened(const MatrixRows& rows, int64_t n, int64_t k, bool to_bf16, void* to) {
    MatrixRows view = rows;
    view.data = to;
    view.dtype = to_bf16 ? DType::kBF16 : DType::kF32;
    view.stride = k;
    for (int64_t row = 0; row < n; ++row) {
#ifdef FATHOM_BF16_DOT
        if (to_bf16) {
            widen_row_bf16(matrix_row<F8>(rows, row), k, static_cast<uint16_t*>(to) + row * k);
            continue;
        }
#endif
        widen_raw(rows, row, k, static_cast<float*>(to) + row * k);
    }
    return view;
}

static void run_block(const LinearJob& job, const Block& block) {
    const bool scaled = block.w.scale != nullptr;
#ifdef FATHOM_BF16_DOT
    if (job.x_bf16) {
        if (block.w.dtype == DType::kF8E4M3) return all_tokens<true, F8, Bf16>(job, block);
        if (scaled) return all_tokens<true, Bf16, Bf16>(job, block);
        return all_tokens<false, Bf16, Bf16>(job, block);
    }
#endif
    switch (block.w.dtype) {
        case DType::kF32:
            if (scaled) return all_tokens<true, float, float>(job, block);
            return all_tokens<false, float, float>(job, block);
        case DType::kBF16: return all_tokens<false, Bf16, float>(job, block);
        case DType::kF16: return all_tokens<false, F16, float>(job, block);
        case DType::kF8E4M3: return all_tokens<true, F8, float>(job, block);
    }
}

static void linear(const LinearJob* given) {
    const LinearJob& job = *given;
    const DType dtype = job.w.dtype;
    const bool widen_it = job.n_tokens > kWidenTokens && dtype != DType::kF32 &&
                          !(job.x_bf16 && dtype == DType::kBF16);
    const int64_t wide_bytes = job.k * (job.x_bf16 ? 2 : 4);
    const int64_t matrices = job.up.data != nullptr ? 2 : 1;
    int64_t step = kBlockRows;
    if (widen_it) {
        const int64_t fit = job.wide_bytes / (wide_bytes * matrices) / 4 * 4;
        if (fit < step) step = fit;
    }
    const bool wide = widen_it && step > 0;
    if (step == 0) step = kBlockRows;
    for (int64_t row = 0; row < job.n_rows; row += step) {
        Block block;
        block.first = row;
        block.n = row + step < job.n_rows ? step : job.n_rows - row;
        block.w = rows_from(job.w, row);
        block.up = job.up.data != nullptr ? rows_from(job.up, row) : job.up;
        if (wide) {
            unsigned char* to = static_cast<unsigned char*>(job.wide);
            block.w = widened(block.w, block.n, job.k, job.x_bf16, to);
            if (job.up.data != nullptr) {
                to += block.n * wide_bytes;
                block.up = widened(block.up, block.n, job.k, job.x_bf16, to);
            }
        }
        run_block(job, block);
    }
}
