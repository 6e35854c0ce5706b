// Operator calls to kernel launches. Everything here depends on the plan and the step's shape
// alone, so that a step can be captured once and run again.

#include <algorithm>

#include "base/checked.h"
#include "cuda/cuda_executor.h"

namespace fathom::cuda {
namespace {

// As the kernels have them.
constexpr uint32_t kLinearThreads = 128;
constexpr int32_t kLinearRows = 8;  // outputs a block
constexpr uint32_t kRowThreads = 256;
constexpr uint32_t kNormThreads = 128;
constexpr int32_t kGateRows = 16;
constexpr uint32_t kFfnThreads = 128;
constexpr int32_t kFfnUpRows = 4;
constexpr int32_t kFfnDownRows = 8;
constexpr uint32_t kTensorThreads = 256;
constexpr int32_t kTensorRows = 16;

int32_t blocks_of(int64_t count, int64_t each) {
    return static_cast<int32_t>(ceil_div(count, each));
}

uint32_t grid_of(int32_t count) { return static_cast<uint32_t>(count); }

size_t index_of(DType dtype) { return static_cast<size_t>(dtype); }

}  // namespace

template <class Args, class... More>
void CudaExecutor::launch(CUfunction function, std::array<uint32_t, 3> grid, uint32_t threads,
                          uint32_t shared_bytes, const Args& args, const More&... more) {
    void* parameters[] = {const_cast<Args*>(&args), const_cast<More*>(&more)...};
    device_.check(device_.api().cuLaunchKernel(function, grid[0], grid[1], grid[2], threads, 1, 1,
                                               shared_bytes, device_.stream(), parameters, nullptr),
                  "cuLaunchKernel");
}

void CudaExecutor::enqueue(const StepShape& shape) {
    step_ = shape;
    for (int32_t i = 0; i < plan_.n_calls;) i += enqueue_call(i);
}

/// Returns how many calls of the plan that were: two linear calls of one input are one launch, and
/// the norm that follows a kernel of one row is done by that kernel's last block.
int32_t CudaExecutor::enqueue_call(int32_t index) {
    const OpCall& call = plan_.calls[index];
    const int32_t n_rows = call.rows_from_gather != 0 ? step_.n_logit_rows : step_.n_rows;
    if (n_rows == 0) return 1;
    switch (call.op) {
        case Op::kEmbed: embed(call); break;
        case Op::kRmsNorm: rms_norm(call, n_rows); break;
        case Op::kLinear: return linear(index, n_rows);
        case Op::kMlaStore: mla_store(call); break;
        case Op::kMlaAttention: mla_attention(call); break;
        case Op::kMoeRoute: moe_route(call); break;
        case Op::kMoeFfn: return moe_ffn(index);
        case Op::kDenseFfn: return dense_ffn(index);
        case Op::kGatherRows:
            if (step_.n_logit_rows > 0) gather(call);
            break;
        case Op::kCount: break;
    }
    return 1;
}

void CudaExecutor::embed(const OpCall& call) {
    const Weight& table = weight(call.w[0]);
    const EmbedArgs args{.in = space_.in,
                         .tables = {space_.rope_turns, shape_.qk_rope / 2, shape_.rope_magnitude},
                         .table = table.data,
                         .out = slot(call.out[0]),
                         .rope = space_.rope,
                         .width = table.cols};
    launch(kernels_.embed[index_of(table.dtype)], {grid_of(step_.n_rows), 1, 1}, kRowThreads, 0,
           args);
}

RmsNormArgs CudaExecutor::norm_args(const OpCall& call) const {
    return {.residual = slot(call.in[0]),
            .addend = call.in[1] >= 0 ? slot(call.in[1]) : nullptr,
            .weight = static_cast<const float*>(weight(call.w[0]).data),
            .out = slot(call.out[0]),
            .width = static_cast<int32_t>(slot_width(call.in[0])),
            .epsilon = call.epsilon};
}

void CudaExecutor::rms_norm(const OpCall& call, int32_t n_rows) {
    launch(kernels_.rms_norm, {grid_of(n_rows), 1, 1}, kNormThreads, 0, norm_args(call));
}

/// The norm that reads what call `index` writes, if it comes next and there is one row.
const OpCall* CudaExecutor::norm_after(int32_t index, int32_t n_rows) const {
    if (n_rows != 1 || index + 1 >= plan_.n_calls) return nullptr;
    const OpCall& call = plan_.calls[index];
    const OpCall& next = plan_.calls[index + 1];
    const bool reads = next.in[1] == call.out[0] || (next.in[1] < 0 && next.in[0] == call.out[0]);
    const bool follows =
        next.op == Op::kRmsNorm && reads && next.rows_from_gather == call.rows_from_gather;
    return follows ? &next : nullptr;
}

LastBlockNorm CudaExecutor::last_block(const OpCall& norm) const {
    return {.norm = norm_args(norm), .arrived = space_.finished};
}

void CudaExecutor::gather(const OpCall& call) {
    const GatherArgs args{.row = space_.in.logit_row,
                          .in = slot(call.in[0]),
                          .out = slot(call.out[0]),
                          .width = slot_width(call.in[0])};
    launch(kernels_.gather, {grid_of(step_.n_logit_rows), 1, 1}, kRowThreads, 0, args);
}

bool CudaExecutor::is_wide(int64_t cols, DType dtype) const {
    return cols * dtype_bytes(dtype) % 16 == 0;
}

/// Tensor cores take inputs as BF16 and add up in another order than a single row does, so that
/// deterministic mode has no use for them.
bool CudaExecutor::uses_tensor_cores(int32_t n_rows, DType dtype) const {
    return n_rows > 1 && device_.options().deterministic == 0 &&
           (dtype == DType::kBF16 || dtype == DType::kF8E4M3);
}

void CudaExecutor::set_blocks(LinearArgs& args, int32_t outputs) {
    for (LinearPart& part : args.part) part.blocks = blocks_of(part.rows, outputs);
}

LinearPart CudaExecutor::plain_part(const OpCall& call) const {
    const auto rows = static_cast<int32_t>(weight(call.w[0]).rows);
    return {.w = view(call.w[0]),
            .out = slot(call.out[0]),
            .out_stride = slot_width(call.out[0]),
            .rows = rows,
            .head_rows = rows,
            .head_stride = 0,
            .head_offset = 0,
            .x_head_stride = 0,
            .blocks = 0};
}

void CudaExecutor::launch_linear(LinearArgs args, DType dtype, bool exact) {
    bool wide = is_wide(args.cols, dtype) && args.x_stride % 4 == 0 &&
                reinterpret_cast<uintptr_t>(args.x) % 16 == 0;
    bool whole_heads = true;  // no 16 outputs are of two heads
    for (const LinearPart& part : args.part) {
        wide = wide && part.x_head_stride % 4 == 0 &&
               reinterpret_cast<uintptr_t>(part.w.data) % 16 == 0;
        whole_heads = whole_heads && (part.head_rows == part.rows || part.head_rows % 16 == 0);
    }
    const size_t type = index_of(dtype);
    if (!exact && wide && whole_heads && uses_tensor_cores(args.n_rows, dtype)) {
        const size_t form = args.n_rows <= 8 ? 0 : args.n_rows <= 16 ? 1 : 2;
        set_blocks(args, kTensorRows);
        launch(kernels_.linear_tensor[type][form],
               {grid_of(args.part[0].blocks + args.part[1].blocks),
                grid_of(blocks_of(args.n_rows, int64_t{8} << form)), 1},
               kTensorThreads, 0, args);
        return;
    }
    // Every one of these forms adds up in the same order, so their choice changes no bit.
    CUfunction function = nullptr;
    int32_t inputs = 1;
    if (wide) {
        size_t form = 0;
        while (form < 3 && inputs < args.n_rows) {
            ++form;
            inputs *= 2;
        }
        function = kernels_.linear[type][form];
    } else {
        inputs = args.n_rows == 1 ? 1 : 4;
        function = kernels_.linear_narrow[type][args.n_rows == 1 ? 0 : 1];
    }
    set_blocks(args, kLinearRows);
    launch(function,
           {grid_of(args.part[0].blocks + args.part[1].blocks),
            grid_of(blocks_of(args.n_rows, inputs)), 1},
           kLinearThreads, 0, args);
}

int32_t CudaExecutor::linear(int32_t index, int32_t n_rows) {
    const OpCall& call = plan_.calls[index];
    const Weight& w = weight(call.w[0]);
    LinearArgs args{};
    args.part[0] = plain_part(call);
    args.x = slot(call.in[0]);
    args.x_stride = w.cols;
    args.cols = static_cast<int32_t>(w.cols);
    args.n_rows = n_rows;
    int32_t n_calls = 1;
    if (index + 1 < plan_.n_calls) {
        const OpCall& next = plan_.calls[index + 1];
        if (next.op == Op::kLinear && next.in[0] == call.in[0] &&
            next.rows_from_gather == call.rows_from_gather && weight(next.w[0]).dtype == w.dtype) {
            args.part[1] = plain_part(next);
            n_calls = 2;
        }
    }
    const OpCall* norm = n_calls == 1 ? norm_after(index, n_rows) : nullptr;
    if (norm != nullptr) {
        args.last = last_block(*norm);
        n_calls = 2;
    }
    launch_linear(args, w.dtype);
    return n_calls;
}

void CudaExecutor::mla_store(const OpCall& call) {
    const MlaStoreArgs args{.in = space_.in,
                            .rope = space_.rope,
                            .queries = slot(call.in[0]),
                            .compressed = slot(call.in[1]),
                            .weight = static_cast<const float*>(weight(call.w[0]).data),
                            .kv = kv_layer(call.layer),
                            .n_heads = shape_.n_heads,
                            .qk_nope = shape_.qk_nope,
                            .qk_rope = shape_.qk_rope,
                            .latent = shape_.kv_lora_rank,
                            .epsilon = call.epsilon};
    launch(kernels_.mla_store, {grid_of(step_.n_rows), 1, 1}, kRowThreads, 0, args);
}

void CudaExecutor::mla_attention(const OpCall& call) {
    for (int32_t first = 0; first < step_.n_rows; first += space_.attend_rows) {
        attend_group(call, first, std::min(space_.attend_rows, step_.n_rows - first));
    }
}

/// Queries to latent space, attention, values back, for some rows of the batch.
void CudaExecutor::attend_group(const OpCall& call, int32_t first, int32_t n_rows) {
    const int32_t heads = shape_.n_heads;
    const int32_t latent = shape_.kv_lora_rank;
    const int32_t head_width = shape_.qk_nope + shape_.qk_rope;
    float* queries = slot(call.in[0]) + int64_t{first} * heads * head_width;
    LinearArgs query{};
    query.part[0] = {.w = view(call.w[1]),
                     .out = space_.q_latent,
                     .out_stride = int64_t{heads} * latent,
                     .rows = heads * latent,
                     .head_rows = latent,
                     .head_stride = latent,
                     .head_offset = 0,
                     .x_head_stride = head_width,
                     .blocks = 0};
    query.x = queries;
    query.x_stride = int64_t{heads} * head_width;
    query.cols = shape_.qk_nope;
    query.n_rows = n_rows;
    launch_linear(query, weight(call.w[1]).dtype);

    AttendArgs attend{};
    attend.in = space_.in;
    attend.in.position += first;
    attend.in.page_begin += first;
    attend.q_latent = space_.q_latent;
    attend.queries = queries;
    attend.kv = kv_layer(call.layer);
    attend.part_z = space_.part_z;
    attend.part_state = space_.part_state;
    attend.arrived = space_.arrived;
    attend.z = space_.z;
    attend.n_heads = heads;
    attend.head_width = head_width;
    attend.qk_nope = shape_.qk_nope;
    attend.qk_rope = shape_.qk_rope;
    attend.latent = latent;
    attend.scale = shape_.softmax_scale * 1.44269504088896340736f;
    launch(kernels_.attend,
           {grid_of(step_.n_splits), grid_of(n_rows), grid_of(blocks_of(heads, kAttendHeads))},
           kAttendThreads, attend_shared_bytes(shape_, limits_.kv_dtype), attend);

    LinearArgs values{};
    values.part[0] = {.w = view(call.w[0]),
                      .out = slot(call.out[0]) + int64_t{first} * heads * shape_.v_head,
                      .out_stride = int64_t{heads} * shape_.v_head,
                      .rows = heads * shape_.v_head,
                      .head_rows = shape_.v_head,
                      .head_stride = shape_.qk_nope + shape_.v_head,
                      .head_offset = shape_.qk_nope,
                      .x_head_stride = latent,
                      .blocks = 0};
    values.x = space_.z;
    values.x_stride = int64_t{heads} * latent;
    values.cols = latent;
    values.n_rows = n_rows;
    launch_linear(values, weight(call.w[0]).dtype);
}

void CudaExecutor::moe_route(const OpCall& call) {
    const Weight& gate = weight(call.w[0]);
    LinearArgs logits{};
    logits.part[0] = {.w = view(call.w[0]),
                      .out = space_.router_logits,
                      .out_stride = gate.rows,
                      .rows = static_cast<int32_t>(gate.rows),
                      .head_rows = static_cast<int32_t>(gate.rows),
                      .head_stride = 0,
                      .head_offset = 0,
                      .x_head_stride = 0,
                      .blocks = 0};
    logits.x = slot(call.in[0]);
    logits.x_stride = gate.cols;
    logits.cols = static_cast<int32_t>(gate.cols);
    logits.n_rows = step_.n_rows;
    const bool sigmoid = shape_.scoring == Scoring::kSigmoid;
    RouteArgs args{};
    args.logits = space_.router_logits;
    args.bias = call.w[1] >= 0 ? static_cast<const float*>(weight(call.w[1]).data) : nullptr;
    args.ids = slot<int32_t>(call.out[0]);
    args.weights = slot(call.out[1]);
    args.n_rows = step_.n_rows;
    args.n_experts = shape_.n_routed_experts;
    args.top_k = shape_.top_k;
    args.n_group = shape_.n_group;
    args.topk_group = shape_.topk_group;
    args.sigmoid = sigmoid ? 1 : 0;
    args.group_score_top2 = shape_.group_score_top2;
    // V2's code leaves the single choice of top_k = 1 as it is; V3's has no such exception.
    args.normalise = shape_.norm_topk_prob != 0 && (shape_.top_k > 1 || sigmoid) ? 1 : 0;
    args.scale_always = shape_.scale_when_normalised;
    args.scaling = shape_.routed_scaling_factor;
    GroupArgs group = space_.group;
    group.n_rows = step_.n_rows;
    const bool aligned =
        is_wide(gate.cols, gate.dtype) && reinterpret_cast<uintptr_t>(gate.data) % 16 == 0;
    if (step_.n_rows == 1 && aligned && gate.dtype != DType::kF8E4M3) {
        logits.last.arrived = space_.finished;
        launch(kernels_.gate_route[index_of(gate.dtype)],
               {grid_of(blocks_of(gate.rows, kGateRows)), 1, 1}, kRowThreads, 0, logits, args,
               group);
        return;
    }
    // A router that picks another expert is another model, so its inputs are not rounded.
    launch_linear(logits, gate.dtype, true);
    launch(kernels_.route, {1, grid_of(blocks_of(step_.n_rows, kRowTile)), 1}, kRowThreads, 0, args,
           group);
}

void CudaExecutor::launch_ffn_up(FfnUpArgs args, DType dtype) {
    const bool wide = is_wide(args.cols, dtype);
    const bool tensor = wide && uses_tensor_cores(args.n_rows, dtype);
    const size_t form = args.n_rows == 1 ? 0 : 1;
    const size_t type = index_of(dtype);
    const CUfunction function = tensor ? kernels_.ffn_tensor_up[type]
                                : wide ? kernels_.ffn_up[type][form]
                                       : kernels_.ffn_narrow_up[type][form];
    const int32_t rows = tensor ? kTensorRows : kFfnUpRows;
    args.routed_blocks = std::max(blocks_of(args.routed_rows, rows), 1);
    int64_t blocks = blocks_of(args.shared_rows, rows);
    if (args.routed_rows > 0) {
        // At most as many experts as the tile's rows can choose.
        const int64_t most =
            std::min<int64_t>(args.group.most_active, int64_t{args.n_rows} * args.group.top_k);
        blocks += most * args.routed_blocks;
    }
    launch(function, {static_cast<uint32_t>(blocks), grid_of(blocks_of(args.n_rows, kRowTile)), 1},
           tensor ? kTensorThreads : kFfnThreads, 0, args);
}

void CudaExecutor::launch_ffn_down(const FfnDownArgs& args, DType dtype) {
    const bool wide = is_wide(args.routed_cols, dtype) && is_wide(args.shared_cols, dtype);
    const bool tensor = wide && uses_tensor_cores(args.n_rows, dtype);
    const size_t form = args.n_rows == 1 ? 0 : 1;
    const size_t type = index_of(dtype);
    const CUfunction function = tensor ? kernels_.ffn_tensor_down[type]
                                : wide ? kernels_.ffn_down[type][form]
                                       : kernels_.ffn_narrow_down[type][form];
    const int32_t rows = tensor ? kTensorRows : kFfnDownRows;
    launch(function,
           {grid_of(blocks_of(args.rows, rows)), grid_of(blocks_of(args.n_rows, kRowTile)), 1},
           tensor ? kTensorThreads : kFfnThreads, 0, args);
}

int32_t CudaExecutor::moe_ffn(int32_t index) {
    const OpCall& call = plan_.calls[index];
    const OpCall* norm = norm_after(index, step_.n_rows);
    const Weight& gate = weight(call.w[0]);
    const Weight& down = weight(call.w[2]);
    GroupArgs group = space_.group;
    group.n_rows = step_.n_rows;
    FfnUpArgs up{};
    up.gate = space_.matrices + call.w[0];
    up.up = space_.matrices + call.w[1];
    up.group = group;
    up.x = slot(call.in[0]);
    up.routed_hidden = space_.routed_hidden;
    up.shared_hidden = space_.shared_hidden;
    up.cols = shape_.hidden;
    up.routed_rows = shape_.moe_intermediate;
    up.n_rows = step_.n_rows;
    FfnDownArgs last{};
    last.down = space_.matrices + call.w[2];
    last.group = group;
    last.weights = slot(call.in[2]);
    last.routed_hidden = space_.routed_hidden;
    last.shared_hidden = space_.shared_hidden;
    last.out = slot(call.out[0]);
    last.rows = shape_.hidden;
    last.routed_cols = shape_.moe_intermediate;
    last.n_rows = step_.n_rows;
    if (call.w[3] < 0) {
        if (norm != nullptr) last.last = last_block(*norm);
        launch_ffn_up(up, gate.dtype);
        launch_ffn_down(last, down.dtype);
        return norm != nullptr ? 2 : 1;
    }
    const Weight* shared = plan_.weights + call.w[3];
    FfnUpArgs shared_up = up;
    shared_up.routed_rows = 0;
    FfnDownArgs shared_last = last;
    shared_last.routed_cols = 0;
    shared_last.add = 1;
    // One launch where routed and shared experts have one type.
    const bool up_together = shared[0].dtype == gate.dtype;
    const bool down_together =
        shared[2].dtype == down.dtype &&
        is_wide(last.routed_cols, down.dtype) == is_wide(shape_.shared_intermediate, down.dtype);
    FfnUpArgs& with_up = up_together ? up : shared_up;
    with_up.shared_gate = view(call.w[3]);
    with_up.shared_up = view(call.w[3] + 1);
    with_up.shared_rows = shape_.shared_intermediate;
    FfnDownArgs& with_down = down_together ? last : shared_last;
    with_down.shared_down = view(call.w[3] + 2);
    with_down.shared_cols = shape_.shared_intermediate;
    if (norm != nullptr) with_down.last = last_block(*norm);
    launch_ffn_up(up, gate.dtype);
    if (!up_together) launch_ffn_up(shared_up, shared[0].dtype);
    launch_ffn_down(last, down.dtype);
    if (!down_together) launch_ffn_down(shared_last, shared[2].dtype);
    return norm != nullptr ? 2 : 1;
}

int32_t CudaExecutor::dense_ffn(int32_t index) {
    const OpCall& call = plan_.calls[index];
    const OpCall* norm = norm_after(index, step_.n_rows);
    FfnUpArgs up{};
    up.shared_gate = view(call.w[0]);
    up.shared_up = view(call.w[1]);
    up.x = slot(call.in[0]);
    up.shared_hidden = space_.shared_hidden;
    up.cols = shape_.hidden;
    up.shared_rows = shape_.dense_intermediate;
    up.n_rows = step_.n_rows;
    launch_ffn_up(up, weight(call.w[0]).dtype);
    FfnDownArgs down{};
    down.shared_down = view(call.w[2]);
    down.shared_hidden = space_.shared_hidden;
    down.out = slot(call.out[0]);
    down.rows = shape_.hidden;
    down.shared_cols = shape_.dense_intermediate;
    down.n_rows = step_.n_rows;
    if (norm != nullptr) down.last = last_block(*norm);
    launch_ffn_down(down, weight(call.w[2]).dtype);
    return norm != nullptr ? 2 : 1;
}

}  // namespace fathom::cuda
