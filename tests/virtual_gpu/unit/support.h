// What the tests of the machine share: a device, arguments, and random values.
#pragma once

#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "machine/executor.h"
#include "machine/numeric.h"

namespace virtual_gpu {

// splitmix64: the same values on every machine.
struct Values {
    uint64_t state;
    uint64_t next() {
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }
    float uniform() { return static_cast<float>(next() >> 40) / 8388608.0f - 1.0f; }  // [-1, 1)
    std::vector<uint16_t> bf16(size_t n) {
        std::vector<uint16_t> values(n);
        for (uint16_t& value : values) {
            value = float_to_bf16(uniform());
        }
        return values;
    }
    std::vector<float> f32(size_t n) {
        std::vector<float> values(n);
        for (float& value : values) {
            value = uniform();
        }
        return values;
    }
};

template <class T>
uint64_t upload(Machine& machine, const std::vector<T>& values) {
    const uint64_t bytes = values.size() * sizeof(T);
    const uint64_t address = machine.memory().allocate(bytes);
    std::memcpy(machine.memory().find(address, bytes), values.data(), bytes);
    machine.memory().mark_written(address, bytes);
    return address;
}

template <class T>
std::vector<T> download(Machine& machine, uint64_t address, size_t n) {
    std::vector<T> values(n);
    std::memcpy(values.data(), machine.memory().find(address, n * sizeof(T)), n * sizeof(T));
    return values;
}

// Puts arguments where the kernel's parameters are.
template <class... T>
LaunchRequest request_for(const Kernel& kernel, Dim grid, Dim block, T... arguments) {
    LaunchRequest request;
    request.grid = grid;
    request.block = block;
    request.parameters.resize(kernel.parameter_bytes);
    size_t i = 0;
    const auto put = [&](const void* value, size_t bytes) {
        std::memcpy(request.parameters.data() + kernel.parameters.at(i).offset, value, bytes);
        i += 1;
    };
    (put(&arguments, sizeof arguments), ...);
    return request;
}

inline std::string read_text(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// All findings as one text, so that a failing test shows them.
inline std::string findings_text(Machine& machine) {
    std::string text;
    for (const Finding& finding : machine.findings().list()) {
        text += describe(finding) + "\n";
    }
    return text;
}

}  // namespace virtual_gpu
