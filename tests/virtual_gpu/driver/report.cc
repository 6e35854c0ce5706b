// What the virtual GPU found and counted, and the entry points of its own that tests and tools use
// beside the driver's.
#include <cstdio>
#include <set>

#include "driver/driver.h"

namespace virtual_gpu {
namespace {

bool write_text(const std::string& path, const std::string& text) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr) {
        return false;
    }
    const bool is_whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    return std::fclose(file) == 0 && is_whole;
}

std::string totals_json(const KernelCounters& sum, const std::vector<std::string>& names) {
    const InstructionCounters all = total(sum);
    std::string json = "{\"launches\": " + std::to_string(sum.launches) +
                       ", \"blocks\": " + std::to_string(sum.blocks) +
                       ", \"barriers\": " + std::to_string(sum.barriers) +
                       ", \"warp_instructions\": " + std::to_string(all.executed) +
                       ", \"lanes\": " + std::to_string(all.lanes) + ", " + memory_json(all) +
                       ", \"regions\": {";
    const char* comma = "";
    for (size_t i = 0; i < sum.regions.size(); i++) {
        if (sum.regions[i].sectors != 0) {
            json += comma + json_quoted(names[i]) + ": " + region_json(sum.regions[i]);
            comma = ", ";
        }
    }
    return json + "}}";
}

void add_totals(KernelCounters* sum, const KernelCounters& one) {
    sum->launches += one.launches;
    sum->blocks += one.blocks;
    sum->barriers += one.barriers;
    sum->instructions.push_back(total(one));
    sum->regions.resize(std::max(sum->regions.size(), one.regions.size()));
    for (size_t i = 0; i < one.regions.size(); i++) {
        add(&sum->regions[i], one.regions[i]);
    }
}

// Lines of a library's PTX that some kernel of some device has executed.
std::set<int> executed_lines(const Library& library) {
    std::set<int> lines;
    for (const auto& device : shared().devices) {
        const auto module = library.modules.find(device->device);
        for (const Section& section : device->sections) {
            for (const auto& [kernel, counters] : section.kernels) {
                if (module == library.modules.end() ||
                    kernel->source != module->second->program->source.get()) {
                    continue;
                }
                for (size_t pc = 0; pc < counters.instructions.size(); pc++) {
                    if (counters.instructions[pc].executed != 0) {
                        lines.insert(kernel->ptx_lines[pc]);
                    }
                }
            }
        }
    }
    return lines;
}

// One a line, marked with '*' if the statement was executed.
std::string mutants_text() {
    std::string list;
    const Library* last = nullptr;
    std::set<int> lines;
    for (const KnownMutation& mutant : shared().mutants) {
        if (mutant.library.get() != last) {
            last = mutant.library.get();
            lines = executed_lines(*last);
        }
        list += (lines.count(mutant.line) != 0 ? "* " : "  ") + mutant.text + "\n";
    }
    return list;
}

std::string text_of(const std::string& what) {
    return what == "counters"  ? all_counters_json()
           : what == "mutants" ? mutants_text()
                               : findings_text();
}

// Runs at the end of the process, or when the library is unloaded.
struct FinalReport {
    ~FinalReport() {
        if (!shared().is_initialised) {
            return;
        }
        const std::string findings = findings_text();
        if (!shared().settings.counters_file.empty()) {
            write_text(shared().settings.counters_file, all_counters_json());
        }
        if (!shared().settings.mutants_file.empty()) {
            write_text(shared().settings.mutants_file, mutants_text());
        }
        if (!shared().settings.findings_file.empty()) {
            write_text(shared().settings.findings_file, findings);
        } else if (!findings.empty()) {
            std::fprintf(stderr, "virtual GPU:\n%s", findings.c_str());
        }
    }
};
const FinalReport final_report;

std::string section_json(const Section& section, const std::vector<std::string>& names) {
    std::string json = "{\"name\": " + json_quoted(section.name) +
                       ", \"times\": " + std::to_string(section.times) +
                       ", \"graph_launches\": " + std::to_string(section.graph_launches) +
                       ", \"kernels_run\": " + std::to_string(section.kernels_run);
    KernelCounters sum;
    std::map<std::string, std::string> kernels;  // By name: pointers sort by chance.
    for (const auto& [kernel, counters] : section.kernels) {
        add_totals(&sum, counters);
        std::string& text = kernels[kernel->name];
        text += (text.empty() ? "" : ", ") + counters_json(*kernel, counters);
    }
    json += ",\n\"total\": " + totals_json(sum, names) + ",\n\"kernels\": {";
    const char* comma = "";
    for (const auto& [name, text] : kernels) {
        json += comma + json_quoted(name) + ": " + text;
        comma = ",\n";
    }
    return json + "}}";
}

}  // namespace

void Driver::begin_section(const std::string& name) {
    for (Section& known : sections) {
        if (known.name == name) {
            section = &known;
            section->times += 1;
            return;
        }
    }
    sections.push_back({});
    section = &sections.back();
    section->name = name;
    section->times = 1;
}

