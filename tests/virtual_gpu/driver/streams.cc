// When work runs: as late as the driver's documentation allows.
//
// A stream is a queue that nobody works off until the host waits for it. Then steps of all streams
// that may run are taken in seeded order; with seed 0, only what the host waits for and what that
// needs. So a forgotten event wait or an early read by the host shows in the results.
#include <algorithm>
#include <chrono>
#include <utility>

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

// False if the step waits for another device: it stays at the head of its stream.
bool Driver::run_step(Stream* stream) {
    const Step step = stream->steps.front();
    if (step.work && sticky == CUDA_SUCCESS) {
        const CUresult result = step.work();
        if (result == CUDA_ERROR_NOT_READY) {
            return false;
        }
        sticky = sticky == CUDA_SUCCESS ? result : sticky;
    }
    if (step.record != nullptr) {
        step.record->completed = std::max<uint64_t>(step.record->completed, step.version);
    }
    stream->steps.pop_front();
    shared().moved.notify_all();
    return true;
}

bool Driver::run_any(Stream* preferred) {
    if (preferred != nullptr && is_runnable(*preferred) &&
        (settings().seed == 0 || random(2) == 0) && run_step(preferred)) {
        return true;
    }
    std::vector<Stream*> runnable;
    for (Stream* stream : stream_order) {
        if (is_runnable(*stream)) {
            runnable.push_back(stream);
        }
    }
    while (!runnable.empty()) {
        const size_t chosen = settings().seed == 0 ? 0 : random(runnable.size());
        if (run_step(runnable[chosen])) {
            return true;
        }
        runnable.erase(runnable.begin() + static_cast<long>(chosen));
    }
    return false;
}

// Nothing here can move: the work of other devices, and the threads that drive them, get a turn.
// False when that has lasted too long.
bool Driver::wait_for_others(uint64_t* waited_us) {
    for (const auto& other : shared().devices) {
        if (other.get() == this || other->machine == nullptr || !other->mutex.try_lock()) {
            continue;
        }
        std::lock_guard lock(other->mutex, std::adopt_lock);
        CUcontext mine = std::exchange(current_context(), context_of(other->device));
        const bool has_moved = other->run_any(nullptr);
        current_context() = mine;
        if (has_moved) {
            return true;
        }
    }
    // Another thread of this process says when it has moved; another process cannot.
    constexpr uint64_t kPauseUs = 200;
    std::unique_lock pause(shared().pause_mutex);
    shared().moved.wait_for(pause, std::chrono::microseconds(kPauseUs));
    *waited_us += kPauseUs;
    if (*waited_us < settings().peer_timeout_ms * 1000) {
        return true;
    }
    complain("device " + std::to_string(device) + " waits for another device's work in vain");
    sticky = CUDA_ERROR_LAUNCH_TIMEOUT;
    return false;
}

CUresult Driver::run_to_end(const Work& work) {
    uint64_t waited_us = 0;
    for (;;) {
        const CUresult result = work();
        if (result != CUDA_ERROR_NOT_READY) {
            return result;
        }
        if (!run_any(nullptr) && !wait_for_others(&waited_us)) {
            return sticky;
        }
    }
}

CUresult Driver::drain(Stream* stream) {
    for (uint64_t waited_us = 0; !stream->steps.empty();) {
        if (!run_any(stream) && !wait_for_others(&waited_us)) {
            break;
        }
    }
    return sticky;
}

CUresult Driver::drain_until(const Event& event, uint64_t version) {
    for (uint64_t waited_us = 0; event.completed < version;) {
        if (!run_any(nullptr) && !wait_for_others(&waited_us)) {
            break;
        }
    }
    return sticky;
}

CUresult Driver::drain_all() {
    const auto is_idle = [this] {
        return default_stream.steps.empty() &&
               std::all_of(stream_order.begin(), stream_order.end(),
                           [](const Stream* stream) { return stream->steps.empty(); });
    };
    for (uint64_t waited_us = 0; !is_idle();) {
        if (!run_any(nullptr) && !wait_for_others(&waited_us)) {
            break;
        }
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
    stream->last_kernel = nullptr;
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
        const CUresult result = sticky == CUDA_SUCCESS ? run_to_end(work) : sticky;
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
    spec.section = section;
    spec.number = std::make_shared<uint32_t>(0);
    Stream* stream = stream_of(handle);
    if (stream != nullptr && stream->capture != nullptr) {
        GraphNode node;
        const std::vector<size_t>& after = stream->capture_after;
        if (spec.is_dependent && after.size() == 1 &&
            stream->capture->nodes[after[0]].kernel != nullptr) {
            spec.predecessor = stream->capture->nodes[after[0]].kernel->number;
        }
        node.kernel = std::make_shared<KernelSpec>(std::move(spec));
        add_node(stream, std::move(node));
        return ready();
    }
    if (stream != nullptr && spec.is_dependent) {
        spec.predecessor = stream->last_kernel;
    }
    const CUresult result = submit(handle, [this, spec] { return run_kernel(spec); });
    if (stream != nullptr) {
        stream->last_kernel = spec.number;
    }
    return result;
}

CUresult Driver::run_kernel(const KernelSpec& spec) {
    kernels_run += 1;
    if (settings().lose_device != 0 && --shared().settings.lose_device == 0) {
        return CUDA_ERROR_DEVICE_UNAVAILABLE;
    }
    machine->settings.seed =
        settings().seed == 0 ? 0 : settings().seed + static_cast<uint32_t>(kernels_run);
    machine->settings.check = settings().check;
    machine->settings.count = settings().count;
    Section& counted = spec.section != nullptr ? *spec.section : *section;
    if (last_section_ != &counted || last_section_time_ != counted.times) {
        machine->begin_step();
        last_section_ = &counted;
        last_section_time_ = counted.times;
    }
    counted.kernels_run += 1;
    LaunchRequest request = spec.request;
    request.counters = &counted.kernels[spec.function->kernel];
    request.depends_on = spec.predecessor != nullptr ? *spec.predecessor : 0;
    const LaunchError error = machine->run(spec.function->kernel, std::move(request));
    if (spec.number != nullptr) {
        *spec.number = machine->last_launch();
    }
    return static_cast<CUresult>(error);
}

// Nodes whose predecessors are done run in seeded order; in the order of their making without one.
CUresult Driver::run_graph(GraphRun* run) {
    while (run->left > 0) {
        std::vector<const GraphNode*> runnable;
        for (const GraphNode& node : run->graph.nodes) {
            const bool is_free = std::all_of(node.after.begin(), node.after.end(),
                                             [run](size_t index) { return run->done[index]; });
            if (!run->done[node.index] && is_free) {
                runnable.push_back(&node);
            }
        }
        if (runnable.empty()) {
            return CUDA_ERROR_INVALID_VALUE;  // A cycle.
        }
        CUresult result = CUDA_ERROR_NOT_READY;
        while (!runnable.empty() && result == CUDA_ERROR_NOT_READY) {
            const size_t chosen = settings().seed == 0 ? 0 : random(runnable.size());
            const GraphNode& node = *runnable[chosen];
            runnable.erase(runnable.begin() + static_cast<long>(chosen));
            if (node.kernel != nullptr) {
                KernelSpec spec = *node.kernel;
                spec.section = run->section;
                result = run_kernel(spec);
            } else {
                result = node.work ? node.work() : CUDA_SUCCESS;
            }
            run->done[node.index] = result == CUDA_SUCCESS;
        }
        if (result != CUDA_SUCCESS) {
            return result;
        }
        run->left -= 1;
    }
    return CUDA_SUCCESS;
}

}  // namespace virtual_gpu
