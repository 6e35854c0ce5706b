#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "host/host_support.h"

using namespace library;

// Each of these needs a process of its own: what it takes away does not come back. The parent runs
// the hidden case of the same name in a fresh process.
namespace {

void run_child(const std::string& test_case) {
    std::string output;
    const int code = host::in_fresh_process(test_case, &output);
    INFO(output);
    REQUIRE(code == 0);
}

/// A life that must work, whatever was taken away.
void require_life() {
    std::vector<int32_t> ids;
    REQUIRE(host::whole_life(fixture("v3-f32"), 8, &ids) == FATHOM_OK);
    REQUIRE(ids.size() == 8);
}

}  // namespace

// Breaks when a host with few descriptors cannot load a model, or a failure for want of them is
// more than an error: the checkpoint of a large model has hundreds of files.
TEST_CASE("host RLIMIT_NOFILE", "[host][hostile]") { run_child("child: RLIMIT_NOFILE"); }

TEST_CASE("child: RLIMIT_NOFILE", "[.child]") {
    rlimit limit{.rlim_cur = 16, .rlim_max = 16};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    require_life();
    // UBSan asks whether memory is there by writing it to a pipe, for which none is left below.
    if (host::kSanitized) return;
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt({3, 4, 5});
    const Stream stream = generate(session.get(), prompt.get(), at_most(3));
    // Take every descriptor that is left, then ask for one more in each way.
    std::vector<int> taken;
    for (int next = dup(0); next >= 0; next = dup(0)) taken.push_back(next);
    int64_t handle = -1;
    Result notify;
    notify.status = fathom_stream_notify_handle(stream.get(), &handle, &notify.error);
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    fathom_model* second = nullptr;
    Result loading;
    loading.status =
        fathom_model_load(engine.get(), &source, nullptr, &second, &loading.error);
    const Answer answer = drain(stream.get());
    for (const int descriptor : taken) close(descriptor);
    REQUIRE(notify.status == FATHOM_NO_MEMORY);
    REQUIRE(loading.status == FATHOM_IO);
    REQUIRE(loading.message().find("v3-f32") != std::string::npos);
    REQUIRE(answer.ids.size() == 3);
    REQUIRE(fathom_stream_notify_handle(stream.get(), &handle, nullptr) == FATHOM_OK);
    require_life();
}

// Breaks when a model that does not fit the address space ends the process instead of the call.
TEST_CASE("host RLIMIT_AS", "[host][hostile]") {
    if (host::kSanitized) SKIP("a sanitizer needs terabytes of address space");
    run_child("child: RLIMIT_AS");
}

TEST_CASE("child: RLIMIT_AS", "[.child]") {
    require_life();
    const uint64_t now = host::status_kib("VmSize") << 10;
    const Engine engine = new_engine();
    int n_refused = 0;
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    // Down from plenty to nothing, so that the refusal comes at many places of the way.
    for (uint64_t room = uint64_t{48} << 20; room >= uint64_t{1} << 20; room -= uint64_t{1} << 20) {
        rlimit limit{};
        getrlimit(RLIMIT_AS, &limit);
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = now + room;
        REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
        fathom_model* model = nullptr;
        const int32_t status =
            fathom_model_load(engine.get(), &source, nullptr, &model, nullptr);
        fathom_model_release(model);
        limit.rlim_cur = before;
        REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
        CAPTURE(room, status);
        REQUIRE((status == FATHOM_OK || status == FATHOM_NO_MEMORY));
        n_refused += status == FATHOM_NO_MEMORY ? 1 : 0;
    }
    REQUIRE(n_refused > 0);
    const Model model = load(engine.get(), demo_model());
    require_life();
}

// Breaks when a daemon that closed 0, 1 and 2 gets the library's files under those numbers and
// something of the library writes to them, or a descriptor number of 0 is taken for none.
TEST_CASE("host closed standard descriptors", "[host][hostile]") {
    run_child("child: closed standard descriptors");
}

TEST_CASE("child: closed standard descriptors", "[.child]") {
    const int saved[] = {dup(1), dup(2)};
    for (const int descriptor : {0, 1, 2}) close(descriptor);
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt({3, 4, 5});
    const Stream stream = generate(session.get(), prompt.get(), at_most(3));
    int64_t handle = -1;
    const int32_t status = fathom_stream_notify_handle(stream.get(), &handle, nullptr);
    // The host's own file as number 1 afterwards: nobody may write to it.
    const host::ScratchFolder scratch;
    const std::string path = scratch.path() + "/one";
    const int first = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const Answer answer = drain(stream.get());
    struct stat facts {};
    fstat(first, &facts);
    close(first);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    REQUIRE(status == FATHOM_OK);
    REQUIRE(handle == 0);
    REQUIRE(first == 1);
    REQUIRE(facts.st_size == 0);
    REQUIRE(answer.ids.size() == 3);
}

// Breaks when the library needs SIGPIPE, a current folder or file permissions of the host's.
TEST_CASE("host SIGPIPE and cwd and umask", "[host][hostile]") {
    run_child("child: SIGPIPE and cwd and umask");
}

TEST_CASE("child: SIGPIPE and cwd and umask", "[.child]") {
    std::signal(SIGPIPE, SIG_IGN);
    require_life();
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    umask(0777);
    {
        const host::ScratchFolder scratch;
        REQUIRE(chdir(scratch.path().c_str()) == 0);
        REQUIRE(rmdir(scratch.path().c_str()) == 0);
    }
    require_life();
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, nullptr, &now);
    REQUIRE(sigismember(&now, SIGTERM) == 1);
    REQUIRE(umask(0777) == 0777);
}

// Breaks when the library needs or replaces the alternate signal stack of its caller: a permission
// for large registers makes the kernel check their size, and 8 KiB is what some runtimes have.
TEST_CASE("host small alternate signal stack", "[host][hostile]") {
    run_child("child: small alternate signal stack");
}

TEST_CASE("child: small alternate signal stack", "[.child]") {
    static char stack[8192];
    stack_t alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
    stack_t before{};
    REQUIRE(sigaltstack(&alternate, &before) == 0);
    require_life();
    stack_t now{};
    REQUIRE(sigaltstack(nullptr, &now) == 0);
    REQUIRE(now.ss_sp == stack);
    sigaltstack(&before, nullptr);
}

// Breaks when a KV cache that no machine has costs memory or time before it is refused.
TEST_CASE("host KV cache larger than the machine", "[host][hostile]") {
    run_child("child: KV cache larger than the machine");
}

TEST_CASE("child: KV cache larger than the machine", "[.child]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.kv_cache_bytes = UINT64_MAX;
    const Engine engine = new_engine(options);
    const std::string folder = fixture("v3-f32");
    const fathom_source source = source_of(folder);
    const uint64_t before_kib = host::status_kib("VmHWM");
    fathom_model* model = nullptr;
    REQUIRE(fathom_model_load(engine.get(), &source, nullptr, &model, nullptr) ==
            FATHOM_NO_MEMORY);
    if (!host::kSanitized) REQUIRE(host::status_kib("VmHWM") - before_kib < 64 * 1024);
    require_life();
}
