// The edge of the CPU backend: what it refuses, what it takes, what it leaves alone.

#include "cpu/cpu_executor.h"
#include "unit/cpu_support.h"
#include "unit/processor_flags.h"

using namespace cpu_test;

namespace {

/// Status and text of preparing a plan.
struct Refusal {
    int32_t status;
    std::string text;
};

Refusal prepare(const Plan& plan, const Limits& limits) {
    const BackendTable* table = cpu_backend();
    const BackendOptions options{.n_threads = 1};
    BackendError error{};
    void* device = nullptr;
    void* executor = nullptr;
    REQUIRE(table->open(&options, &device, &error) == 0);
    const int32_t status = table->prepare(device, &plan, &limits, &executor, &error);
    if (status == 0) table->release(executor);
    table->close(device);
    return {status, error.text};
}

constexpr int32_t kInvalid = 1;       // Status::kInvalidArgument
constexpr int32_t kNoMemory = 6;      // Status::kNoMemory
constexpr int32_t kUnsupported = 11;  // Status::kUnsupported

}  // namespace

TEST_CASE("cpu backend: the kernel knows the same instruction sets", "[cpu]") {
    // Fails when a variant is lost: all tests of variants would then run the scalar one and pass.
    const std::vector<std::string> sets = fathom::test::instruction_sets();
    for (int32_t isa = 1; isa <= 4; ++isa) {
        const CpuKernels* kernels = cpu_kernels(static_cast<CpuIsa>(isa));
        CAPTURE(isa, sets.back());
        REQUIRE((kernels != nullptr) == (isa <= static_cast<int32_t>(sets.size())));
        if (kernels != nullptr) {
            CHECK(std::string(kernels->name) == sets[static_cast<size_t>(isa) - 1]);
        }
    }
    REQUIRE(cpu_kernels(CpuIsa::kAuto) != nullptr);
}

TEST_CASE("cpu backend: open takes what the processor has", "[cpu]") {
    // Fails when a variant is offered that the processor lacks, or one that it has is refused.
    const BackendTable* table = cpu_backend();
    for (int32_t isa = 0; isa <= 4; ++isa) {
        const BackendOptions options{.n_threads = 1, .isa = static_cast<CpuIsa>(isa)};
        BackendError error{};
        void* device = nullptr;
        const int32_t status = table->open(&options, &device, &error);
        if (cpu_kernels(options.isa) == nullptr) {
            CHECK(status == kUnsupported);
            CHECK(std::string(error.text).find("instruction set") != std::string::npos);
            continue;
        }
        REQUIRE(status == 0);
        const std::string text = table->describe(device);
        CHECK(text.find("\"threads\":1") != std::string::npos);
        if (isa != 0) {
            CHECK(text.find(std::string("\"isa\":\"") + isa_name(options.isa) + '"') == 0);
        }
        table->close(device);
    }
    for (const int32_t n_threads : {-1, 1025}) {
        const BackendOptions options{.n_threads = n_threads};
        BackendError error{};
        void* device = nullptr;
        CHECK(table->open(&options, &device, &error) == kInvalid);
    }
}

TEST_CASE("cpu backend: memory for weights", "[cpu]") {
    // Fails when weight memory is unaligned, or too much of it ends in something but a status.
    const BackendTable* table = cpu_backend();
    REQUIRE(table->host_memory == 1);
    for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, uint64_t{5} << 20}) {
        void* memory = nullptr;
        BackendError error{};
        REQUIRE(table->alloc(nullptr, bytes, &memory, &error) == 0);
        CHECK(reinterpret_cast<uintptr_t>(memory) % 64 == 0);
        const std::vector<unsigned char> from(bytes, 7);
        CHECK(table->upload(nullptr, memory, from.data(), bytes, &error) == 0);
        if (bytes > 0) CHECK(static_cast<unsigned char*>(memory)[bytes - 1] == 7);
        table->free(nullptr, memory, bytes);
    }
    for (const uint64_t bytes : {uint64_t{1} << 50, UINT64_MAX}) {
        void* memory = nullptr;
        BackendError error{};
        CHECK(table->alloc(nullptr, bytes, &memory, &error) == kNoMemory);
    }
}

