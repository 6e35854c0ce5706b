#include <catch2/catch_test_macros.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "host/host_support.h"
#include "unit/host_locale.h"

using namespace library;

extern char** environ;

namespace {

constexpr int kSignals = 64;

/// Handlers, their flags and masks; the terminate handler; the caller's own signal mask.
struct SignalState {
    std::vector<struct sigaction> actions = std::vector<struct sigaction>(kSignals + 1);
    std::terminate_handler terminate = nullptr;
    stack_t alternate{};
    sigset_t mask{};
};

SignalState signal_state() {
    SignalState state;
    for (int number = 1; number <= kSignals; ++number) {
        sigaction(number, nullptr, &state.actions[static_cast<size_t>(number)]);
    }
    state.terminate = std::get_terminate();
    sigaltstack(nullptr, &state.alternate);
    pthread_sigmask(SIG_BLOCK, nullptr, &state.mask);
    return state;
}

bool same_set(const sigset_t& a, const sigset_t& b) {
    for (int number = 1; number <= kSignals; ++number) {
        if (sigismember(&a, number) != sigismember(&b, number)) return false;
    }
    return true;
}

/// Locale, folder, umask and environment of the process.
struct Surroundings {
    std::string locale = std::setlocale(LC_ALL, nullptr);
    std::string folder = std::filesystem::current_path().string();
    mode_t mask = 0;
    std::vector<std::string> environment;

    Surroundings() : mask(umask(022)) {
        umask(mask);
        for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
    }
    bool operator==(const Surroundings& other) const {
        return locale == other.locale && folder == other.folder && mask == other.mask &&
               environment == other.environment;
    }
};

/// Loads, speaks and fails once with the demo model, whose folder has everything.
void use_library() {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Session session = new_session(model.get());
    const Prompt prompt = question(tokenizer.get(), "How much is 12 + 34?");
    const Stream stream = generate(session.get(), prompt.get(), at_most(20));
    REQUIRE(drain(stream.get()).ids.size() == 20);
    const std::string nowhere = "/nowhere";
    const fathom_source source = source_of(nowhere);
    fathom_model* missing = nullptr;
    REQUIRE(fathom_model_load(engine.get(), &source, nullptr, &missing, nullptr) == FATHOM_IO);
}

}  // namespace

// Breaks when the library installs a handler, which is fatal for JVM and Go hosts, or leaves the
// caller's signal mask changed.
TEST_CASE("host signals unchanged", "[host]") {
    const SignalState before = signal_state();
    use_library();
    const SignalState after = signal_state();
    for (int number = 1; number <= kSignals; ++number) {
        CAPTURE(number);
        const auto& was = before.actions[static_cast<size_t>(number)];
        const auto& is = after.actions[static_cast<size_t>(number)];
        REQUIRE(reinterpret_cast<void*>(was.sa_handler) == reinterpret_cast<void*>(is.sa_handler));
        REQUIRE(was.sa_flags == is.sa_flags);
        REQUIRE(same_set(was.sa_mask, is.sa_mask));
    }
    REQUIRE(before.terminate == after.terminate);
    REQUIRE(before.alternate.ss_sp == after.alternate.ss_sp);
    REQUIRE(same_set(before.mask, after.mask));
}

// Breaks when a host's signal handler can run on a stack of the library, or when a crash on one is
// hidden from the host's crash reporter.
TEST_CASE("host threads block asynchronous signals", "[host]") {
    std::vector<std::string> own;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        own.push_back(task.path().string());
    }
    fathom_engine_options options = sized<fathom_engine_options>();
    options.n_threads = 4;
    const Engine engine = new_engine(options);
    const Model model = load(engine.get(), fixture("v3-f32"));
    // The C library starts a thread with everything blocked; one that has computed is past that.
    const Session session = new_session(model.get());
    const Prompt prompt = raw_prompt(host::fixture_prompt(8));
    const Stream stream = generate(session.get(), prompt.get(), at_most(2));
    REQUIRE(drain(stream.get()).ids.size() == 2);
    size_t n_new = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (std::find(own.begin(), own.end(), task.path().string()) != own.end()) continue;
        ++n_new;
        std::ifstream status(task.path() / "status");
        std::string line;
        uint64_t blocked = 0;
        while (std::getline(status, line)) {
            if (line.rfind("SigBlk:", 0) == 0) blocked = std::strtoull(&line[7], nullptr, 16);
        }
        const auto blocks = [&](int number) { return (blocked >> (number - 1) & 1) != 0; };
        for (const int number :
             {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGPROF, SIGURG, SIGUSR1, SIGUSR2, SIGCHLD, SIGPIPE,
              SIGVTALRM, SIGIO, SIGQUIT, 34, 50, 64}) {
            CAPTURE(number, task.path().string());
            // The C library keeps 32 and 33 for itself.
            REQUIRE(blocks(number));
        }
        for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
            CAPTURE(number);
            REQUIRE_FALSE(blocks(number));
        }
    }
    REQUIRE(n_new == 4);  // The executor and three beside it.
}

