#include "host/host_support.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

extern char** environ;

namespace host {

int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int in_fork(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) _exit(body());
    return child < 0 ? -1 : wait_for(child);
}

int in_fresh_process(const std::string& test_case, std::string* output) {
    const ScratchFolder scratch;
    const std::string log = scratch.path() + "/output";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    std::string name = test_case;
    std::string program = "/proc/self/exe";
    char* arguments[] = {program.data(), name.data(), nullptr};
    pid_t child = 0;
    const int failed = posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) return -1;
    const int code = wait_for(child);
    if (output != nullptr) {
        std::ifstream file(log);
        output->assign(std::istreambuf_iterator<char>(file), {});
    }
    return code;
}

namespace {

size_t n_entries(const char* folder) {
    size_t n = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
        if (!entry.path().empty()) ++n;
    }
    return n;
}

}  // namespace

size_t n_descriptors() { return n_entries("/proc/self/fd"); }
size_t n_threads() { return n_entries("/proc/self/task"); }

size_t n_threads_settled(size_t wanted) {
    for (int tries = 0; tries < 200 && n_threads() > wanted; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return n_threads();
}

uint64_t status_kib(const std::string& field) {
    std::ifstream file("/proc/self/status");
    std::string line;
    while (std::getline(file, line)) {
        if (line.rfind(field + ":", 0) == 0) {
            return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10);
        }
    }
    return 0;
}

ScratchFolder::ScratchFolder() {
    std::string name = std::filesystem::temp_directory_path().string() + "/fathom-host-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
}

ScratchFolder::~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

int32_t whole_life(const std::string& folder, int32_t n_tokens, std::vector<int32_t>* ids) {
    fathom_engine_options engine_options = library::sized<fathom_engine_options>();
    engine_options.n_threads = 2;
    engine_options.deterministic = 1;
    engine_options.max_batch_rows = 32;
    engine_options.max_sequences = 4;
    fathom_engine* engine = nullptr;
    fathom_model* model = nullptr;
    fathom_prompt* prompt = nullptr;
    fathom_session* session = nullptr;
    fathom_stream* stream = nullptr;
    const fathom_source source = library::source_of(folder);
    fathom_model_options model_options = library::sized<fathom_model_options>();
    model_options.context = 128;
    fathom_generate_options options = library::at_most(static_cast<uint64_t>(n_tokens));
    const int32_t input[] = {3, 40, 77, 114, 151, 188, 225};
    int32_t status = fathom_engine_create(&engine_options, &engine, nullptr);
    if (status == FATHOM_OK) {
        status = fathom_model_load(engine, &source, &model_options, &model, nullptr);
    }
    if (status == FATHOM_OK) status = fathom_prompt_create(nullptr, nullptr, &prompt, nullptr);
    if (status == FATHOM_OK) status = fathom_prompt_add_tokens(prompt, input, 7, nullptr);
    if (status == FATHOM_OK) status = fathom_session_create(model, nullptr, &session, nullptr);
    if (status == FATHOM_OK) {
        status = fathom_session_generate(session, prompt, &options, &stream, nullptr);
    }
    fathom_event event = library::sized<fathom_event>();
    while (status == FATHOM_OK && event.type != FATHOM_EVENT_DONE) {
        status = fathom_stream_next(stream, UINT64_MAX, &event, nullptr);
        if (status == FATHOM_OK && ids != nullptr) {
            ids->insert(ids->end(), event.ids, event.ids + event.n_ids);
        }
    }
    if (status == FATHOM_OK) status = event.status;
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
    fathom_model_release(model);
    fathom_engine_release(engine);
    return status;
}

}  // namespace host