TEST_CASE("cpu backend: the estimate is what is taken", "[cpu]") {
    // Fails when memory_need and prepare disagree: a budget would be broken or wasted.
    const TestModel model(ModelSpec{});
    for (const int32_t n_threads : {1, 3}) {
        const BackendOptions options{.n_threads = n_threads};
        Harness harness(model, options, kTestLimits);
        uint64_t workspace = 0;
        uint64_t kv = 0;
        cpu_backend()->memory_need(&model.plan(), &kTestLimits, &options, &workspace, &kv);
        const CpuExecutor& executor = *static_cast<CpuExecutor*>(harness.executor());
        CHECK(workspace == executor.space.bytes);
        const uint64_t row = static_cast<uint64_t>(model.spec().rkv + model.spec().rope) * 4;
        CHECK(kv == row * 64 * static_cast<uint64_t>(kTestLimits.n_pages) * 2);
    }
    // Sizes that no machine has saturate instead of wrapping round to something small.
    Limits huge = kTestLimits;
    huge.max_rows = INT32_MAX;
    huge.n_pages = INT32_MAX;
    uint64_t workspace = 0;
    uint64_t kv = 0;
    const BackendOptions options{.n_threads = 1};
    cpu_backend()->memory_need(&model.plan(), &huge, &options, &workspace, &kv);
    CHECK(workspace > uint64_t{1} << 40);
    CHECK(kv > uint64_t{1} << 44);
}

TEST_CASE("cpu backend: a plan that does not fit is refused", "[cpu]") {
    // Fails when an operator could index outside a slot or a weight.
    const TestModel model(ModelSpec{});
    CHECK(prepare(model.plan(), kTestLimits).status == 0);
    const auto with = [&](auto&& change) {
        std::vector<OpCall> calls(model.plan().calls, model.plan().calls + model.plan().n_calls);
        std::vector<SlotInfo> slots(model.plan().slots, model.plan().slots + model.plan().n_slots);
        std::vector<Weight> weights(model.plan().weights,
                                    model.plan().weights + model.plan().n_weights);
        Plan plan = model.plan();
        plan.calls = calls.data();
        plan.slots = slots.data();
        plan.weights = weights.data();
        change(plan, calls, slots, weights);
        const Refusal refusal = prepare(plan, kTestLimits);
        CHECK(refusal.status == kInvalid);
        CHECK_FALSE(refusal.text.empty());
    };
    using Calls = std::vector<OpCall>&;
    using Slots = std::vector<SlotInfo>&;
    using Weights = std::vector<Weight>&;
    for (int32_t i = 0; i < model.plan().n_calls; ++i) {
        INFO("call " << i);
        const size_t at = static_cast<size_t>(i);
        const OpCall& original = model.plan().calls[i];
        with([&](Plan&, Calls c, Slots, Weights) { c[at].op = Op::kCount; });
        if (original.in[0] >= 0) {
            with([&](Plan& p, Calls c, Slots, Weights) { c[at].in[0] = p.n_slots; });
            with([&](Plan&, Calls c, Slots, Weights) { c[at].in[0] = -2; });
            with([&](Plan&, Calls c, Slots s, Weights) {
                ++s[static_cast<size_t>(c[at].in[0])].width;
            });
        }
        if (original.out[0] >= 0) {
            with([&](Plan& p, Calls c, Slots, Weights) { c[at].out[0] = p.n_slots; });
        }
        if (original.w[0] >= 0) {
            with([&](Plan& p, Calls c, Slots, Weights) { c[at].w[0] = p.n_weights; });
            with([&](Plan&, Calls c, Slots, Weights w) {
                ++w[static_cast<size_t>(c[at].w[0])].cols;
            });
            with([&](Plan&, Calls c, Slots, Weights w) {
                w[static_cast<size_t>(c[at].w[0])].data = nullptr;
            });
        }
        if (original.op == Op::kMlaStore || original.op == Op::kMlaAttention) {
            with([&](Plan& p, Calls c, Slots, Weights) { c[at].layer = p.shape.n_layers; });
        }
        if (original.op == Op::kMoeFfn) {
            with([&](Plan& p, Calls c, Slots, Weights) { c[at].w[2] = p.n_weights - 5; });
            with([&](Plan&, Calls c, Slots, Weights w) {
                w[static_cast<size_t>(c[at].w[1]) + 3].dtype = DType::kF16;
            });
        }
    }
    with([](Plan& p, Calls, Slots, Weights) { p.shape.top_k = p.shape.n_routed_experts + 1; });
    with([](Plan& p, Calls, Slots, Weights) { p.shape.n_group = 3; });
    with([](Plan& p, Calls, Slots, Weights) { p.shape.topk_group = 5; });
    with([](Plan& p, Calls, Slots, Weights) { p.shape.qk_rope = 7; });
    with([](Plan& p, Calls, Slots, Weights) { p.logits_slot = p.n_slots; });
}