// Breaks when the library writes to the host's standard output or error, where a protocol may run.
TEST_CASE("host output silent", "[host]") {
    std::fflush(stdout);
    std::fflush(stderr);
    int pipe_ends[2];
    REQUIRE(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) == 0);
    const int saved[] = {dup(1), dup(2)};
    dup2(pipe_ends[1], 1);
    dup2(pipe_ends[1], 2);
    const int32_t lived = host::whole_life(demo_model(), 5, nullptr);
    const int32_t failed = host::whole_life("/nowhere", 5, nullptr);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    char bytes[256];
    const ssize_t n_bytes = read(pipe_ends[0], bytes, sizeof bytes);
    for (const int descriptor : {saved[0], saved[1], pipe_ends[0], pipe_ends[1]}) close(descriptor);
    REQUIRE(lived == FATHOM_OK);
    REQUIRE(failed == FATHOM_IO);
    REQUIRE(n_bytes == -1);  // EAGAIN: the pipe is empty.
}

// Breaks when the library changes what belongs to the whole process.
TEST_CASE("host surroundings unchanged", "[host]") {
    const Surroundings before;
    use_library();
    REQUIRE(before == Surroundings());
}

#if defined(__x86_64__)

namespace {

uint16_t x87_control() {
    uint16_t word = 0;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return word;
}

/// The ids of one answer and the control words around each of its calls.
std::vector<int32_t> answer_under(uint32_t mxcsr, bool& changed) {
    const uint32_t before = _mm_getcsr();
    const uint16_t x87 = x87_control();
    std::vector<int32_t> ids;
    _mm_setcsr(mxcsr);
    const int32_t status = host::whole_life(fixture("v3-f32"), 24, &ids);
    // The flags of past exceptions in the low bits are the program's own arithmetic.
    changed = ((_mm_getcsr() ^ mxcsr) & ~0x3fu) != 0 || x87_control() != x87;
    _mm_setcsr(before);
    REQUIRE(status == FATHOM_OK);
    return ids;
}

}  // namespace

// Breaks when the host's rounding mode or flush-to-zero reaches the library's arithmetic, or the
// library leaves its own behind.
TEST_CASE("host floating point control", "[host]") {
    bool changed = true;
    const std::vector<int32_t> usual = answer_under(0x1f80, changed);
    REQUIRE_FALSE(changed);
    REQUIRE(usual.size() == 24);
    constexpr uint32_t kFlushAndTowardsZero = 0x1f80 | 0x8040 | 0x6000;
    REQUIRE(answer_under(kFlushAndTowardsZero, changed) == usual);
    REQUIRE_FALSE(changed);
    constexpr uint32_t kDivideByZeroTraps = 0x1f80 & ~0x0200u;
    REQUIRE(answer_under(kDivideByZeroTraps, changed) == usual);
    REQUIRE_FALSE(changed);
}

#endif

namespace {

struct Spoken {
    std::vector<int32_t> ids;
    std::string json;
    bool operator==(const Spoken&) const = default;
};

Spoken speak() {
    Spoken spoken;
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Session session = new_session(model.get());
    const Prompt prompt = question(tokenizer.get(), "TITLE: I owe 1,234.50 EUR.");
    const Stream stream = generate(session.get(), prompt.get(), at_most(20));
    spoken.ids = drain(stream.get()).ids;
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    fathom_buffer* json = nullptr;
    REQUIRE(fathom_model_inspect(nullptr, &source, nullptr, &json, nullptr) == FATHOM_OK);
    uint64_t n_bytes = 0;
    const char* text = fathom_buffer_data(json, &n_bytes);
    spoken.json.assign(text, n_bytes);
    fathom_buffer_release(json);
    return spoken;
}

}  // namespace

// Breaks when numbers or letters are read and written by the rules of the host's locale: a comma
// for a point, a dotless i.
TEST_CASE("host locale tr_TR and de_DE", "[host]") {
    const Spoken plain = speak();
    for (const std::string name : {"tr_TR", "de_DE"}) {
        CAPTURE(name);
        const fathom::test::HostLocale locale(name);
        REQUIRE(speak() == plain);
    }
}
