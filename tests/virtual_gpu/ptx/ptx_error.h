// The one error of the PTX front end and the decoder: something in the text is not understood.
#pragma once

#include <stdexcept>
#include <string>

namespace virtual_gpu {

// What was found, where. An unknown opcode, suffix or directive is an error and never skipped: a
// kernel that half runs would prove nothing.
class PtxError : public std::runtime_error {
public:
    PtxError(int line, const std::string& what)
        : std::runtime_error("PTX line " + std::to_string(line) + ": " + what) {}
};

}  // namespace virtual_gpu
