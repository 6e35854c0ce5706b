#include "cli/commands.h"
#include "cli/owned_handles.h"
#include "cli/json_lines.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"

namespace fathom::cli {
namespace {

constexpr Flag kOwnFlags[] = {
    {"--json", nullptr, "everything as JSON"},
    {"--devices", nullptr, "list the devices of this machine instead"},
};
const std::vector<Flag>& flags() {
    static const auto* all = new std::vector<Flag>(with_model_flags(kOwnFlags));
    return *all;
}

int list_devices() {
    uint32_t count = 0;
    Outcome outcome;
    outcome = fathom_devices_query(nullptr, &count, outcome);
    std::vector<fathom_device_info> devices(count);
    for (fathom_device_info& device : devices) {
        device = {};
        device.struct_size = sizeof device;
    }
    outcome = fathom_devices_query(devices.data(), &count, outcome);
    for (const fathom_device_info& device : devices) {
        print(std::string("cpu ") + std::to_string(device.index) + ": " + device.name + ", " +
              std::to_string(device.n_processors) + " processors, " + device.level + ", " +
              human_bytes(device.memory_available) + " of " + human_bytes(device.memory_total) +
              " free\n");
    }
    return 0;
}

std::string ratio(uint64_t part, uint64_t whole) {
    return decimals(100.0 * static_cast<double>(part) / static_cast<double>(whole), 2) + " %";
}

std::string billions(uint64_t count) {
    return count >= 100'000'000 ? decimals(static_cast<double>(count) * 1e-9, 2) + " B"
                                : decimals(static_cast<double>(count) * 1e-6, 2) + " M";
}

void print_plan(const fathom_memory_plan& plan) {
    print("parameters        " + billions(plan.parameters) + ", " +
          billions(plan.active_parameters) + " active per token\n");
    print("KV cache          " + human_bytes(plan.kv_bytes_per_token) + " per token, " +
          ratio(plan.kv_bytes_per_token, plan.mha_bytes_per_token) +
          " of per-head keys and values (" + human_bytes(plan.mha_bytes_per_token) + ")\n");
    print("memory            " + human_bytes(plan.total_bytes) + " = weights " +
          human_bytes(plan.weight_bytes) + " + KV cache " + human_bytes(plan.kv_cache_bytes) +
          " + workspace " + human_bytes(plan.workspace_bytes) + "\n");
    print("context           " + std::to_string(plan.context) + " tokens\n");
}

int run_inspect(const CommandLine& line) {
    if (line.has("--devices")) return list_devices();
    const std::string folder =
        line.words().empty() ? line.required("--model") : line.words().front();
    const fathom_source source = source_of(folder);
    const fathom_engine_options engine_settings = engine_options(line);
    fathom_model_options options = {};
    options.struct_size = sizeof options;
    options.context = static_cast<uint64_t>(line.integer("--context", 0, 1, INT32_MAX));
    fathom_buffer* handle = nullptr;
    Outcome outcome;
    outcome = fathom_model_inspect(&engine_settings, &source, &options, &handle, outcome);
    const Buffer buffer(handle);
    uint64_t bytes = 0;
    const char* data = fathom_buffer_data(buffer.get(), &bytes);
    const std::string_view json(data, bytes);
    if (line.has("--json")) {
        print(std::string(json) + "\n");
        return 0;
    }
    const JsonLine facts = JsonLine::parse(json);
    print("architecture      " + facts.text("architecture") + "\n");
    print("dialect           " + facts.text("dialect") + "\n");
    fathom_memory_plan plan = {};
    plan.struct_size = sizeof plan;
    outcome = fathom_model_estimate(&engine_settings, &source, &options, &plan, outcome);
    print_plan(plan);
    return 0;
}

}  // namespace

const Command kInspect{
    "inspect", "what a checkpoint folder holds and will take, or why it is rejected",
    "  fathom inspect examples/demo-model/model\n"
    "  fathom inspect --model models/v3 --context 32768 --json\n"
    "  fathom inspect --devices\n",
    flags(), 1, run_inspect};

}  // namespace fathom::cli
