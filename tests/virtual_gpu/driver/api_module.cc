// Modules, libraries, functions and launches.
#include <charconv>
#include <cstring>

#include "driver/driver.h"
#include "ptx/ptx_error.h"
#include "ptx/ptx_mutation.h"

using namespace virtual_gpu;

namespace {

// "sm_90a" runs on 9.0 alone, "sm_80" on every later device.
bool target_fits(const std::string& target, int compute) {
    int wanted = 0;
    const char* first = target.data() + std::min<size_t>(3, target.size());
    const char* last = target.data() + target.size();
    const auto [end, error] = std::from_chars(first, last, wanted);
    const bool is_exact = end != last;
    return error == std::errc() && (is_exact ? wanted == compute : wanted <= compute);
}

// Makes the library a module of the current device.
CUresult load_on_device(LoadedModule** out, const std::shared_ptr<Library>& library) {
    Driver& driver = Driver::instance();
    auto module = std::make_unique<LoadedModule>();
    module->device = driver.device;
    module->library = library;
    try {
        module->program = driver.machine->load(library->image);
    } catch (const PtxError& error) {
        complain(error.what());
        return CUDA_ERROR_INVALID_PTX;
    } catch (const std::exception&) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (!target_fits(module->program->source->target, shared().settings.compute)) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    for (const auto& [name, kernel] : module->program->kernels) {
        module->functions[name] = {module.get(), kernel.get()};
    }
    *out = module.get();
    library->modules[driver.device] = module.get();
    driver.modules.insert(std::move(module));
    return CUDA_SUCCESS;
}

// Lists the library's mutations, and makes the one that was asked for.
void apply_mutation(const std::shared_ptr<Library>& library) {
    const DriverSettings& settings = shared().settings;
    if (settings.mutant == 0 && settings.mutants_file.empty()) {
        return;
    }
    const std::string original = library->image;
    for (const Mutation& mutation : find_mutations(original)) {
        std::vector<KnownMutation>& list = shared().mutants;
        list.push_back({mutation.kernel + " line " + std::to_string(mutation.line) + ": " +
                            mutation.statement + " -> " + mutation.replacement,
                        library, mutation.line});
        if (list.size() == settings.mutant) {
            library->image = mutate(original, mutation);
        }
    }
}

CUresult load(CUmodule* out, const void* image) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    // Cubins and fat binaries hold machine code of a card. The image table has PTX beside them,
    // which the program tries next, so this is nothing to complain about.
    uint32_t magic = 0;
    std::memcpy(&magic, image, 4);
    if (magic == 0x464c457f || magic == 0xba55ed50) {
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    }
    auto library = std::make_shared<Library>();
    library->image = static_cast<const char*>(image);
    std::lock_guard library_lock(shared().mutex);
    apply_mutation(library);
    LoadedModule* module = nullptr;
    const CUresult result = load_on_device(&module, library);
    *out = reinterpret_cast<CUmodule>(module);
    return result;
}

// The module of the same library on the current device.
CUresult module_here(LoadedModule** module) {
    if ((*module)->device == Driver::instance().device) {
        return CUDA_SUCCESS;
    }
    std::lock_guard lock(shared().mutex);
    const std::shared_ptr<Library> library = (*module)->library;
    const auto known = library->modules.find(Driver::instance().device);
    if (known != library->modules.end()) {
        *module = known->second;
        return CUDA_SUCCESS;
    }
    return load_on_device(module, library);
}

CUresult find_function(Function** out, void* module, const char* name) {
    auto& functions = static_cast<LoadedModule*>(module)->functions;
    const auto found = functions.find(name);
    if (found == functions.end()) {
        return CUDA_ERROR_NOT_FOUND;
    }
    *out = &found->second;
    return CUDA_SUCCESS;
}

CUresult find_global(CUdeviceptr* address, size_t* bytes, void* handle, const char* name) {
    auto* module = static_cast<LoadedModule*>(handle);
    std::lock_guard lock(Driver::instance().mutex);
    if (const CUresult result = module_here(&module)) {
        return result;
    }
    const auto& globals = module->program->globals;
    const auto found = globals.find(name);
    if (found == globals.end()) {
        return CUDA_ERROR_NOT_FOUND;
    }
    if (address != nullptr) {
        *address = found->second.address;
    }
    if (bytes != nullptr) {
        *bytes = found->second.bytes;
    }
    return CUDA_SUCCESS;
}

int shared_limit() { return shared().settings.compute >= 90 ? 232448 : 166912; }

