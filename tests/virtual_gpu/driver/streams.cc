// When work runs: as late as the driver's documentation allows.
//
// A stream is a queue that nobody works off until the host waits for it. Then steps of all streams
// that may run are taken in seeded order; with seed 0, only what the host waits for and what that
// needs. So a forgotten event wait or an early read by the host shows in the results.
#include <algorithm>

#include "driver/driver.h"

namespace virtual_gpu {

Stream* Driver::stream_of(CUstream handle) {
    if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
        return &default_stream;
    }
    auto* stream = reinterpret_cast<Stream*>(handle);
    const auto known = std::find(stream_order.begin(), stream_order.end(), stream);
    return known == stream_order.end() ? nullptr : stream;
}

bool Driver::is_runnable(const Stream& stream) const {
    if (stream.steps.empty()) {
        return false;
    }
    const Step& step = stream.steps.front();
    return step.wait == nullptr || step.wait->completed >= step.version;
}

void Driver::run_step(Stream* stream) {
    const Step step = std::move(stream->steps.front());
    stream->steps.pop_front();
    if (step.record != nullptr) {
        step.record->completed = std::max(step.record->completed, step.version);
    }
    if (step.work && sticky == CUDA_SUCCESS) {
        const CUresult result = step.work();
        sticky = sticky == CUDA_SUCCESS ? result : sticky;
    }
}

bool Driver::run_any(Stream* preferred) {
    if (preferred != nullptr && is_runnable(*preferred) && (settings.seed == 0 || random(2) == 0)) {
        run_step(preferred);
        return true;
    }
    std::vector<Stream*> runnable;
    for (Stream* stream : stream_order) {
        if (is_runnable(*stream)) {
            runnable.push_back(stream);
        }
    }
    if (runnable.empty()) {
        return false;
    }
    run_step(runnable[settings.seed == 0 ? 0 : random(runnable.size())]);
    return true;
}

CUresult Driver::drain(Stream* stream) {
    while (!stream->steps.empty() && run_any(stream)) {
    }
    return sticky;
}

CUresult Driver::drain_until(const Event& event, uint64_t version) {
    while (event.completed < version && run_any(nullptr)) {
    }
    return sticky;
}

CUresult Driver::drain_all() {
    while (run_any(nullptr)) {
    }
    return sticky;
}

size_t Driver::add_node(Stream* stream, GraphNode node) {
    node.after = stream->capture_after;
    node.graph = stream->capture;
    node.index = stream->capture->nodes.size();
    stream->capture_after = {node.index};
    stream->capture->nodes.push_back(std::move(node));
    return stream->capture->nodes.size() - 1;
}

CUresult Driver::submit(CUstream handle, Work work) {
    if (const CUresult result = ready()) {
        return result;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture != nullptr) {
        GraphNode node;
        node.work = std::move(work);
        add_node(stream, std::move(node));
        return CUDA_SUCCESS;
    }
    if (stream == &default_stream) {
        // It runs after everything in the blocking streams, and they after it.
        for (Stream* other : stream_order) {
            if (other->is_blocking) {
                drain(other);
            }
        }
        const CUresult result = sticky == CUDA_SUCCESS ? work() : sticky;
        // A refused argument harms nobody; a kernel that failed has harmed everybody.
        if (sticky == CUDA_SUCCESS && result != CUDA_ERROR_INVALID_VALUE) {
            sticky = result;
        }
        return result;
    }
    stream->steps.push_back({std::move(work), nullptr, nullptr, 0});
    return CUDA_SUCCESS;
}

CUresult Driver::submit_kernel(CUstream handle, KernelSpec spec) {
    Stream* stream = stream_of(handle);
    if (stream != nullptr && stream->capture != nullptr) {
        GraphNode node;
        node.kernel = std::make_shared<KernelSpec>(std::move(spec));
        add_node(stream, std::move(node));
        return ready();
    }
    return submit(handle, [this, spec] { return run_kernel(spec); });
}

CUresult Driver::run_kernel(const KernelSpec& spec) {
    kernels_run += 1;
    if (settings.lose_device != 0 && --settings.lose_device == 0) {
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    machine->settings.seed =
        settings.seed == 0 ? 0 : settings.seed + static_cast<uint32_t>(kernels_run);
    machine->settings.check = settings.check;
    machine->settings.count = settings.count;
    const LaunchError error = machine->run(spec.function->kernel, spec.request);
    return static_cast<CUresult>(error);
}

// Nodes whose predecessors are done run in seeded order; in the order of their making without one.
CUresult Driver::run_graph(const Graph& graph) {
    std::vector<bool> done(graph.nodes.size(), false);
    for (size_t left = graph.nodes.size(); left > 0; left--) {
        std::vector<const GraphNode*> runnable;
        for (const GraphNode& node : graph.nodes) {
            const bool is_free = std::all_of(node.after.begin(), node.after.end(),
                                             [&done](size_t index) { return done[index]; });
            if (!done[node.index] && is_free) {
                runnable.push_back(&node);
            }
        }
        if (runnable.empty()) {
            return CUDA_ERROR_INVALID_VALUE;  // A cycle.
        }
        const GraphNode& node = *runnable[settings.seed == 0 ? 0 : random(runnable.size())];
        done[node.index] = true;
        const CUresult result = node.kernel != nullptr ? run_kernel(*node.kernel)
                                : node.work            ? node.work()
                                                       : CUDA_SUCCESS;
        if (result != CUDA_SUCCESS) {
            return result;
        }
    }
    return CUDA_SUCCESS;
}

}  // namespace virtual_gpu