TEST_CASE("cpu backend: limits that cannot be are refused", "[cpu]") {
    // Fails when absurd limits reach the allocation, or a KV type that no operator reads.
    const TestModel model(ModelSpec{});
    Limits limits = kTestLimits;
    limits.kv_dtype = DType::kF16;
    CHECK(prepare(model.plan(), limits).status == kUnsupported);
    limits = kTestLimits;
    limits.max_rows = 0;
    CHECK(prepare(model.plan(), limits).status == kInvalid);
    limits = kTestLimits;
    limits.n_pages = INT32_MAX;
    limits.max_rows = INT32_MAX;
    CHECK(prepare(model.plan(), limits).status == kNoMemory);
}

TEST_CASE("cpu backend: a batch that lies is refused, and the next one runs", "[cpu]") {
    // Fails when a batch can make an operator read outside of what was prepared.
    const TestModel model(ModelSpec{});
    Harness harness(model, {.n_threads = 1}, kTestLimits);
    BackendError error{};
    const auto refused = [&](const std::vector<StepSequence>& step) {
        CHECK(harness.try_step(step, &error) == kInvalid);
        CHECK(std::string(error.text).find("batch") == 0);
    };
    refused({});
    refused({{{-1}, 0, {0}}});
    refused({{{model.spec().vocab}, 0, {0}}});
    refused({{{1}, -1, {0}}});
    refused({{{1}, 0, {-1}}});
    refused({{{1}, 0, {kTestLimits.n_pages}}});
    refused({{{1}, 64, {0}}});
    refused({{random_tokens(129, 9, 1), 0, {0, 1, 2}}});
    refused({{{1}, 0, {0}}, {{}, 0, {1}}});
    refused(std::vector<StepSequence>(17, {{1}, 0, {0}}));
    CHECK(harness.try_step({{{0}, 63, {kTestLimits.n_pages - 1}}}, &error) == 0);
    CHECK(harness.try_step({{random_tokens(128, 9, 1), 0, {0, 1}}}, &error) == 0);
    const BackendTable* table = cpu_backend();
    CHECK(table->copy_page(harness.executor(), 0, kTestLimits.n_pages, 1, &error) == kInvalid);
    CHECK(table->copy_page(harness.executor(), -1, 0, 1, &error) == kInvalid);
    CHECK(table->copy_page(harness.executor(), 0, 1, 65, &error) == kInvalid);
    CHECK(table->copy_page(harness.executor(), 0, 1, 64, &error) == 0);
}

TEST_CASE("cpu backend: equal scores route to the lower expert", "[cpu]") {
    // Fails when ties depend on the variant or on how top-k scans: results would differ between
    // machines. All gate rows are zero, so all experts score alike; V3's bias is zero too.
    for (const bool v3 : {false, true}) {
        ModelSpec spec;
        spec.v3 = v3;
        const TestModel model(spec);
        std::vector<Weight> weights(model.plan().weights,
                                    model.plan().weights + model.plan().n_weights);
        const std::vector<float> zero(static_cast<size_t>(spec.experts * spec.hidden), 0.0f);
        Plan plan = model.plan();
        plan.weights = weights.data();
        const OpCall* route = nullptr;
        for (int32_t i = 0; i < plan.n_calls; ++i) {
            if (plan.calls[i].op == Op::kMoeRoute) route = plan.calls + i;
        }
        REQUIRE(route != nullptr);
        weights[static_cast<size_t>(route->w[0])].data = zero.data();
        weights[static_cast<size_t>(route->w[0])].dtype = DType::kF32;
        if (route->w[1] >= 0) weights[static_cast<size_t>(route->w[1])].data = zero.data();
        for (const CpuIsa isa : runnable_isas()) {
            CpuDevice device(*cpu_kernels(isa), {.n_threads = 1, .isa = isa}, 1);
            CpuExecutor executor(device, plan, kTestLimits);
            const int32_t token = 3, position = 0, page = 0;
            const SequenceRows rows{0, 1, &page, 1, 0};
            executor.run({1, 1, 0, 0, &token, &position, &rows, nullptr});
            const int32_t* ids = executor.slot<int32_t>(route->out[0]);
            const float* found = executor.slot<float>(route->out[1]);
            for (int32_t k = 0; k < spec.top_k; ++k) {
                CHECK(ids[k] == k);
                CHECK(std::abs(found[k] - (v3 ? 2.5f / 4 : 3.0f / 16)) < 1e-6f);
            }
        }
    }
}
