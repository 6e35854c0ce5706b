#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <pthread.h>

#include <catch2/catch_test_macros.hpp>

#include "base/file.h"
#include "base/status.h"
#include "tokenizer/tokenizer.h"

// What the tests of tokenizers and dialects share.
namespace fathom::test {

/// Unpacked reference data: tests/tools/unpack_shared.py makes it before the tests run.
inline std::string reference_path(const std::string& name) {
    return std::string(FATHOM_TEST_DATA_DIR) + "/" + name;
}

/// Says loudly that a test does not run: the reference data lies beside the repository, not in it.
/// Where it lies there, it must have been unpacked.
#define FATHOM_NEEDS_REFERENCE(name)                                               \
    if (!std::filesystem::exists(::fathom::test::reference_path(name))) {          \
        std::fprintf(stderr, "SKIPPED: no %s; run tests/tools/unpack_shared.py\n", \
                     ::fathom::test::reference_path(name).c_str());                \
        REQUIRE_FALSE(std::filesystem::exists(FATHOM_SHARED_DIR "/tokenizers"));   \
        SKIP("no reference data");                                                 \
    }

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file.good());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file.good());
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

/// A folder of its own for one test, removed at the end.
class TokenizerFolder {
public:
    TokenizerFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "fathom-XXXXXX").string();
        path_ = mkdtemp(pattern.data());
    }
    ~TokenizerFolder() { std::filesystem::remove_all(path_); }
    TokenizerFolder(const TokenizerFolder&) = delete;
    TokenizerFolder& operator=(const TokenizerFolder&) = delete;

    void write(const std::string& name, std::string_view bytes) const {
        std::ofstream(path_ + "/" + name, std::ios::binary) << bytes;
    }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

inline std::shared_ptr<const Tokenizer> open_folder(const std::string& path) {
    return Tokenizer::open(Directory(path));
}

/// A reference tokenizer, opened once a process.
inline std::shared_ptr<const Tokenizer> reference_tokenizer(const std::string& name) {
    static std::vector<std::pair<std::string, std::shared_ptr<const Tokenizer>>> opened;
    for (const auto& [known, tokenizer] : opened) {
        if (known == name) return tokenizer;
    }
    opened.emplace_back(name, open_folder(reference_path(name)));
    return opened.back().second;
}

inline std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                                   bool parse_special = false) {
    std::vector<int32_t> ids;
    tokenizer.encode(text, parse_special, ids);
    return ids;
}

inline std::string decode(const Tokenizer& tokenizer, const std::vector<int32_t>& ids,
                          bool skip_special = false) {
    std::string text;
    tokenizer.decode(ids, skip_special, text);
    return text;
}

/// The bytes of the tokens one behind the other, ill-formed or not.
inline std::string bytes_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
    std::string bytes;
    for (const int32_t id : ids) bytes += tokenizer.token_bytes(id);
    return bytes;
}

/// The error that `action` throws.
inline Error error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error;
    }
    FAIL("no error was thrown");
    return Error(Status::kOk, "");
}

/// Runs `body` on a thread with the small stack that a host's thread may have.
inline void on_small_stack(const std::function<void()>& body, size_t bytes = 192 << 10) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bytes *= 8;  // red zones make every frame several times larger
#endif
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, bytes) == 0);
    pthread_t thread;
    REQUIRE(pthread_create(
                &thread, &attributes,
                [](void* task) -> void* {
                    (*static_cast<const std::function<void()>*>(task))();
                    return nullptr;
                },
                const_cast<std::function<void()>*>(&body)) == 0);
    REQUIRE(pthread_join(thread, nullptr) == 0);
    pthread_attr_destroy(&attributes);
}

}  // namespace fathom::test
