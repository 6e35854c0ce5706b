// The state behind the stand-in driver's entry points.
#pragma once

#define CUDA_ENABLE_DEPRECATED
#include <cuda.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "machine/executor.h"

#define VIRTUAL_GPU_API extern "C" __attribute__((visibility("default"))) CUresult

namespace virtual_gpu {

// What a test asks for, as 'key=value' pairs in $FATHOM_VIRTUAL_GPU or through virtual_gpu_set().
struct DriverSettings {
    int compute = 90;            // compute: capability that the device plays, times ten.
    int devices = 1;             // devices
    int driver_version = 13000;  // driver
    uint64_t memory_bytes = uint64_t{16} << 30;  // memory
    uint32_t seed = 0;                           // seed: of warps, blocks and streams.
    bool check = true;                           // check
    bool count = true;                           // count
    uint64_t fail_allocation = 0;  // fail_allocation: the n-th from now, and 1 is the next.
    uint64_t fail_launch = 0;      // fail_launch: the n-th launch is refused.
    uint64_t lose_device = 0;      // lose_device: the n-th kernel that runs takes the device away.
    uint64_t peer_timeout_ms = 20'000;  // peer_timeout_ms: how long a stream waits for another's.
    uint64_t mutant = 0;                // mutant: the n-th mutation of all modules loaded; 0: none.
    std::string mutants_file;           // mutants: where to list all mutations at the end.
    std::string missing;                // missing: a driver function that does not exist.
    std::string counters_file;          // counters: where to write the JSON at the end.
    std::string findings_file;          // findings: where to write them at the end; default stderr.
};

// Done when it returns. CUDA_ERROR_NOT_READY: it waits for another device and must be tried again.
using Work = std::function<CUresult()>;

struct Event {
    uint64_t recorded = 0;  // How often it was recorded, and up to which of these is done.
    std::atomic<uint64_t> completed = 0;
    struct Graph* capture = nullptr;  // Recorded while this graph was captured,
    std::vector<size_t> nodes;        // after these nodes.
};

// One step of a stream: work, or an event that is recorded or waited for.
struct Step {
    Work work;
    std::shared_ptr<Event> record;
    std::shared_ptr<Event> wait;
    uint64_t version = 0;
};

struct KernelSpec {
    struct Function* function = nullptr;
    LaunchRequest request;
    struct Section* section = nullptr;  // In which it is counted.
    bool is_dependent = false;          // May begin before its predecessor ends.
    // Numbers of the machine's launches, filled when they run: this one's, and that of the kernel
    // right before it in its stream or graph.
    std::shared_ptr<uint32_t> number;
    std::shared_ptr<uint32_t> predecessor;
};

struct GraphNode {
    Work work;
    std::vector<size_t> after;
    std::shared_ptr<KernelSpec> kernel;  // For nodes that launch one; 'work' is empty then.
    struct Graph* graph = nullptr;
    size_t index = 0;
};

struct Graph {
    std::deque<GraphNode> nodes;
};

struct Stream {
    std::deque<Step> steps;
    bool is_blocking = true;  // Orders itself with the default stream.
    Graph* capture = nullptr;
    bool capture_is_broken = false;
    bool capture_is_origin = false;
    CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::shared_ptr<uint32_t> last_kernel;  // KernelSpec::number, if a kernel came last.
    std::vector<size_t> capture_after;      // What the next captured node comes after.
};

struct Function {
    struct LoadedModule* module = nullptr;
    Kernel* kernel = nullptr;
    int max_dynamic_shared = 48 * 1024;
};

// A library belongs to all devices; on each of them that uses it, it is a module of its own.
struct Library {
    std::string image;
    std::map<int, struct LoadedModule*> modules;  // By device.
};

struct LoadedModule {
    int device = 0;
    std::shared_ptr<Library> library;
    std::unique_ptr<Program> program;
    std::map<std::string, Function> functions;
};

// A part of the program's run that is counted by itself: one decode step, say.
struct Section {
    std::string name;
    uint64_t times = 0;  // How often it was begun.
    uint64_t kernels_run = 0;
    uint64_t graph_launches = 0;
    std::map<Kernel*, KernelCounters> kernels;
};

struct KnownMutation {
    std::string text;
    std::shared_ptr<Library> library;
    int line = 0;  // Of its PTX.
};

// What all devices share.
struct Shared {
    std::recursive_mutex mutex;  // Taken after a device's own, never before it.
    DriverSettings settings;
    bool is_initialised = false;
    std::map<void*, uint64_t> pinned;     // Host memory that copies may touch late.
    std::vector<KnownMutation> mutants;   // Of all libraries loaded.
    std::vector<std::string> complaints;  // About calls; findings are about kernels.
    std::vector<std::unique_ptr<class Driver>> devices;
    std::mutex pause_mutex;
    std::condition_variable moved;  // A step of some stream was done.
};
Shared& shared();

// One device.
class Driver {
public:
    explicit Driver(int index) : device(index) {}

