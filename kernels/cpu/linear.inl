// A block of weight rows times any number of tokens.
//
// Few tokens (decode): the block streams through once, memory bound. Many tokens (prefill): 64 rows
// meet tiles of tokens, a part of kPart columns after the other, so that the activations of a tile
// stay in the L1 cache. Rows that are not F32 are widened once into scratch, up to kWide columns at
// a time, and stay in the L2 cache. Unfinished accumulators wait in `partial` as they are, vectors,
// so that parts do not change a bit. Where rows are longer than kWide, the accumulators of all
// tokens have to wait for the next columns; then tokens go in chunks, so that those fit the cache
// too.

constexpr int64_t kPart = 1024;
constexpr int64_t kWide = kLinearWideColumns;
constexpr int64_t kBlockRows = 64;  // rows handled between two epilogues
constexpr int64_t kChunkTokens = kLinearChunkTokens;
constexpr int64_t kWidenTokens = 2 * kTileTokens;

static_assert(kBlockRows * kChunkTokens * kLanes <= kLinearPartialFloats);
static_assert(kPart % kFp8Block == 0 && kWide % kPart == 0 && kChunkTokens % kTileTokens == 0);

/// What one block of rows gave for one tile of tokens, before the epilogue.
struct BlockResult {
    alignas(64) float value[2][kTileTokens][kBlockRows];  // of w and up
};

/// Memory to bring into the L2 cache, a few lines after each tile: all at once would fill the
/// buffers that the tiles' own loads need.
struct Ahead {
    const unsigned char* at[2];
    int64_t left;      // bytes at each place
    int64_t per_tile;  // lines after each tile
};

static inline void fetch_ahead(Ahead& ahead) {
    if (ahead.left <= 0) return;
    for (int64_t line = 0; line < ahead.per_tile; ++line) {
        prefetch(ahead.at[0] + line * 64);
        if (ahead.at[1] != nullptr) prefetch(ahead.at[1] + line * 64);
    }
    ahead.at[0] += ahead.per_tile * 64;
    if (ahead.at[1] != nullptr) ahead.at[1] += ahead.per_tile * 64;
    ahead.left -= ahead.per_tile * 64;
}

/// Rows of a job that are worked on together, [first, first + n), and some of their columns, as
/// stored or widened.
struct Block {
    int64_t first;
    int64_t n;
    int64_t k_begin;
    int64_t k_end;
    int64_t part;  // columns for which a tile's activations stay in the L1 cache
    MatrixRows w;  // from column k_begin on
    MatrixRows up;
    Ahead* ahead;
};

template <class X>
static const X* token_row(const LinearJob& job, int64_t token) {
    const int64_t row = job.x_row != nullptr ? job.x_row[token] : token;
    return static_cast<const X*>(job.x) + row * job.x_stride;
}

/// Rows [from, to) of the block into out[token][row]; columns from `column` of the block on.
template <int R, int T, Scale S, class W, class X>
static void tile_rows(const Block& block, int64_t column, const MatrixRows& rows, int64_t from,
                      int64_t to, float* partial, float (*out)[kBlockRows], Tile<W, X>& tile) {
    tile.w_stride = rows.stride;
    for (int64_t row = from; row < to; row += R) {
        tile.w = matrix_row<W>(rows, row) + column;
        if constexpr (S != Scale::kNone) {
            for (int i = 0; i < R; ++i) {
                tile.scale[i] = scale_row(rows, row + i) + (block.k_begin + column) / kFp8Block;
            }
        }
        tile.partial = partial + row * T * kLanes;
        tile.out = &out[0][row];
        dot_tile<R, T, S>(tile);
        if constexpr (T == kTileTokens) fetch_ahead(*block.ahead);
    }
}

