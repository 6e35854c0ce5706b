// The tile of dot products that everything stands on: R rows of a matrix times T tokens over a
// part of the inner dimension.
//
// Bound by: the two multiply-add ports when T is large, memory when T is 1. A tile keeps R * T
// accumulator vectors in registers; an operand vector that is loaded once serves R or T products.

/// How weights of type W meet activations of type X.
template <class W, class X>
struct Operands {
    static constexpr int kStep = kLanes;
    using In = Vec;

    static inline In get(const W* from) { return load(from); }
    static inline In get_part(const W* from, int64_t n) { return load_part(from, n); }
    static inline In get_x(const X* from) { return load(from); }
    static inline In get_x_part(const X* from, int64_t n) { return load_part(from, n); }
    static inline Vec step(In w, In x, Vec acc) { return fma(w, x, acc); }
};

#ifdef FATHOM_BF16_DOT

/// Pairs of BF16 products in one instruction, which treats subnormal inputs as zero.
template <class W>
struct Operands<W, Bf16> {
    static constexpr int kStep = 32;
    using In = __m512i;

    static inline In get(const W* from) { return load_bf16_pairs(from); }
    static inline In get_part(const W* from, int64_t n) { return load_bf16_pairs_part(from, n); }
    static inline In get_x(const Bf16* from) { return load_bf16_pairs(from); }
    static inline In get_x_part(const Bf16* from, int64_t n) {
        return load_bf16_pairs_part(from, n);
    }
    static inline Vec step(In w, In x, Vec acc) {
        return _mm512_dpbf16_ps(acc, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
    }
};

#endif

constexpr int kMaxTileRows = 8;

/// R x T vectors that the compiler keeps in registers.
template <int R, int T>
struct Grid {
    Vec v[static_cast<unsigned>(R)][static_cast<unsigned>(T)];
};

/// A part [begin, end) of the inner dimension of a tile. `begin` is a multiple of kFp8Block.
template <class W, class X>
struct Tile {
    const W* w;  // first row, inner element 0
    int64_t w_stride;
    const float* scale[kMaxTileRows];  // per row, of inner block 0
    const X* x[kTileTokens];           // per token
    int64_t begin;
    int64_t end;
    int64_t k;       // where the row ends: only there a vector may be cut short
    float* partial;  // [R * T] vectors carried from part to part
    float* out;      // out[token * out_stride + row]
    int64_t out_stride;
};

template <int R, int T, class W, class X>
static inline void dot_range(const Tile<W, X>& tile, int64_t begin, int64_t end, Grid<R, T>& acc) {
    using Pair = Operands<W, X>;
    int64_t i = begin;
    for (; i + Pair::kStep <= end; i += Pair::kStep) {
        typename Pair::In w[static_cast<unsigned>(R)];
        for (int r = 0; r < R; ++r) w[r] = Pair::get(tile.w + r * tile.w_stride + i);
        // The next tile's rows lie right behind this one's. The processor's own prefetcher stops at
        // every 4 KiB page, which is where a row of 2048 BF16 values ends.
        if constexpr (T <= kStreamTokens) {
            for (int r = 0; r < R; ++r) prefetch(tile.w + (R + r) * tile.w_stride + i);
        }
        for (int t = 0; t < T; ++t) {
            const typename Pair::In x = Pair::get_x(tile.x[t] + i);
            for (int r = 0; r < R; ++r) acc.v[r][t] = Pair::step(w[r], x, acc.v[r][t]);
        }
    }
    if (i < end) {
        const int64_t n = end - i;
        typename Pair::In w[static_cast<unsigned>(R)];
        for (int r = 0; r < R; ++r) w[r] = Pair::get_part(tile.w + r * tile.w_stride + i, n);
        for (int t = 0; t < T; ++t) {
            const typename Pair::In x = Pair::get_x_part(tile.x[t] + i, n);
            for (int r = 0; r < R; ++r) acc.v[r][t] = Pair::step(w[r], x, acc.v[r][t]);
        }
    }
}

template <int R, int T, bool Scaled, class W, class X>
static void dot_tile(const Tile<W, X>& tile) {
    Grid<R, T> acc;
    for (int r = 0; r < R; ++r) {
        for (int t = 0; t < T; ++t) {
            acc.v[r][t] = tile.begin == 0 ? zero() : load(tile.partial + (r * T + t) * kLanes);
        }
    }
    if constexpr (Scaled) {
        // A block of 128 is summed alone, then enters with its scale: the order of the reference.
        for (int64_t block = tile.begin; block < tile.end; block += kFp8Block) {
            const int64_t end = block + kFp8Block < tile.end ? block + kFp8Block : tile.end;
            Grid<R, T> part;
            for (int r = 0; r < R; ++r) {
                for (int t = 0; t < T; ++t) part.v[r][t] = zero();
            }
            dot_range<R, T>(tile, block, end, part);
            for (int r = 0; r < R; ++r) {
                const Vec scale = set(tile.scale[r][block / kFp8Block]);
                for (int t = 0; t < T; ++t) acc.v[r][t] = fma(part.v[r][t], scale, acc.v[r][t]);
            }
        }
    } else {
        dot_range<R, T>(tile, tile.begin, tile.end, acc);
    }
    if (tile.end < tile.k) {
        for (int r = 0; r < R; ++r) {
            for (int t = 0; t < T; ++t) store(tile.partial + (r * T + t) * kLanes, acc.v[r][t]);
        }
        return;
    }
    for (int t = 0; t < T; ++t) {
        for (int r = 0; r < R; ++r) tile.out[t * tile.out_stride + r] = sum(acc.v[r][t]);
    }
}