std::string Driver::counters_json() const {
    std::string json = "{\"device\": " + std::to_string(device) +
                       ", \"launches\": " + std::to_string(launches) +
                       ", \"graph_launches\": " + std::to_string(graph_launches) +
                       ", \"kernels_run\": " + std::to_string(kernels_run) + ", \"sections\": [";
    const char* comma = "\n";
    for (const Section& one : sections) {
        json += comma + section_json(one, machine->memory().names());
        comma = ",\n";
    }
    return json + "]}";
}

std::string all_counters_json() {
    std::string json = "{\"devices\": [";
    const char* comma = "";
    for (const auto& device : shared().devices) {
        std::lock_guard lock(device->mutex);
        if (device->machine != nullptr) {
            json += comma + device->counters_json();
            comma = ",\n";
        }
    }
    return json + "]}\n";
}

std::string findings_text() {
    std::string text;
    for (const std::string& complaint : shared().complaints) {
        text += complaint + "\n";
    }
    for (const auto& device : shared().devices) {
        std::lock_guard lock(device->mutex);
        if (device->machine != nullptr) {
            for (const Finding& finding : device->machine->findings().list()) {
                text += describe(finding) + "\n";
            }
        }
    }
    return text;
}

}  // namespace virtual_gpu

#define VIRTUAL_GPU_EXTRA extern "C" __attribute__((visibility("default")))

using virtual_gpu::Driver;

VIRTUAL_GPU_EXTRA void virtual_gpu_set(const char* settings) {
    virtual_gpu::initialise();
    std::lock_guard lock(virtual_gpu::shared().mutex);
    virtual_gpu::apply_settings(settings);
}

// Copies as much of the text as fits and returns its whole length. 'what': "findings", "counters",
// "mutants".
VIRTUAL_GPU_EXTRA size_t virtual_gpu_get(const char* what, char* text, size_t size) {
    const std::string all = virtual_gpu::text_of(what);
    if (size != 0) {
        const size_t n = all.copy(text, size - 1);
        text[n] = '\0';
    }
    return all.size();
}

// Writes the same text to a file. 0, or 1 if that failed.
VIRTUAL_GPU_EXTRA int virtual_gpu_write(const char* what, const char* path) {
    const std::string all = virtual_gpu::text_of(what);
    return virtual_gpu::write_text(path, all) ? 0 : 1;
}

// What is launched on the current device from now on is counted under this name. A name that was
// used before goes on; each call begins a new step, in which a sector that is read twice is
// delivered by DRAM once.
VIRTUAL_GPU_EXTRA void virtual_gpu_section(const char* name) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    driver.begin_section(name);
}

// Names the allocation that holds 'address'; its traffic then has a row of its own in "regions". 0,
// or 1 if there is no such allocation or there are more than 63 names.
VIRTUAL_GPU_EXTRA int virtual_gpu_name(CUdeviceptr address, const char* name) {
    Driver& driver = virtual_gpu::owner_of(address);
    std::lock_guard lock(driver.mutex);
    return driver.machine != nullptr && driver.machine->memory().name(address, name) ? 0 : 1;
}

// Work for a stream of the current device that may have to wait for other devices: 'poll' is asked
// until it returns 0; 600 means that it waits, everything else is an error. A captured graph asks
// again in every launch. 'release' is called when nobody will ask any more.
VIRTUAL_GPU_EXTRA int virtual_gpu_enqueue(CUstream stream, int (*poll)(void*), void* data,
                                          void (*release)(void*)) {
    const std::shared_ptr<void> kept(data, release);
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    return driver.submit(stream, [poll, kept] { return static_cast<CUresult>(poll(kept.get())); });
}

// Where the host finds bytes of device memory, for work of a stream; nullptr unless all of them lie
// in one allocation. 'is_written' marks them as written.
VIRTUAL_GPU_EXTRA void* virtual_gpu_bytes(CUdeviceptr address, size_t bytes, int is_written) {
    Driver& owner = virtual_gpu::owner_of(address);
    if (owner.machine == nullptr) {
        return nullptr;
    }
    virtual_gpu::DeviceMemory& memory = owner.machine->memory();
    uint8_t* at = memory.find(address, bytes);
    if (at == nullptr || memory.last_is_host()) {
        return at;
    }
    if (is_written != 0) {
        memory.mark_written(address, bytes);
    } else if (!memory.is_written(address, bytes)) {
        virtual_gpu::complain("uninitialised read by a collective of " + std::to_string(bytes) +
                              " bytes: " + memory.describe(address));
    }
    return at;
}

// Forgets findings and faults, and takes a lost device for found: the next test begins anew.
VIRTUAL_GPU_EXTRA void virtual_gpu_reset() {
    virtual_gpu::Shared& all = virtual_gpu::shared();
    for (const auto& device : all.devices) {
        std::lock_guard lock(device->mutex);
        device->sticky = CUDA_SUCCESS;
        if (device->machine != nullptr) {
            device->machine->findings().clear();
        }
    }
    std::lock_guard lock(all.mutex);
    all.complaints.clear();
    all.settings.fail_allocation = 0;
    all.settings.fail_launch = 0;
    all.settings.lose_device = 0;
    all.settings.missing.clear();
}
