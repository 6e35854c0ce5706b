#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/thread.h"

// Limits of the machine that results are compared with: reading memory, multiply-adds in registers.
namespace cpu_probe {

using fathom::ThreadPool;

inline double now() {
    const auto time = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(time).count();
}

#if defined(__x86_64__)

__attribute__((target("avx512f"))) inline float lane_sum(__m512 v) {
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, v);
    float total = 0;
    for (const float lane : lanes) total += lane;
    return total;
}

__attribute__((target("avx512f"))) inline double sum_avx512(const float* from, int64_t n) {
    __m512 sum[8];
    for (auto& s : sum) s = _mm512_setzero_ps();
    for (int64_t i = 0; i + 128 <= n; i += 128) {
        for (int j = 0; j < 8; ++j)
            sum[j] = _mm512_add_ps(sum[j], _mm512_loadu_ps(from + i + 16 * j));
        _mm_prefetch(reinterpret_cast<const char*>(from + i + 2048), _MM_HINT_T0);
    }
    for (int j = 1; j < 8; ++j) sum[0] = _mm512_add_ps(sum[0], sum[j]);
    return static_cast<double>(lane_sum(sum[0]));
}

/// Multiply-adds in registers, 24 chains so that latency does not show. Returns products done.
__attribute__((target("avx512f"))) inline double multiply_avx512(int64_t steps, float* sink) {
    __m512 acc[24];
    for (auto& a : acc) a = _mm512_set1_ps(*sink);
    const __m512 x = _mm512_set1_ps(0.5f);
    for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
        for (int j = 0; j < 24; ++j) acc[j] = _mm512_fmadd_ps(acc[j], x, x);
    }
    for (int j = 1; j < 24; ++j) acc[0] = _mm512_add_ps(acc[0], acc[j]);
    *sink = lane_sum(acc[0]) * 1e-30f;
    return static_cast<double>(steps) * 24 * 16;
}

__attribute__((target("avx512f,avx512bf16"))) inline double multiply_bf16(int64_t steps,
                                                                          float* sink) {
    __m512 acc[24];
    for (auto& a : acc) a = _mm512_set1_ps(*sink);
    const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3f00));
    for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
        for (int j = 0; j < 24; ++j) acc[j] = _mm512_dpbf16_ps(acc[j], x, x);
    }
    for (int j = 1; j < 24; ++j) acc[0] = _mm512_add_ps(acc[0], acc[j]);
    *sink = lane_sum(acc[0]) * 1e-30f;
    return static_cast<double>(steps) * 24 * 32;
}

__attribute__((target("avx2,fma"))) inline double multiply_avx2(int64_t steps, float* sink) {
    __m256 acc[12];
    for (auto& a : acc) a = _mm256_set1_ps(*sink);
    const __m256 x = _mm256_set1_ps(0.5f);
    for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; ++j) acc[j] = _mm256_fmadd_ps(acc[j], x, x);
    }
    for (int j = 1; j < 12; ++j) acc[0] = _mm256_add_ps(acc[0], acc[j]);
    alignas(32) float out[8];
    _mm256_store_ps(out, acc[0]);
    *sink = out[0] * 1e-30f;
    return static_cast<double>(steps) * 12 * 8;
}

#endif

inline double sum_plain(const float* from, int64_t n) {
    float sum[16] = {};
    for (int64_t i = 0; i + 16 <= n; i += 16) {
        for (int64_t j = 0; j < 16; ++j) sum[j] += from[i + j];
    }
    double total = 0;
    for (const float s : sum) total += static_cast<double>(s);
    return total;
}

inline double multiply_plain(int64_t steps, float* sink) {
    float acc[32];
    for (float& a : acc) a = *sink;
    for (int64_t i = 0; i < steps; ++i) {
        for (float& a : acc) a = a * 0.5f + 0.5f;
    }
    float total = 0;
    for (const float a : acc) total += a;
    *sink = total * 1e-30f;
    return static_cast<double>(steps) * 32;
}

struct Probe {
    double (*sum)(const float* from, int64_t n) = sum_plain;
    double (*multiply)(int64_t steps, float* sink) = multiply_plain;
    const char* peak_of = "mul+add, plain C++";
};

inline Probe probe_for(const std::string& isa) {
    Probe probe;
#if defined(__x86_64__)
    if (isa == "avx2") probe = {sum_plain, multiply_avx2, "vfmadd ymm"};
    if (isa == "avx512") probe = {sum_avx512, multiply_avx512, "vfmadd zmm"};
    if (isa == "avx512_bf16") probe = {sum_avx512, multiply_bf16, "vdpbf16ps zmm"};
#endif
    return probe;
}

/// Bytes a second of reading `memory` once with all threads.
inline double bandwidth(ThreadPool& pool, const Probe& probe, const unsigned char* memory,
                        uint64_t bytes) {
    std::vector<double> sums(static_cast<size_t>(pool.size()));
    const double start = now();
    pool.run([&](int32_t thread, int32_t n) {
        const int64_t count =
            static_cast<int64_t>(bytes / 4 / static_cast<uint64_t>(n)) / 128 * 128;
        sums[static_cast<size_t>(thread)] =
            probe.sum(reinterpret_cast<const float*>(memory) + thread * count, count);
    });
    const double time = now() - start;
    volatile double keep = sums[0];
    (void)keep;
    return static_cast<double>(bytes) / time;
}

inline double peak(ThreadPool& pool, const Probe& probe) {
    std::vector<double> done(static_cast<size_t>(pool.size()) * 16);
    std::vector<float> sink(static_cast<size_t>(pool.size()) * 16, 0.0f);
    const double start = now();
    pool.run([&](int32_t thread, int32_t) {
        const size_t at = static_cast<size_t>(thread) * 16;
        done[at] = probe.multiply(4'000'000, &sink[at]);
    });
    const double time = now() - start;
    double total = 0;
    for (const double d : done) total += d;
    return total / time;
}

}  // namespace cpu_probe
