// What an executor looks up or computes once: kernels by name, weights by number, rotations.

#include <cstring>
#include <string>

#include "cuda/cuda_executor.h"

namespace fathom::cuda {
namespace {

constexpr const char* kTypeNames[] = {"f32", "f16", "bf16", "f8"};
static_assert(static_cast<int>(DType::kF8E4M3) == 3);

struct Turn {
    double cosine;
    double sine;
};

Turn turned(Turn a, Turn b) {
    return {a.cosine * b.cosine - a.sine * b.sine, a.cosine * b.sine + a.sine * b.cosine};
}

/// Cosine and sine by their series, after halving the angle until it is small: this library links
/// no mathematics.
Turn turn_of(double angle) {
    int n_halved = 0;
    while (angle > 0.125 || angle < -0.125) {
        angle *= 0.5;
        ++n_halved;
    }
    Turn turn{1, 0};
    double term = 1;
    for (int n = 1; n <= 14; ++n) {
        term *= angle / n;
        const double sign = n / 2 % 2 == 0 ? 1 : -1;
        (n % 2 == 0 ? turn.cosine : turn.sine) += sign * term;
    }
    for (int i = 0; i < n_halved; ++i) turn = turned(turn, turn);
    return turn;
}

/// The rotations of RopeTables: each entry is the product of two that are half as far, so that
/// rounding errors stay few.
std::vector<double> rope_turns(const ModelShape& shape) {
    const auto pairs = static_cast<size_t>(shape.qk_rope) / 2;
    std::vector<Turn> table(3 * 256 * pairs);
    for (size_t pair = 0; pair < pairs; ++pair) {
        Turn unit = turn_of(shape.rope_inverse_frequency[pair]);
        for (size_t digit = 0; digit < 3; ++digit) {
            const auto at = [&](size_t i) -> Turn& {
                return table[(digit * 256 + i) * pairs + pair];
            };
            at(0) = {1, 0};
            at(1) = unit;
            for (size_t i = 2; i < 256; ++i) at(i) = turned(at(i / 2), at(i - i / 2));
            unit = turned(at(128), at(128));
        }
    }
    std::vector<double> values(2 * table.size());
    std::memcpy(values.data(), table.data(), values.size() * sizeof(double));
    return values;
}

}  // namespace

uint32_t attend_shared_bytes(const ModelShape& shape, DType kv_dtype) {
    const int stages = kv_dtype == DType::kBF16 ? kAttendStages<2> : kAttendStages<4>;
    return static_cast<uint32_t>(int64_t{stages} * kAttendTokens *
                                 (shape.kv_lora_rank + shape.qk_rope) * dtype_bytes(kv_dtype));
}

KernelTable find_kernels(const CudaDevice& device, const ModelShape& shape, DType kv_dtype) {
    KernelTable table{};
    const auto find = [&](const auto&... parts) {
        return device.kernel(concat("smxx_", parts...));
    };
    for (size_t type = 0; type < KernelTable::kTypes; ++type) {
        const char* name = kTypeNames[type];
        if (type < 3) {
            table.embed[type] = find(name, "_embed");
            table.gate_route[type] = find(name, "_gate_route");
        }
        for (size_t i = 0; i < 4; ++i) table.linear[type][i] = find(name, "_linear_", 1 << i);
        for (size_t i = 0; i < 2; ++i) {
            const int inputs = i == 0 ? 1 : 4;
            table.linear_narrow[type][i] = find(name, "_linear_narrow_", inputs);
            table.ffn_up[type][i] = find(name, "_ffn_up_", inputs);
            table.ffn_down[type][i] = find(name, "_ffn_down_", inputs);
            table.ffn_narrow_up[type][i] = find(name, "_ffn_narrow_up_", inputs);
            table.ffn_narrow_down[type][i] = find(name, "_ffn_narrow_down_", inputs);
        }
    }
    for (const DType type : {DType::kBF16, DType::kF8E4M3}) {
        const auto index = static_cast<size_t>(type);
        const char* name = kTypeNames[index];
        for (size_t i = 0; i < 3; ++i) {
            table.linear_tensor[index][i] = find(name, "_linear_tensor_", 1 << i);
        }
        table.ffn_tensor_up[index] = find(name, "_ffn_tensor_up");
        table.ffn_tensor_down[index] = find(name, "_ffn_tensor_down");
    }
    table.rms_norm = find("f32_rms_norm");
    table.gather = find("f32_gather");
    table.route = find("f32_route");
    const char* kv = kv_dtype == DType::kF32 ? "f32" : "bf16";
    table.mla_store = find(kv, "_mla_store");
    const int latent = shape.kv_lora_rank <= 64 ? 64 : shape.kv_lora_rank <= 256 ? 256 : 512;
    table.attend = find(kv, "_attend_", latent);
    device.check(device.api().cuFuncSetAttribute(
                     table.attend, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                     static_cast<int>(attend_shared_bytes(shape, kv_dtype))),
                 "cuFuncSetAttribute");
    return table;
}

void CudaExecutor::upload_tables() {
    const CudaApi& api = device_.api();
    const auto put = [&](void* to, const void* from, uint64_t bytes) {
        if (bytes == 0) return;
        device_.check(api.cuMemcpyHtoD(reinterpret_cast<CUdeviceptr>(to), from, bytes),
                      "cuMemcpyHtoD");
    };
    const std::vector<double> turns = rope_turns(shape_);
    put(space_.rope_turns, turns.data(), turns.size() * sizeof(double));
    std::vector<MatrixView> views;
    views.reserve(static_cast<size_t>(plan_.n_weights));
    for (int32_t i = 0; i < plan_.n_weights; ++i) views.push_back(view(i));
    put(space_.matrices, views.data(), views.size() * sizeof(MatrixView));
    device_.check(api.cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(space_.arrived), 0,
                                      space_.arrived_bytes, device_.stream()),
                  "cuMemsetD8Async");
    device_.check(api.cuStreamSynchronize(device_.stream()), "cuStreamSynchronize");
}

}  // namespace fathom::cuda
