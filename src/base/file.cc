#include "base/file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"

namespace fathom {
namespace {

/// strerror() uses locale and a shared buffer; the number with its kernel name is enough to act on.
std::string errno_text(int code) {
    const char* name = strerrorname_np(code);
    return concat(name == nullptr ? "unknown error" : name, " (errno ", code, ")");
}

/// What openat2 does, where a sandbox or an old kernel has none: a link is read and followed by
/// hand, if its target is a plain name, so that every step stays in the folder.
int open_step_by_step(int folder, std::string name) {
    constexpr int kLinksMax = 8;
    for (int links = 0; links <= kLinksMax; ++links) {
        const int descriptor = openat(folder, name.c_str(),
                                      O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
        if (descriptor >= 0 || errno != ELOOP) return descriptor;
        char target[256];  // longer than any plain name
        const ssize_t bytes = readlinkat(folder, name.c_str(), target, sizeof target);
        if (bytes < 0) return -1;
        name.assign(target, static_cast<size_t>(bytes));
        if (name.find('/') != std::string::npos || name == "..") {
            errno = EXDEV;
            return -1;
        }
    }
    errno = ELOOP;
    return -1;
}

/// Opens `name` so that resolution cannot leave the folder.
int open_beneath(int folder, const std::string& name) {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    long descriptor = syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how);
    if (descriptor < 0 && (errno == ENOSYS || errno == EPERM)) {
        descriptor = open_step_by_step(folder, name);
    }
    return static_cast<int>(descriptor);
}

}  // namespace

File::~File() {
    if (descriptor_ >= 0) close(descriptor_);
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(size_, other.size_);
    std::swap(path_, other.path_);
    return *this;
}

void File::read(uint64_t offset, std::span<std::byte> out) const {
    // One pread of many gigabytes is cut by the kernel near 2 GiB; smaller pieces also let the
    // caller's cancellation be noticed between calls.
    constexpr size_t kPiece = size_t{64} << 20;
    size_t done = 0;
    while (done < out.size()) {
        const size_t want = std::min(kPiece, out.size() - done);
        const ssize_t got =
            pread(descriptor_, out.data() + done, want, static_cast<off_t>(offset + done));
        if (got > 0) {
            done += static_cast<size_t>(got);
            continue;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            fail(Status::kIo, path_, ": reading ", out.size(), " bytes at offset ", offset,
                 " failed after ", done, ": ", errno_text(errno));
        }
        fail(Status::kIo, path_, ": file ends at byte ", offset + done, ", expected ", out.size(),
             " bytes at offset ", offset, " (the file had ", size_, " bytes when it was opened)");
    }
}

std::string File::read_all(uint64_t limit) const {
    if (size_ > limit) {
        fail(Status::kFormat, path_, ": file has ", size_, " bytes, the limit is ", limit);
    }
    std::string text(static_cast<size_t>(size_), '\0');
    read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

Directory::Directory(std::string path) : path_(std::move(path)) {
    if (path_.find('\0') != std::string::npos) {
        fail(Status::kInvalidArgument, "model folder: the path contains a NUL byte");
    }
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (descriptor_ < 0) {
        fail(Status::kIo, path_, ": cannot open the folder: ", errno_text(errno));
    }
}

Directory::~Directory() {
    if (descriptor_ >= 0) close(descriptor_);
}

bool Directory::contains(std::string_view name) const {
    struct stat info;
    const std::string plain(name);
    // A link counts even if it leads nowhere: open() then says what is wrong with it.
    return fstatat(descriptor_, plain.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

File Directory::open(std::string_view name) const {
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
        fail(Status::kFormat, path_, ": '", printable(name),
             "' is not a plain file name inside the folder");
    }
    File file;
    const std::string plain(name);
    // For messages only, and the name may come from an untrusted index.
    file.path_ = concat(path_, "/", printable(plain, 255));
    file.descriptor_ = open_beneath(descriptor_, plain);
    if (file.descriptor_ < 0) {
        const int code = errno;
        const bool leaves = code == EXDEV || code == ELOOP;
        fail(leaves ? Status::kFormat : Status::kIo, file.path_, ": cannot open: ",
             leaves ? "the link leads out of the folder" : errno_text(code));
    }
    struct stat info;
    if (fstat(file.descriptor_, &info) != 0) {
        fail(Status::kIo, file.path_, ": cannot stat: ", errno_text(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        fail(Status::kFormat, file.path_, ": not a regular file");
    }
    file.size_ = static_cast<uint64_t>(info.st_size);
    return file;
}

std::vector<std::string> Directory::list(std::string_view suffix) const {
    const int copy = openat(descriptor_, ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (copy < 0) fail(Status::kIo, path_, ": cannot list the folder: ", errno_text(errno));
    const auto close_folder = [](DIR* folder) { closedir(folder); };
    const std::unique_ptr<DIR, decltype(close_folder)> folder(fdopendir(copy), close_folder);
    if (folder == nullptr) {
        const int code = errno;
        close(copy);
        fail(Status::kIo, path_, ": cannot list the folder: ", errno_text(code));
    }
    std::vector<std::string> names;
    while (const dirent* entry = readdir(folder.get())) {
        const std::string_view name = entry->d_name;
        if (name.ends_with(suffix)) names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace fathom
