#include "nccl/nccl_comm.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace virtual_nccl {
namespace {

Settings read_settings() {
    Settings read;
    const char* variable = std::getenv("FATHOM_VIRTUAL_NCCL");
    const std::string text = variable == nullptr ? "" : variable;
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find(',', at), text.size());
        const std::string pair = text.substr(at, end - at);
        at = end + 1;
        const size_t equals = std::min(pair.find('='), pair.size() - 1);
        uint64_t value = 0;
        std::from_chars(pair.data() + equals + 1, pair.data() + pair.size(), value);
        const std::string key = pair.substr(0, equals);
        if (key == "timeout_ms") {
            read.timeout_ms = value;
        } else if (key == "hang_rank") {
            read.hang_rank = static_cast<int>(value);
        } else if (key == "hang_at") {
            read.hang_at = value;
        }
    }
    return read;
}

}  // namespace

const Settings& settings() {
    static const Settings all = read_settings();
    return all;
}

Comm::Comm(const ncclUniqueId& id, int rank_, int n_ranks_) : rank(rank_), n_ranks(n_ranks_) {
    name_.assign(id.internal, strnlen(id.internal, sizeof id.internal));
    const int file = shm_open(name_.c_str(), O_CREAT | O_RDWR, 0600);
    if (file < 0 || ftruncate(file, sizeof(Segment)) != 0) {
        throw std::runtime_error("no shared memory '" + name_ + "'");
    }
    void* at = mmap(nullptr, sizeof(Segment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) {
        throw std::runtime_error("shared memory '" + name_ + "' cannot be mapped");
    }
    segment_ = static_cast<Segment*>(at);
    segment_->process[rank] = getpid();
    // The last to come takes the name away, so that nothing is left behind.
    if (++segment_->joined == static_cast<uint32_t>(n_ranks)) {
        shm_unlink(name_.c_str());
    }
}

Comm::~Comm() {
    segment_->is_gone[rank] = 1;
    if (!all_joined()) {
        shm_unlink(name_.c_str());
    }
    munmap(segment_, sizeof(Segment));
}

int Comm::missing_rank() const {
    for (int other = 0; other < n_ranks; other++) {
        const pid_t process = segment_->process[other];
        const bool is_dead = process != 0 && kill(process, 0) != 0 && errno == ESRCH;
        if (other != rank && (is_dead || segment_->is_gone[other] != 0)) {
            return other;
        }
    }
    return -1;
}

void Comm::fail(ncclResult_t first, const std::string& why) {
    int none = ncclSuccess;
    if (error.compare_exchange_strong(none, first)) {
        std::fprintf(stderr, "virtual NCCL, rank %d of %d: %s\n", rank, n_ranks, why.c_str());
    }
}

}  // namespace virtual_nccl