template <int T, Scale S, class W, class X>
static void token_tile(const LinearJob& job, const Block& block, int64_t token, float* partial,
                       BlockResult& result) {
    constexpr int R = T <= kStreamTokens ? kMaxTileRows : 4;
    const int64_t whole = block.n / R * R;
    const int64_t columns = block.k_end - block.k_begin;
    float* partial_up = partial + block.n * T * kLanes;
    Tile<W, X> tile;
    tile.out_stride = kBlockRows;
    for (int64_t at = 0; at < columns; at += block.part) {
        tile.n = columns - at < block.part ? columns - at : block.part;
        tile.first = block.k_begin + at == 0;
        tile.last = block.k_begin + at + tile.n == job.k;
        for (int t = 0; t < T; ++t) tile.x[t] = token_row<X>(job, token + t) + block.k_begin + at;
        float(*out)[kBlockRows] = result.value[0];
        tile_rows<R, T, S>(block, at, block.w, 0, whole, partial, out, tile);
        tile_rows<1, T, S>(block, at, block.w, whole, block.n, partial, out, tile);
        if (job.up.data == nullptr) continue;
        out = result.value[1];
        tile_rows<R, T, S>(block, at, block.up, 0, whole, partial_up, out, tile);
        tile_rows<1, T, S>(block, at, block.up, whole, block.n, partial_up, out, tile);
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

/// The columns of a block for the tokens [begin, end), and the epilogue if they are the last ones.
template <Scale S, class W, class X>
static void chunk_tokens(const LinearJob& job, const Block& block, int64_t begin, int64_t end) {
    BlockResult result;
    // put_swiglu reads up to a whole vector of what a short block leaves unset.
    if (block.n % kLanes != 0) result = {};
    const bool whole_row = block.k_begin == 0 && block.k_end == job.k;
    const int64_t matrices = job.up.data != nullptr ? 2 : 1;
    float* partial = job.partial;
    for (int64_t token = begin; token < end; token += kTileTokens) {
        const int64_t n = end - token < kTileTokens ? end - token : kTileTokens;
        switch (n) {
            case 1: token_tile<1, S, W, X>(job, block, token, partial, result); break;
            case 2: token_tile<2, S, W, X>(job, block, token, partial, result); break;
#if FATHOM_TILE_TOKENS > 2
            case 3: token_tile<3, S, W, X>(job, block, token, partial, result); break;
#endif
#if FATHOM_TILE_TOKENS > 3
            case 4: token_tile<4, S, W, X>(job, block, token, partial, result); break;
            case 5: token_tile<5, S, W, X>(job, block, token, partial, result); break;
            case 6: token_tile<6, S, W, X>(job, block, token, partial, result); break;
#endif
            default: break;
        }
        // Whole rows leave nothing behind, so all tiles use one small piece of `partial`.
        if (!whole_row) partial += matrices * block.n * n * kLanes;
        if (block.k_end == job.k) put_tile(job, block, token, n, result);
    }
}

/// Columns from k_begin on of rows from `first` on, as they are.
static MatrixRows part_from(const MatrixRows& rows, int64_t first, int64_t k_begin) {
    MatrixRows view = rows;
    view.data = static_cast<const unsigned char*>(rows.data) +
                (first * rows.stride + k_begin) * element_bytes(rows.dtype);
    view.first_row += first;
    return view;
}

/// The same as F32, scaled; or as BF16, unscaled, where activations are BF16: FP8 fits exactly.
static MatrixRows widened(const MatrixRows& rows, const Block& block, bool to_bf16, void* to) {
    const int64_t n = block.k_end - block.k_begin;
    MatrixRows view = rows;
    view.data = to;
    view.dtype = to_bf16 ? DType::kBF16 : DType::kF32;
    // Rows start a cache line apart from a power of two, or they would fight for the same sets.
    view.stride = kLinearWideStride;
    for (int64_t row = 0; row < block.n; ++row) {
        const int64_t at = row * view.stride;
#ifdef FATHOM_BF16_DOT
        if (to_bf16) {
            widen_row_bf16(matrix_row<F8>(rows, row), n, static_cast<uint16_t*>(to) + at);
            continue;
        }
#endif
        widen_part(rows, row, block.k_begin, n, static_cast<float*>(to) + at);
    }
    return view;
}

static void run_columns(const LinearJob& job, const Block& block, int64_t begin, int64_t end) {
#ifdef FATHOM_BF16_DOT
    if (job.x_bf16) {
        if (block.w.dtype == DType::kF8E4M3) {
            return chunk_tokens<Scale::kSum, F8, Bf16>(job, block, begin, end);
        }
        if (block.w.scale != nullptr) {
            return chunk_tokens<Scale::kSum, Bf16, Bf16>(job, block, begin, end);
        }
        return chunk_tokens<Scale::kNone, Bf16, Bf16>(job, block, begin, end);
    }
#endif
    switch (block.w.dtype) {
        case DType::kF32: return chunk_tokens<Scale::kNone, float, float>(job, block, begin, end);
        case DType::kBF16: return chunk_tokens<Scale::kNone, Bf16, float>(job, block, begin, end);
        case DType::kF16: return chunk_tokens<Scale::kNone, F16, float>(job, block, begin, end);
        case DType::kF8E4M3: return chunk_tokens<Scale::kWeight, F8, float>(job, block, begin, end);
    }
}

/// A block of rows for one chunk of tokens.
static void run_chunk(const LinearJob& job, Block& block, int64_t begin, int64_t end) {
    const DType dtype = job.w.dtype;
    const bool widen_it = end - begin > kWidenTokens && dtype != DType::kF32 &&
                          !(job.x_bf16 && dtype == DType::kBF16);
    block.part = end - begin > kTileTokens ? kPart : job.k;
    for (block.k_begin = 0; block.k_begin < job.k; block.k_begin = block.k_end) {
        const int64_t left = job.k - block.k_begin;
        block.k_end = block.k_begin + (widen_it && left > kWide ? kWide : left);
        block.w = part_from(job.w, block.first, block.k_begin);
        if (job.up.data != nullptr) block.up = part_from(job.up, block.first, block.k_begin);
        if (widen_it) {
            block.w = widened(block.w, block, job.x_bf16, job.wide);
            if (job.up.data != nullptr) {
                float* second = job.wide + kBlockRows / 2 * kLinearWideStride;
                block.up = widened(block.up, block, job.x_bf16, second);
            }
        }
        run_columns(job, block, begin, end);
    }
}

/// What to fetch while the block before `row` is worked on: the rows from there on, or what comes
/// after the job.
static Ahead plan_ahead(const LinearJob& job, int64_t row) {
    Ahead ahead{};
    const int64_t row_bytes = job.w.stride * element_bytes(job.w.dtype);
    if (job.n_tokens <= kWidenTokens) return ahead;
    if (row < job.n_rows) {
        ahead.at[0] = static_cast<const unsigned char*>(job.w.data) + row * row_bytes;
        if (job.up.data != nullptr) {
            ahead.at[1] = static_cast<const unsigned char*>(job.up.data) + row * row_bytes;
        }
        ahead.left = (job.n_rows - row < kBlockRows ? job.n_rows - row : kBlockRows) * row_bytes;
    } else {
        ahead.at[0] = static_cast<const unsigned char*>(job.ahead);
        ahead.at[1] = static_cast<const unsigned char*>(job.ahead_up);
        ahead.left = job.ahead_bytes;
    }
    const int64_t tiles = job.n_tokens / kTileTokens * (kBlockRows / 4) *
                          ((job.k + kPart - 1) / kPart) / (ahead.at[1] != nullptr ? 2 : 1);
    ahead.per_tile = ahead.left / 64 / (tiles > 0 ? tiles : 1) + 1;
    return ahead;
}

static void linear(const LinearJob* given) {
    const LinearJob& job = *given;
    const bool many = job.n_tokens > kTileTokens;
    const int64_t step = many && job.up.data != nullptr ? kBlockRows / 2 : kBlockRows;
    // Chunks of about equal size: a small last one would widen the rows for little.
    const int64_t most = job.k > kWide ? kChunkTokens : job.n_tokens;
    const int64_t chunks = (job.n_tokens + most - 1) / most;
    const int64_t even = (job.n_tokens + chunks - 1) / chunks;
    const int64_t chunk = (even + kTileTokens - 1) / kTileTokens * kTileTokens;
    for (int64_t row = 0; row < job.n_rows; row += step) {
        Ahead ahead = plan_ahead(job, row + step);
        Block block{};
        block.ahead = &ahead;
        block.first = row;
        block.n = row + step < job.n_rows ? step : job.n_rows - row;
        for (int64_t begin = 0; begin < job.n_tokens; begin += chunk) {
            const int64_t end = begin + chunk < job.n_tokens ? begin + chunk : job.n_tokens;
            run_chunk(job, block, begin, end);
        }
    }
}
