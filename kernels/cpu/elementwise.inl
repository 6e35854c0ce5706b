// Row-wise arithmetic: exponential, softmax, norm, conversions.

/// exp(x) to about one unit in the last place for x in [-87, 88], constant outside: x = n ln 2 + r
/// with n found by adding 1.5 * 2^23, and a polynomial (Cephes) for exp(r).
static inline Vec exponential(Vec x) {
    const Vec bias = set(12582912.0f);
    // In this order of operands a NaN comes out as one.
    x = min(set(88.0f), max(set(-87.0f), x));
    const Vec biased = fma(x, set(1.44269504088896341f), bias);
    const Vec n = sub(biased, bias);
    Vec r = fma(n, set(-0.693359375f), x);
    r = fma(n, set(2.12194440e-4f), r);
    Vec p = set(1.9875691500e-4f);
    p = fma(p, r, set(1.3981999507e-3f));
    p = fma(p, r, set(8.3334519073e-3f));
    p = fma(p, r, set(4.1665795894e-2f));
    p = fma(p, r, set(1.6666665459e-1f));
    p = fma(p, r, set(5.0000001201e-1f));
    p = fma(mul(r, r), p, add(r, set(1.0f)));
    return scale_by_power(p, biased);
}

static inline float exponential_one(float x) {
    float out[kLanes];
    store(out, exponential(set(x)));
    return out[0];
}

static inline Vec silu(Vec x) { return div(x, add(set(1.0f), exponential(sub(zero(), x)))); }

/// Calls body(i, count) for vectors of the range; count is below kLanes only at the end.
template <class Body>
static inline void for_vectors(int64_t n, Body body) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) body(i, int64_t{kLanes});
    if (i < n) body(i, n - i);
}

static inline Vec load_n(const float* from, int64_t n) {
    return n == kLanes ? load(from) : load_part(from, n);
}

static inline void store_n(float* to, Vec v, int64_t n) {
    if (n == kLanes) {
        store(to, v);
    } else {
        store_part(to, v, n);
    }
}

static float largest(const float* x, int64_t n) {
    if (n < kLanes) {
        float best = x[0];
        for (int64_t i = 1; i < n; ++i) best = x[i] > best ? x[i] : best;
        return best;
    }
    Vec best = load(x);
    // The last vector may overlap the one before it: a maximum does not mind.
    for (int64_t i = kLanes; i < n; i += kLanes) {
        best = max(best, load(x + (i + kLanes <= n ? i : n - kLanes)));
    }
    return max_lane(best);
}

/// x[i] = exp(x[i] * scale - shift), and their sum.
static float exponentials(float* x, int64_t n, float scale, float shift) {
    Vec total = zero();
    for_vectors(n, [&](int64_t i, int64_t count) {
        const Vec e = exponential(fma(load_n(x + i, count), set(scale), set(-shift)));
        store_n(x + i, e, count);
        total = add(total, load_n(x + i, count));
    });
    return sum(total);
}

static float softmax_step(float* scores, int64_t n, float scale, bool fresh, SoftmaxState* state) {
    const float here = largest(scores, n) * scale;
    const float top = fresh || here > state->max ? here : state->max;
    const float keep = fresh ? 0.0f : exponential_one(state->max - top);
    const float total = exponentials(scores, n, scale, top);
    state->sum = fresh ? total : state->sum * keep + total;
    state->max = top;
    return keep;
}

static void softmax_merge(float* z, SoftmaxState* state, const float* z2,
                          const SoftmaxState* state2, int64_t n) {
    const float top = state->max > state2->max ? state->max : state2->max;
    const float first = exponential_one(state->max - top);
    const float second = exponential_one(state2->max - top);
    state->sum = state->sum * first + state2->sum * second;
    state->max = top;
    for_vectors(n, [&](int64_t i, int64_t count) {
        const Vec kept = mul(load_n(z + i, count), set(first));
        store_n(z + i, fma(load_n(z2 + i, count), set(second), kept), count);
    });
}

static void softmax(float* x, int64_t n) {
    const float total = exponentials(x, n, 1.0f, largest(x, n));
    for_vectors(n, [&](int64_t i, int64_t count) {
        store_n(x + i, div(load_n(x + i, count), set(total)), count);
    });
}

static void sigmoid(float* x, int64_t n) {
    for_vectors(n, [&](int64_t i, int64_t count) {
        const Vec e = exponential(sub(zero(), load_n(x + i, count)));
        store_n(x + i, div(set(1.0f), add(set(1.0f), e)), count);
    });
}

static void divide(float* x, float by, int64_t n) {
    for_vectors(n, [&](int64_t i, int64_t count) {
        store_n(x + i, div(load_n(x + i, count), set(by)), count);
    });
}

static void rms_norm(float* x, const float* add_to, const float* w, float epsilon, float* out,
                     int64_t n) {
    Vec squares = zero();
    for_vectors(n, [&](int64_t i, int64_t count) {
        Vec v = load_n(x + i, count);
        if (add_to != nullptr) {
            v = add(v, load_n(add_to + i, count));
            store_n(x + i, v, count);
        }
        squares = fma(v, v, squares);
    });
    const float mean = sum(squares) / static_cast<float>(n);
    const float factor = 1.0f / __builtin_sqrtf(mean + epsilon);
    for_vectors(n, [&](int64_t i, int64_t count) {
        const Vec scaled = mul(load_n(x + i, count), set(factor));
        store_n(out + i, mul(scaled, load_n(w + i, count)), count);
    });
}

template <class W>
static void widen_row(const W* from, int64_t n, float* out) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(out + i, load(from + i));
    if (i < n) store_part(out + i, load_part(from + i, n - i), n - i);
}

static const float* scale_row(const MatrixRows& rows, int64_t row) {
    return rows.scale + (rows.first_row + row) / kFp8Block * rows.scale_stride;
}

template <class W>
static const W* matrix_row(const MatrixRows& rows, int64_t row) {
    return static_cast<const W*>(rows.data) + row * rows.stride;
}

/// The same with the scale of each block of columns, the first block's at `scale`.
static void widen_row_scaled(const F8* from, int64_t n, const float* scale, float* out) {
    for (int64_t begin = 0; begin < n; begin += kFp8Block) {
        const Vec factor = set(scale[begin / kFp8Block]);
        const int64_t end = begin + kFp8Block < n ? begin + kFp8Block : n;
        int64_t i = begin;
        for (; i + kLanes <= end; i += kLanes) store(out + i, mul(load(from + i), factor));
        if (i < end) store_part(out + i, mul(load_part(from + i, end - i), factor), end - i);
    }
}

/// Columns [column, column + n) of a row as F32; `rows` starts at that column, a multiple of
/// kFp8Block.
static void widen_part(const MatrixRows& rows, int64_t row, int64_t column, int64_t n, float* out) {
    switch (rows.dtype) {
        case DType::kF32: return widen_row(matrix_row<float>(rows, row), n, out);
        case DType::kBF16: return widen_row(matrix_row<Bf16>(rows, row), n, out);
        case DType::kF16: return widen_row(matrix_row<F16>(rows, row), n, out);
        case DType::kF8E4M3:
            return widen_row_scaled(matrix_row<F8>(rows, row), n,
                                    scale_row(rows, row) + column / kFp8Block, out);
    }
}

static void widen(const MatrixRows* rows, int64_t row, int64_t n, float* out) {
    widen_part(*rows, row, 0, n, out);
}

static void round_bf16(const float* x, uint16_t* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = bf16_of_float(x[i]);
}
