#include "ptx/ptx_module.h"

namespace virtual_gpu {

std::string describe_location(const PtxModule& module, uint32_t location) {
    const SourceLocation& at = module.locations[location];
    if (at.line == 0) {
        return "?";
    }
    const auto place = [&module](uint32_t file, uint32_t line) {
        const auto found = module.files.find(file);
        const std::string path = found == module.files.end() ? "?" : found->second;
        return path.substr(path.rfind('/') + 1) + ":" + std::to_string(line);
    };
    std::string text = place(at.file, at.line);
    if (at.inlined_line != 0) {
        text += " (inlined at " + place(at.inlined_file, at.inlined_line) + ")";
    }
    return text;
}

}  // namespace virtual_gpu