    // That of the thread's current context; the first one where there is none.
    static Driver& instance();

    const int device;
    std::recursive_mutex mutex;
    CUresult sticky = CUDA_SUCCESS;  // After a kernel failed, every call returns this.
    std::unique_ptr<Machine> machine;
    std::set<std::unique_ptr<LoadedModule>> modules;
    std::set<std::unique_ptr<Stream>> streams;
    std::vector<Stream*> stream_order;  // As created: pointers sort differently in every run.
    Stream default_stream;
    uint64_t launches = 0;
    uint64_t kernels_run = 0;
    uint64_t graph_launches = 0;
    std::deque<Section> sections;
    Section* section = nullptr;  // In which launches are counted from now on.

    const DriverSettings& settings() const { return shared().settings; }
    void begin_section(const std::string& name);

    // 0, or why a call that needs a context may not go on.
    CUresult ready() const;
    // The same for calls that synchronise, which no capture allows.
    CUresult ready_outside_capture() const;

    Stream* stream_of(CUstream handle);
    CUresult submit(CUstream stream, Work work);
    CUresult submit_kernel(CUstream stream, KernelSpec spec);
    CUresult run_kernel(const KernelSpec& spec);
    // Runs what can run; CUDA_ERROR_NOT_READY while nodes wait for other devices.
    CUresult run_graph(struct GraphRun* run);
    size_t add_node(Stream* stream, GraphNode node);

    // Runs steps until the stream, or everything, is done.
    CUresult drain(Stream* stream);
    CUresult drain_until(const Event& event, uint64_t version);
    CUresult drain_all();
    // Runs what can run now and waits for nobody.
    void advance(Stream* preferred) {
        while (run_any(preferred)) {
        }
    }
    // Runs work that may have to wait for other devices.
    CUresult run_to_end(const Work& work);
    uint64_t random(uint64_t n);  // Seeded; 0 .. n - 1.
    std::string counters_json() const;
    void seed(uint64_t value) { random_state_ = value; }

private:
    bool is_runnable(const Stream& stream) const;
    bool run_step(Stream* stream);
    bool run_any(Stream* preferred);
    bool wait_for_others(uint64_t* waited_us);

    uint64_t random_state_ = 0;
    Section* last_section_ = nullptr;  // That of the last kernel that ran.
    uint64_t last_section_time_ = 0;
};

// A graph on its way.
struct GraphRun {
    Graph graph;
    std::vector<bool> done;
    size_t left = 0;
    Section* section = nullptr;
};

void initialise();
void apply_settings(const std::string& text);  // "seed=3,compute=80"
void complain(const std::string& text);
bool is_pinned(const void* pointer, size_t bytes);
std::string findings_text();
std::string all_counters_json();
// The device whose memory holds the address, or the current one.
Driver& owner_of(CUdeviceptr address);
// The function on the thread's current device, whichever device it was looked up for.
CUresult on_current_device(Function** function);

// The current context of the thread; device d's context is context_of(d).
CUcontext& current_context();
CUcontext context_of(int device);

// Checks a launch and copies its arguments.
CUresult make_spec(KernelSpec* spec, CUfunction handle, const CUlaunchConfig& config,
                   void** arguments, bool is_cooperative);

// Bytes between host and device at the time of the call; both sides are checked.
CUresult copy_to_device(CUdeviceptr to, const void* from, size_t bytes);
CUresult copy_to_host(void* to, CUdeviceptr from, size_t bytes);
CUresult copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes);

}  // namespace virtual_gpu
