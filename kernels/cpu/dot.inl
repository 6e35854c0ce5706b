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

/// Two vectors of consecutive values, for weights that are best widened so many at a time.
struct VecPair {
    Vec low;
    Vec high;
};

static inline VecPair mul(VecPair a, Vec b) { return {mul(a.low, b), mul(a.high, b)}; }

/// An FP8 weight times an F32 activation: value times scale, rounded to F32, is the weight. Tiles
/// that were widened before hold the same number, so both give the same bits.
template <>
struct Operands<F8, float> {
    static constexpr int kStep = 2 * kLanes;
    using In = VecPair;

    static inline In get(const F8* from) {
        In in;
        load_f8_units(from, in.low, in.high);
        return in;
    }
    static inline In get_part(const F8* from, int64_t n) {
        F8 all[kStep] = {};
        for (int64_t i = 0; i < n; ++i) all[i] = from[i];
        return get(all);
    }
    static inline In get_x(const float* from) { return {load(from), load(from + kLanes)}; }
    static inline In get_x_part(const float* from, int64_t n) {
        if (n <= kLanes) return {load_part(from, n), zero()};
        return {load(from), load_part(from + kLanes, n - kLanes)};
    }
    static inline Vec step(In w, In x, Vec acc) {
        return fma(w.high, x.high, fma(w.low, x.low, acc));
    }
};

/// Where the scale of an FP8 block enters.
enum class Scale {
    kNone,
    kWeight,  // with each weight: F32 activations
    kSum,  // with the sum of the block: BF16 products, whose operands cannot hold a scaled weight
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

/// A part of the inner dimension of a tile. It starts at a multiple of kFp8Block of the row, and
/// only the last part of a row may cut a vector short.
template <class W, class X>
struct Tile {
    const W* w;  // first row, first element of the part
    int64_t w_stride;
    const float* scale[kMaxTileRows];  // per row, of the part's first block
    const X* x[kTileTokens];           // per token, first element of the part
    int64_t n;                         // elements of the part
    bool first;
    bool last;
    float* partial;  // [R * T] vectors carried from part to part
    float* out;      // out[token * out_stride + row]
    int64_t out_stride;
};

template <int R, int T, Scale S, class W, class X>
static inline void dot_step(const Tile<W, X>& tile, int64_t i, [[maybe_unused]] const Vec* scale,
                            Grid<R, T>& acc) {
    using Pair = Operands<W, X>;
    if constexpr (S == Scale::kWeight) {
        // Widening needs registers, so a row is done with before the next is loaded.
        for (int r = 0; r < R; ++r) {
            const typename Pair::In w = mul(Pair::get(tile.w + r * tile.w_stride + i), scale[r]);
            for (int t = 0; t < T; ++t) {
                acc.v[r][t] = Pair::step(w, Pair::get_x(tile.x[t] + i), acc.v[r][t]);
            }
        }
        return;
    }
    typename Pair::In w[static_cast<unsigned>(R)];
    for (int r = 0; r < R; ++r) w[r] = Pair::get(tile.w + r * tile.w_stride + i);
    for (int t = 0; t < T; ++t) {
        const typename Pair::In x = Pair::get_x(tile.x[t] + i);
        for (int r = 0; r < R; ++r) acc.v[r][t] = Pair::step(w[r], x, acc.v[r][t]);
    }
}

template <int R, int T, Scale S, class W, class X>
static inline void dot_range(const Tile<W, X>& tile, int64_t begin, int64_t end,
                             [[maybe_unused]] const Vec* scale, Grid<R, T>& acc) {
    using Pair = Operands<W, X>;
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(W));
    int64_t i = begin;
    if constexpr (T <= kStreamTokens) {
        // The next tile's rows lie right behind this one's. The processor's own prefetcher stops at
        // every 4 KiB page, which is where a row of 2048 BF16 values ends.
        for (; i + kLine <= end; i += kLine) {
            for (int r = 0; r < R; ++r) prefetch(tile.w + (R + r) * tile.w_stride + i);
            for (int64_t u = 0; u < kLine; u += Pair::kStep)
                dot_step<R, T, S>(tile, i + u, scale, acc);
        }
    }
    for (; i + Pair::kStep <= end; i += Pair::kStep) dot_step<R, T, S>(tile, i, scale, acc);
    if (i < end) {
        const int64_t n = end - i;
        typename Pair::In w[static_cast<unsigned>(R)];
        for (int r = 0; r < R; ++r) {
            w[r] = Pair::get_part(tile.w + r * tile.w_stride + i, n);
            if constexpr (S == Scale::kWeight) w[r] = mul(w[r], scale[r]);
        }
        for (int t = 0; t < T; ++t) {
            const typename Pair::In x = Pair::get_x_part(tile.x[t] + i, n);
            for (int r = 0; r < R; ++r) acc.v[r][t] = Pair::step(w[r], x, acc.v[r][t]);
        }
    }
}

template <int R, int T, Scale S, class W, class X>
static void dot_tile(const Tile<W, X>& tile) {
    Grid<R, T> acc;
    for (int r = 0; r < R; ++r) {
        for (int t = 0; t < T; ++t) {
            acc.v[r][t] = tile.first ? zero() : load(tile.partial + (r * T + t) * kLanes);
        }
    }
    if constexpr (S == Scale::kNone) {
        dot_range<R, T, S>(tile, 0, tile.n, nullptr, acc);
    } else {
        for (int64_t block = 0; block < tile.n; block += kFp8Block) {
            const int64_t end = block + kFp8Block < tile.n ? block + kFp8Block : tile.n;
            Vec scale[static_cast<unsigned>(R)];
            for (int r = 0; r < R; ++r) scale[r] = set(tile.scale[r][block / kFp8Block]);
            if constexpr (S == Scale::kWeight) {
                for (int r = 0; r < R; ++r) scale[r] = mul(scale[r], set(kF8Unit));
                dot_range<R, T, S>(tile, block, end, scale, acc);
            } else {
                Grid<R, T> part;
                for (int r = 0; r < R; ++r) {
                    for (int t = 0; t < T; ++t) part.v[r][t] = zero();
                }
                dot_range<R, T, S>(tile, block, end, nullptr, part);
                for (int r = 0; r < R; ++r) {
                    for (int t = 0; t < T; ++t) {
                        acc.v[r][t] = fma(part.v[r][t], scale[r], acc.v[r][t]);
                    }
                }
            }
        }
    }
    if (!tile.last) {
        for (int r = 0; r < R; ++r) {
            for (int t = 0; t < T; ++t) store(tile.partial + (r * T + t) * kLanes, acc.v[r][t]);
        }
        return;
    }
    for (int t = 0; t < T; ++t) {
        float* out = tile.out + t * tile.out_stride;
        if constexpr (R % 4 == 0) {
            for (int r = 0; r < R; r += 4) {
                sum4(acc.v[r][t], acc.v[r + 1][t], acc.v[r + 2][t], acc.v[r + 3][t], out + r);
            }
        } else {
            for (int r = 0; r < R; ++r) out[r] = sum(acc.v[r][t]);
        }
    }
}