CUresult check_launch(const Function& function, const CUlaunchConfig& config, bool is_cooperative) {
    const Kernel& kernel = *function.kernel;
    const uint64_t threads = uint64_t{config.blockDimX} * config.blockDimY * config.blockDimZ;
    const bool has_shape = config.gridDimX > 0 && config.gridDimY > 0 && config.gridDimZ > 0 &&
                           config.gridDimX <= 0x7fffffff && config.gridDimY <= 65535 &&
                           config.gridDimZ <= 65535 && threads > 0 && threads <= 1024 &&
                           config.blockDimZ <= 64;
    const uint32_t* required = kernel.required_threads;
    const bool is_required =
        required[0] == 0 || (config.blockDimX == required[0] && config.blockDimY == required[1] &&
                             config.blockDimZ == required[2]);
    if (!has_shape || !is_required || (kernel.max_threads != 0 && threads > kernel.max_threads)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const uint64_t shared_bytes = uint64_t{kernel.static_shared_bytes} + config.sharedMemBytes;
    if (config.sharedMemBytes > static_cast<uint32_t>(function.max_dynamic_shared) ||
        shared_bytes > static_cast<uint64_t>(shared_limit())) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    // One block an SM is certain; more depends on registers, which only ptxas knows.
    const uint64_t blocks = uint64_t{config.gridDimX} * config.gridDimY * config.gridDimZ;
    const uint64_t multiprocessors = shared().settings.compute >= 90 ? 132 : 108;
    if (is_cooperative && blocks > multiprocessors * (2048 / ((threads + 31) / 32 * 32))) {
        return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    }
    return CUDA_SUCCESS;
}

}  // namespace

namespace virtual_gpu {

CUresult on_current_device(Function** function) {
    LoadedModule* module = (*function)->module;
    const std::string& name = (*function)->kernel->name;
    if (module->device == Driver::instance().device) {
        return CUDA_SUCCESS;
    }
    if (const CUresult result = module_here(&module)) {
        return result;
    }
    *function = &module->functions.at(name);
    return CUDA_SUCCESS;
}

CUresult make_spec(KernelSpec* spec, CUfunction handle, const CUlaunchConfig& config,
                   void** arguments, bool is_cooperative) {
    auto* function = reinterpret_cast<Function*>(handle);
    if (function == nullptr) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (const CUresult result = on_current_device(&function)) {
        return result;
    }
    if (const CUresult result = check_launch(*function, config, is_cooperative)) {
        return result;
    }
    spec->function = function;
    LaunchRequest& request = spec->request;
    request.grid = {config.gridDimX, config.gridDimY, config.gridDimZ};
    request.block = {config.blockDimX, config.blockDimY, config.blockDimZ};
    request.dynamic_shared_bytes = config.sharedMemBytes;
    request.is_cooperative = is_cooperative;
    const Kernel& kernel = *function->kernel;
    request.parameters.resize(kernel.parameter_bytes);
    if (arguments == nullptr && !kernel.parameters.empty()) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    for (size_t i = 0; i < kernel.parameters.size(); i++) {
        std::memcpy(request.parameters.data() + kernel.parameters[i].offset, arguments[i],
                    kernel.parameters[i].bytes);
    }
    return CUDA_SUCCESS;
}

}  // namespace virtual_gpu

namespace {

struct LaunchKind {
    bool is_cooperative = false;
    bool is_dependent = false;
};

CUresult launch(CUfunction function, const CUlaunchConfig& config, void** arguments,
                LaunchKind kind) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    if (const CUresult result = driver.ready()) {
        return result;
    }
    driver.launches += 1;
    if (shared().settings.fail_launch != 0 && --shared().settings.fail_launch == 0) {
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    }
    KernelSpec spec;
    if (const CUresult result =
            make_spec(&spec, function, config, arguments, kind.is_cooperative)) {
        return result;
    }
    spec.is_dependent = kind.is_dependent;
    return driver.submit_kernel(config.hStream, std::move(spec));
}

}  // namespace

VIRTUAL_GPU_API cuModuleLoadData(CUmodule* module, const void* image) {
    return load(module, image);
}

VIRTUAL_GPU_API cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*,
                                   void**) {
    return load(module, image);
}

VIRTUAL_GPU_API cuLibraryLoadData(CUlibrary* library, const void* image, CUjit_option*, void**,
                                  unsigned, CUlibraryOption*, void**, unsigned) {
    return load(reinterpret_cast<CUmodule*>(library), image);
}

// Unloading keeps the counters for the final report, so the module stays until the process ends.
VIRTUAL_GPU_API cuModuleUnload(CUmodule) {
    std::lock_guard lock(Driver::instance().mutex);
    return Driver::instance().drain_all();
}

VIRTUAL_GPU_API cuLibraryUnload(CUlibrary) { return cuModuleUnload(nullptr); }

VIRTUAL_GPU_API cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    return find_function(reinterpret_cast<Function**>(function), module, name);
}

VIRTUAL_GPU_API cuLibraryGetKernel(CUkernel* kernel, CUlibrary library, const char* name) {
    return find_function(reinterpret_cast<Function**>(kernel), library, name);
}

