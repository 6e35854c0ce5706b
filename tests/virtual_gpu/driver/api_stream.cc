// Streams, events, capture and graphs.
#include <algorithm>
#include <cstring>

#include "driver/driver.h"

using namespace virtual_gpu;

namespace {

using EventHandle = std::shared_ptr<Event>;

EventHandle& event_of(CUevent handle) { return *reinterpret_cast<EventHandle*>(handle); }

Graph* graph_of(CUgraph handle) { return reinterpret_cast<Graph*>(handle); }

}  // namespace

VIRTUAL_GPU_API cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    auto made = std::make_unique<Stream>();
    made->is_blocking = (flags & CU_STREAM_NON_BLOCKING) == 0;
    *stream = reinterpret_cast<CUstream>(made.get());
    driver.stream_order.push_back(made.get());
    driver.streams.insert(std::move(made));
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuStreamCreate(CUstream* stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}

VIRTUAL_GPU_API cuStreamDestroy_v2(CUstream handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    Stream* stream = driver.stream_of(handle);
    if (stream == nullptr || stream == &driver.default_stream) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    driver.drain(stream);
    std::erase(driver.stream_order, stream);
    std::erase_if(driver.streams, [stream](const auto& owned) { return owned.get() == stream; });
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuStreamSynchronize(CUstream handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    Stream* stream = driver.stream_of(handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->capture != nullptr) {
        stream->capture_is_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    if (stream == &driver.default_stream) {
        for (Stream* other : driver.stream_order) {
            if (other->is_blocking) {
                driver.drain(other);
            }
        }
    }
    return driver.drain(stream);
}

// A host that polls is told once that there is work, and the work is done by its next question.
VIRTUAL_GPU_API cuStreamQuery(CUstream handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    Stream* stream = driver.stream_of(handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream->steps.empty()) {
        return CUDA_SUCCESS;
    }
    driver.advance(stream);
    return driver.sticky == CUDA_SUCCESS ? CUDA_ERROR_NOT_READY : driver.sticky;
}

VIRTUAL_GPU_API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    std::lock_guard lock(Driver::instance().mutex);
    const Stream* stream = Driver::instance().stream_of(handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    *status = stream->capture == nullptr  ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture_is_broken ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                          : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuEventCreate(CUevent* event, unsigned) {
    std::lock_guard lock(Driver::instance().mutex);
    if (const CUresult result = Driver::instance().ready()) {
        return result;
    }
    *event = reinterpret_cast<CUevent>(new EventHandle(std::make_shared<Event>()));
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuEventDestroy_v2(CUevent event) {
    std::lock_guard lock(Driver::instance().mutex);
    delete reinterpret_cast<EventHandle*>(event);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuEventRecord(CUevent handle, CUstream stream_handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    Stream* stream = driver.stream_of(stream_handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    EventHandle event = event_of(handle);
    if (stream->capture != nullptr) {
        event->capture = stream->capture;
        event->nodes = stream->capture_after;
        return CUDA_SUCCESS;
    }
    event->capture = nullptr;
    event->recorded += 1;
    stream->steps.push_back({nullptr, event, nullptr, event->recorded});
    return stream == &driver.default_stream ? driver.drain(stream) : CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuStreamWaitEvent(CUstream stream_handle, CUevent handle, unsigned) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    Stream* stream = driver.stream_of(stream_handle);
    if (stream == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    EventHandle event = event_of(handle);
    if (event->capture != nullptr) {
        // Waiting for a captured event joins the capture.
        if (stream->capture != nullptr && stream->capture != event->capture) {
            return CUDA_ERROR_STREAM_CAPTURE_MERGE;
        }
        stream->capture = event->capture;
        stream->capture_after.insert(stream->capture_after.end(), event->nodes.begin(),
                                     event->nodes.end());
        return CUDA_SUCCESS;
    }
    if (stream->capture != nullptr) {
        stream->capture_is_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    stream->steps.push_back({nullptr, nullptr, event, event->recorded});
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuEventSynchronize(CUevent handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    return driver.drain_until(*event_of(handle), event_of(handle)->recorded);
}

VIRTUAL_GPU_API cuEventQuery(CUevent handle) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    const EventHandle event = event_of(handle);
    if (event->completed >= event->recorded) {
        return CUDA_SUCCESS;
    }
    driver.advance(nullptr);
    return driver.sticky == CUDA_SUCCESS ? CUDA_ERROR_NOT_READY : driver.sticky;
}

// There is no time on this device.
VIRTUAL_GPU_API cuEventElapsedTime_v2(float* milliseconds, CUevent, CUevent) {
    *milliseconds = 0;
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().submit(stream, [=] {
        function(data);
        return CUDA_SUCCESS;
    });
}

VIRTUAL_GPU_API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    Stream* stream = driver.stream_of(handle);
    if (stream == nullptr || stream == &driver.default_stream || stream->capture != nullptr) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    stream->capture = new Graph;
    stream->capture_mode = mode;
    stream->capture_is_origin = true;
    stream->capture_is_broken = false;
    stream->capture_after.clear();
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    Stream* stream = driver.stream_of(handle);
    if (stream == nullptr || stream->capture == nullptr || !stream->capture_is_origin) {
        return CUDA_ERROR_ILLEGAL_STATE;
    }
    Graph* captured = stream->capture;
    // Every node must lead back to this stream, or the capture has a loose end.
    std::vector<bool> is_needed(captured->nodes.size(), false);
    std::vector<size_t> todo = stream->capture_after;
    while (!todo.empty()) {
        const size_t index = todo.back();
        todo.pop_back();
        if (!is_needed[index]) {
            is_needed[index] = true;
            const std::vector<size_t>& after = captured->nodes[index].after;
            todo.insert(todo.end(), after.begin(), after.end());
        }
    }
    const bool is_joined = std::find(is_needed.begin(), is_needed.end(), false) == is_needed.end();
    const bool is_broken = stream->capture_is_broken;
    for (Stream* other : driver.stream_order) {
        if (other->capture == captured) {
            other->capture = nullptr;
            other->capture_after.clear();
            other->capture_is_origin = false;
        }
    }
    *graph = nullptr;
    if (is_broken || !is_joined) {
        delete captured;
        return is_broken ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                         : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    }
    *graph = reinterpret_cast<CUgraph>(captured);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphCreate(CUgraph* graph, unsigned) {
    *graph = reinterpret_cast<CUgraph>(new Graph);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphDestroy(CUgraph graph) {
    delete graph_of(graph);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphAddKernelNode_v2(CUgraphNode* out, CUgraph handle, const CUgraphNode* after,
                                        size_t n_after, const CUDA_KERNEL_NODE_PARAMS* params) {
    std::lock_guard lock(Driver::instance().mutex);
    CUlaunchConfig config{};
    config.gridDimX = params->gridDimX;
    config.gridDimY = params->gridDimY;
    config.gridDimZ = params->gridDimZ;
    config.blockDimX = params->blockDimX;
    config.blockDimY = params->blockDimY;
    config.blockDimZ = params->blockDimZ;
    config.sharedMemBytes = params->sharedMemBytes;
    CUfunction function =
        params->func != nullptr ? params->func : reinterpret_cast<CUfunction>(params->kern);
    GraphNode node;
    node.kernel = std::make_shared<KernelSpec>();
    const CUresult result =
        make_spec(node.kernel.get(), function, config, params->kernelParams, false);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    Graph* graph = graph_of(handle);
    for (size_t i = 0; i < n_after; i++) {
        node.after.push_back(reinterpret_cast<const GraphNode*>(after[i])->index);
    }
    node.graph = graph;
    node.index = graph->nodes.size();
    graph->nodes.push_back(std::move(node));
    *out = reinterpret_cast<CUgraphNode>(&graph->nodes.back());
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphAddDependencies_v2(CUgraph, const CUgraphNode* from, const CUgraphNode* to,
                                          const CUgraphEdgeData*, size_t n) {
    std::lock_guard lock(Driver::instance().mutex);
    for (size_t i = 0; i < n; i++) {
        auto* node = reinterpret_cast<GraphNode*>(to[i]);
        node->after.push_back(reinterpret_cast<const GraphNode*>(from[i])->index);
    }
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphGetNodes(CUgraph handle, CUgraphNode* nodes, size_t* n_nodes) {
    std::lock_guard lock(Driver::instance().mutex);
    Graph* graph = graph_of(handle);
    if (nodes == nullptr) {
        *n_nodes = graph->nodes.size();
        return CUDA_SUCCESS;
    }
    *n_nodes = std::min(*n_nodes, graph->nodes.size());
    for (size_t i = 0; i < *n_nodes; i++) {
        nodes[i] = reinterpret_cast<CUgraphNode>(&graph->nodes[i]);
    }
    return CUDA_SUCCESS;
}

// The executable graph is a copy: what happens to the graph afterwards does not touch it, nor do
// new parameters for one touch another.
VIRTUAL_GPU_API cuGraphInstantiateWithFlags(CUgraphExec* out, CUgraph handle, unsigned long long) {
    std::lock_guard lock(Driver::instance().mutex);
    auto* copy = new Graph(*graph_of(handle));
    for (GraphNode& node : copy->nodes) {
        if (node.kernel != nullptr) {
            node.kernel = std::make_shared<KernelSpec>(*node.kernel);
        }
    }
    *out = reinterpret_cast<CUgraphExec>(copy);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphExecDestroy(CUgraphExec exec) {
    std::lock_guard lock(Driver::instance().mutex);
    Driver::instance().drain_all();  // Launches that are under way still need it.
    delete reinterpret_cast<Graph*>(exec);
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                                  const CUDA_KERNEL_NODE_PARAMS* params) {
    std::lock_guard lock(Driver::instance().mutex);
    auto* graph = reinterpret_cast<Graph*>(exec);
    GraphNode& target = graph->nodes[reinterpret_cast<const GraphNode*>(node)->index];
    Graph scratch;
    CUgraphNode made = nullptr;
    const CUresult result =
        cuGraphAddKernelNode_v2(&made, reinterpret_cast<CUgraph>(&scratch), nullptr, 0, params);
    if (result == CUDA_SUCCESS) {
        // Launches that are under way keep the old parameters.
        target.kernel = scratch.nodes.front().kernel;
    }
    return result;
}

VIRTUAL_GPU_API cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    const Stream* queue = driver.stream_of(stream);
    if (queue != nullptr && queue->capture != nullptr) {
        complain("a graph inside a graph is not supported by the virtual GPU");
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    driver.graph_launches += 1;
    driver.section->graph_launches += 1;
    const auto run = std::make_shared<GraphRun>();
    run->graph = *reinterpret_cast<Graph*>(exec);
    run->left = run->graph.nodes.size();
    run->done.assign(run->left, false);
    run->section = driver.section;
    return driver.submit(stream, [&driver, run] { return driver.run_graph(run.get()); });
}
