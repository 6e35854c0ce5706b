// Absorbed attention: all heads of a row share one key and value row for each token, so a page is
// a small matrix that meets n_heads query vectors twice, first along its width (scores), then
// along its tokens (mixing). Bound by the multiply-add ports for many heads, by memory for few.

/// H rows times C vectors of columns.
template <int H, int C, class V>
static inline void mix_tile(const MixJob& job, int64_t row, int64_t column) {
    Grid<H, C> acc;
    for (int h = 0; h < H; ++h) {
        const float* z = job.z + (row + h) * job.z_stride + column;
        const Vec keep = set(job.keep[row + h]);
        for (int c = 0; c < C; ++c) acc.v[h][c] = mul(load(z + c * kLanes), keep);
    }
    const V* v = static_cast<const V*>(job.v) + column;
    const float* p = job.p + row * job.p_stride;
    for (int64_t s = 0; s < job.n_values; ++s) {
        Vec value[static_cast<unsigned>(C)];
        for (int c = 0; c < C; ++c) value[c] = load(v + s * job.v_stride + c * kLanes);
        for (int h = 0; h < H; ++h) {
            const Vec weight = set(p[h * job.p_stride + s]);
            for (int c = 0; c < C; ++c) acc.v[h][c] = fma(weight, value[c], acc.v[h][c]);
        }
    }
    for (int h = 0; h < H; ++h) {
        float* z = job.z + (row + h) * job.z_stride + column;
        for (int c = 0; c < C; ++c) store(z + c * kLanes, acc.v[h][c]);
    }
}

/// The columns at the end that do not fill a vector.
template <class V>
static void mix_rest(const MixJob& job, int64_t row, int64_t column, int64_t n) {
    float* z = job.z + row * job.z_stride + column;
    const V* v = static_cast<const V*>(job.v) + column;
    Vec acc = mul(load_part(z, n), set(job.keep[row]));
    for (int64_t s = 0; s < job.n_values; ++s) {
        const Vec weight = set(job.p[row * job.p_stride + s]);
        acc = fma(weight, load_part(v + s * job.v_stride, n), acc);
    }
    store_part(z, acc, n);
}

template <int H, class V>
static void mix_rows(const MixJob& job, int64_t row) {
    constexpr int kColumns = 4;
    int64_t column = 0;
    for (; column + kColumns * kLanes <= job.width; column += kColumns * kLanes) {
        mix_tile<H, kColumns, V>(job, row, column);
    }
    for (; column + kLanes <= job.width; column += kLanes) mix_tile<H, 1, V>(job, row, column);
    if (column == job.width) return;
    for (int h = 0; h < H; ++h) mix_rest<V>(job, row + h, column, job.width - column);
}

template <class V>
static void mix_all(const MixJob& job) {
    constexpr int kRows = kLanes == 16 ? 4 : 2;
    int64_t row = 0;
    for (; row + kRows <= job.n_rows; row += kRows) mix_rows<kRows, V>(job, row);
    for (; row < job.n_rows; ++row) mix_rows<1, V>(job, row);
}

static void mix(const MixJob* job) {
    if (job->v_dtype == DType::kBF16) return mix_all<Bf16>(*job);
    mix_all<float>(*job);
}

static void attend(const AttendJob* given) {
    const AttendJob& job = *given;
    const int64_t page_bytes = kPageRows * job.row_width * element_bytes(job.kv_dtype);
    LinearJob score;
    score.w.dtype = job.kv_dtype;
    score.w.stride = job.row_width;
    score.k = job.row_width;
    score.x = job.q;
    score.x_stride = job.row_width;
    score.n_tokens = job.n_heads;
    score.out = job.scores;
    score.out_stride = kPageRows;
    score.partial = job.partial;
    score.wide = job.wide;
    MixJob mixing;
    mixing.p = job.scores;
    mixing.p_stride = kPageRows;
    mixing.n_rows = job.n_heads;
    mixing.v_dtype = job.kv_dtype;
    mixing.v_stride = job.row_width;
    mixing.width = job.latent_width;
    mixing.keep = job.keep;
    mixing.z = job.z;
    mixing.z_stride = job.latent_width;
    // Whatever was there, NaN included, must not meet the factor zero of the first page.
    for (int64_t i = 0; i < job.n_heads * job.latent_width; ++i) job.z[i] = 0.0f;
    for (int64_t done = 0; done < job.n_tokens; done += kPageRows) {
        const int64_t left = job.n_tokens - done;
        const unsigned char* page = job.kv_layer + job.pages[done / kPageRows] * page_bytes;
        score.w.data = page;
        score.n_rows = left < kPageRows ? left : kPageRows;
        linear(&score);
        for (int64_t head = 0; head < job.n_heads; ++head) {
            job.keep[head] = softmax_step(job.scores + head * kPageRows, score.n_rows, job.scale,
                                          done == 0, &job.state[head]);
        }
        mixing.v = page;
        mixing.n_values = score.n_rows;
        mix(&mixing);
    }
}
