#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"

// For tests that need real files. Everything is removed at the end of the test.
namespace fathom::test {

class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "fathom-test-XXXXXX").string();
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    std::string path() const { return path_.string(); }
    std::string path(std::string_view name) const { return (path_ / name).string(); }

    /// Creates or replaces a file.
    void write(std::string_view name, std::string_view content) const {
        std::error_code ignored;
        std::filesystem::remove_all(path_ / name, ignored);
        std::ofstream file(path_ / name, std::ios::binary);
        file.write(content.data(), static_cast<std::streamsize>(content.size()));
        REQUIRE(file.good());
    }
    /// Cuts a file, or lengthens it with a hole that takes no room on the disk.
    void resize(std::string_view name, uint64_t bytes) const {
        std::filesystem::resize_file(path_ / name, bytes);
    }
    void link(std::string_view name, std::string_view target) const {
        std::error_code ignored;
        std::filesystem::remove_all(path_ / name, ignored);
        std::filesystem::create_symlink(target, path_ / name);
    }
    void remove(std::string_view name) const { std::filesystem::remove_all(path_ / name); }

private:
    std::filesystem::path path_;
};

/// Message of the Error that `action` throws; the test fails if it throws none or another status.
template <typename Action>
std::string error_message(Action&& action, Status wanted = Status::kFormat) {
    try {
        action();
    } catch (const Error& error) {
        CHECK(static_cast<int>(error.status()) == static_cast<int>(wanted));
        return error.message();
    }
    FAIL("no error was thrown");
    return "";
}

/// A safetensors file: length, header, data.
inline std::string safetensors_file(std::string_view header, uint64_t data_bytes) {
    std::string file(8, '\0');
    for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
    file.append(header);
    for (uint64_t i = 0; i < data_bytes; ++i) file.push_back(static_cast<char>(i));
    return file;
}

}  // namespace fathom::test
