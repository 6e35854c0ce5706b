#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// The only file with file-system calls. Untrusted folders are read with pread into our own memory:
// a mapped file that shrinks raises SIGBUS, which no guest library can turn into an error.
namespace fathom {

/// A regular file opened for reading. Symbolic links are followed only as far as the folder that
/// contains the file: the last component must not be a link that leaves the folder (see Directory).
class File {
public:
    File() = default;
    ~File();
    File(File&& other) noexcept;
    File& operator=(File&& other) noexcept;
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    uint64_t size() const { return size_; }
    const std::string& path() const { return path_; }  // for messages

    /// Fills `out` from `offset` or throws Error(kIo) naming path, offset and found length. A file
    /// that shrank after opening is such an error.
    void read(uint64_t offset, std::span<std::byte> out) const;

    /// The whole file; refuses more than `limit` bytes before allocating.
    std::string read_all(uint64_t limit) const;

private:
    friend class Directory;
    int descriptor_ = -1;
    uint64_t size_ = 0;
    std::string path_;
};

/// A folder whose files are opened by plain name. Names with a slash, "..", links that lead out of
/// the folder, FIFOs, devices and sockets are refused: a shard list is untrusted input.
class Directory {
public:
    explicit Directory(std::string path);
    ~Directory();
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    const std::string& path() const { return path_; }
    bool contains(std::string_view name) const;
    File open(std::string_view name) const;

    /// Names of the directory entries that end in `suffix`, sorted.
    std::vector<std::string> list(std::string_view suffix) const;

private:
    int descriptor_ = -1;
    std::string path_;
};

}  // namespace fathom