VIRTUAL_GPU_API cuKernelGetFunction(CUfunction* function, CUkernel kernel) {
    auto* here = reinterpret_cast<Function*>(kernel);
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = on_current_device(&here);
    *function = reinterpret_cast<CUfunction>(here);
    return result;
}

VIRTUAL_GPU_API cuLibraryGetModule(CUmodule* out, CUlibrary library) {
    auto* module = reinterpret_cast<LoadedModule*>(library);
    std::lock_guard lock(Driver::instance().mutex);
    const CUresult result = module_here(&module);
    *out = reinterpret_cast<CUmodule>(module);
    return result;
}

VIRTUAL_GPU_API cuModuleGetGlobal_v2(CUdeviceptr* address, size_t* bytes, CUmodule module,
                                     const char* name) {
    return find_global(address, bytes, module, name);
}

VIRTUAL_GPU_API cuLibraryGetGlobal(CUdeviceptr* address, size_t* bytes, CUlibrary library,
                                   const char* name) {
    return find_global(address, bytes, library, name);
}

VIRTUAL_GPU_API cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
    auto* function = reinterpret_cast<Function*>(handle);
    std::lock_guard lock(Driver::instance().mutex);
    if (const CUresult result = on_current_device(&function)) {
        return result;
    }
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        const int most = shared_limit() - static_cast<int>(function->kernel->static_shared_bytes);
        if (value < 0 || value > most) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        function->max_dynamic_shared = value;
    }
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel,
                                     CUdevice) {
    return cuFuncSetAttribute(reinterpret_cast<CUfunction>(kernel), attribute, value);
}

VIRTUAL_GPU_API cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
    const auto* function = reinterpret_cast<const Function*>(handle);
    const Kernel& kernel = *function->kernel;
    switch (attribute) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
            *value = kernel.max_threads == 0 ? 1024 : static_cast<int>(kernel.max_threads);
            break;
        case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
            *value = static_cast<int>(kernel.static_shared_bytes);
            break;
        case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
            *value = static_cast<int>(kernel.local_bytes);
            break;
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
            *value = function->max_dynamic_shared;
            break;
        default: return CUDA_ERROR_NOT_SUPPORTED;  // Registers are known to ptxas alone.
    }
    return CUDA_SUCCESS;
}

VIRTUAL_GPU_API cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                               unsigned grid_z, unsigned block_x, unsigned block_y,
                               unsigned block_z, unsigned shared_bytes, CUstream stream,
                               void** arguments, void** extra) {
    if (extra != nullptr) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    CUlaunchConfig config{};
    config.gridDimX = grid_x;
    config.gridDimY = grid_y;
    config.gridDimZ = grid_z;
    config.blockDimX = block_x;
    config.blockDimY = block_y;
    config.blockDimZ = block_z;
    config.sharedMemBytes = shared_bytes;
    config.hStream = stream;
    return launch(function, config, arguments, {});
}

VIRTUAL_GPU_API cuLaunchCooperativeKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                                          unsigned grid_z, unsigned block_x, unsigned block_y,
                                          unsigned block_z, unsigned shared_bytes, CUstream stream,
                                          void** arguments) {
    CUlaunchConfig config{};
    config.gridDimX = grid_x;
    config.gridDimY = grid_y;
    config.gridDimZ = grid_z;
    config.blockDimX = block_x;
    config.blockDimY = block_y;
    config.blockDimZ = block_z;
    config.sharedMemBytes = shared_bytes;
    config.hStream = stream;
    return launch(function, config, arguments, {true, false});
}

// Priorities and caching change when and how fast a kernel runs, not what it does; clusters do, and
// are refused.
VIRTUAL_GPU_API cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function,
                                 void** arguments, void** extra) {
    LaunchKind kind;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttribute& attribute = config->attrs[i];
        switch (attribute.id) {
            case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
                kind.is_cooperative = attribute.value.cooperative != 0;
                break;
            case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
                kind.is_dependent = attribute.value.programmaticStreamSerializationAllowed != 0;
                break;
            case CU_LAUNCH_ATTRIBUTE_PRIORITY:
            case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
            case CU_LAUNCH_ATTRIBUTE_IGNORE: break;
            default: return CUDA_ERROR_NOT_SUPPORTED;
        }
    }
    return extra != nullptr ? CUDA_ERROR_NOT_SUPPORTED : launch(function, *config, arguments, kind);
}

VIRTUAL_GPU_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction handle,
                                                            int block_size, size_t dynamic_bytes) {
    const auto* function = reinterpret_cast<const Function*>(handle);
    const size_t shared = function->kernel->static_shared_bytes + dynamic_bytes + 1024;
    const int by_threads = 2048 / ((block_size + 31) / 32 * 32);
    const int by_shared = static_cast<int>((shared_limit() + 1024) / shared);
    *blocks = std::min({by_threads, by_shared, 32});
    return CUDA_SUCCESS;
}
