// Operators that touch a row at a time: embedding, norm, gather, storing of latent rows.
//
// Bound by: the launch. One block a row.

#include "cuda/row_norm.cuh"

namespace fathom::cuda {

constexpr int kThreads = 256;

/// Sum over the block, in every thread. `parts` holds a value a warp.
__device__ __forceinline__ float block_sum(float value, float* parts) {
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    float total = 0;
    for (int i = 0; i < kThreads / 32; ++i) total += parts[i];
    return total;
}

struct Turn {
    double cosine;
    double sine;
};

__device__ __forceinline__ Turn turned(Turn a, Turn b) {
    return {a.cosine * b.cosine - a.sine * b.sine, a.cosine * b.sine + a.sine * b.cosine};
}

/// In double, because the angle of a late position has no digits left in float.
__device__ __forceinline__ void write_rope(const EmbedArgs& args, int row) {
    const int position = args.in.position[row];
    for (int pair = threadIdx.x; pair < args.tables.pairs; pair += kThreads) {
        Turn turn[3];
#pragma unroll
        for (int digit = 0; digit < 3; ++digit) {
            const int multiple = position >> (8 * digit) & 255;
            const double* from =
                args.tables.turn + ((digit * 256 + multiple) * args.tables.pairs + pair) * 2;
            turn[digit] = {from[0], from[1]};
        }
        const Turn all = turned(turned(turn[0], turn[1]), turn[2]);
        float* to = args.rope + (static_cast<int64_t>(row) * args.tables.pairs + pair) * 2;
        to[0] = static_cast<float>(all.cosine * args.tables.magnitude);
        to[1] = static_cast<float>(all.sine * args.tables.magnitude);
    }
}

template <WeightType kType>
__device__ __forceinline__ void embed(const EmbedArgs& args) {
    const int row = blockIdx.x;
    const int width = static_cast<int>(args.width);
    const void* from = static_cast<const char*>(args.table) +
                       args.in.token[row] * args.width * kWeightBytes<kType>;
    float* to = args.out + row * args.width;
    for (int i = threadIdx.x; i < width; i += kThreads) {
        Chunk<kType, false> one;
        one.load(from, i);
        one.decode(to + i);
    }
    write_rope(args, row);
}

#define FATHOM_EMBED(name, type)                           \
    extern "C" __global__ void __launch_bounds__(kThreads) \
        name(const __grid_constant__ EmbedArgs args) {     \
        embed<type>(args);                                 \
    }
FATHOM_EMBED(smxx_f32_embed, WeightType::kF32)
FATHOM_EMBED(smxx_f16_embed, WeightType::kF16)
FATHOM_EMBED(smxx_bf16_embed, WeightType::kBf16)

extern "C" __global__ void __launch_bounds__(kNormThreads)
    smxx_f32_rms_norm(const __grid_constant__ RmsNormArgs args) {
    norm_row(args, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    smxx_f32_gather(const __grid_constant__ GatherArgs args) {
    const float* from = args.in + args.row[blockIdx.x] * args.width;
    float* to = args.out + blockIdx.x * args.width;
    for (int i = threadIdx.x; i < args.width; i += kThreads) to[i] = from[i];
}

__device__ __forceinline__ void store_value(float* to, float value) { *to = value; }

/// Rounded to nearest, ties to even, as the CPU does; a latent row holds no NaN worth keeping.
__device__ __forceinline__ void store_value(uint16_t* to, float value) {
    const uint32_t bits = __float_as_uint(value);
    *to = static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// Even and odd value of a rotated pair.
__device__ __forceinline__ float2 rotated(float2 x, const float* turn) {
    return make_float2(x.x * turn[0] - x.y * turn[1], x.x * turn[1] + x.y * turn[0]);
}

template <class Element>
__device__ __forceinline__ void mla_store(const MlaStoreArgs& args) {
    __shared__ float parts[kThreads / 32];
    const int row = blockIdx.x;
    const int pairs = args.qk_rope / 2;
    const int width = args.latent + args.qk_rope;
    const float* rope = args.rope + static_cast<int64_t>(row) * args.qk_rope;
    const int head_width = args.qk_nope + args.qk_rope;
    float* queries = args.queries + static_cast<int64_t>(row) * args.n_heads * head_width;
    for (int i = threadIdx.x; i < args.n_heads * pairs; i += kThreads) {
        const int pair = i % pairs;
        float* at = queries + i / pairs * head_width + args.qk_nope + 2 * pair;
        const float2 out = rotated(make_float2(at[0], at[1]), rope + 2 * pair);
        at[0] = out.x;
        at[1] = out.y;
    }
    const float* c = args.compressed + static_cast<int64_t>(row) * width;
    const int position = args.in.position[row];
    const int page = args.in.pages[args.in.page_begin[row] + position / 64];
    Element* to =
        static_cast<Element*>(args.kv) + (static_cast<int64_t>(page) * 64 + position % 64) * width;
    float sum = 0;
    for (int i = threadIdx.x; i < args.latent; i += kThreads) sum = fmaf(c[i], c[i], sum);
    const float mean = block_sum(sum, parts) / static_cast<float>(args.latent);
    const float factor = 1.0f / sqrtf(mean + args.epsilon);
    for (int i = threadIdx.x; i < args.latent; i += kThreads) {
        store_value(to + i, args.weight[i] * (c[i] * factor));
    }
    for (int pair = threadIdx.x; pair < pairs; pair += kThreads) {
        const float* from = c + args.latent + 2 * pair;
        const float2 out = rotated(make_float2(from[0], from[1]), rope + 2 * pair);
        store_value(to + args.latent + 2 * pair, out.x);
        store_value(to + args.latent + 2 * pair + 1, out.y);
    }
}

extern "C" __global__ void __launch_bounds__(kThreads)
    smxx_f32_mla_store(const __grid_constant__ MlaStoreArgs args) {
    mla_store<float>(args);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    smxx_bf16_mla_store(const __grid_constant__ MlaStoreArgs args) {
    mla_store<uint16_t>(args);
}

}  // namespace fathom::cuda
