#include <catch2/catch_test_macros.hpp>

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "host/broken_folders.h"
#include "host/host_support.h"

using namespace library;

namespace {

constexpr size_t kStackBytes = size_t{192} << 10;
constexpr unsigned char kPaint = 0xa5;

struct Measured {
    const char* call;
    int32_t status;
    size_t stack_bytes;
};

/// What the small thread works on; the results are judged on the main thread, whose stack Catch
/// may use as it likes.
struct Work {
    unsigned char* stack = nullptr;
    std::string folder;
    std::string regex_folder;          // a tokenizer whose pattern only the regex library knows
    std::string sentencepiece_folder;  // the same model of text by another algorithm
    std::string text;
    std::vector<int32_t> ids;
    std::vector<char> bytes;
    std::vector<Measured> calls;
};

/// Paints everything below this frame, makes the call and looks how deep the paint is scratched.
template <typename Body>
__attribute__((noinline)) void measure(Work& work, const char* name, Body&& body) {
    auto* here = static_cast<unsigned char*>(__builtin_frame_address(0));
    size_t used = 0;
    if constexpr (host::kSanitized) {
        work.calls.push_back({name, body(), 0});
        return;
    }
    constexpr size_t kOwnFrame = 1024;
    for (volatile unsigned char* p = work.stack; p < here - kOwnFrame; ++p) *p = kPaint;
    const int32_t status = body();
    const unsigned char* p = work.stack;
    while (p < here - kOwnFrame && *p == kPaint) ++p;
    used = static_cast<size_t>(here - p);
    work.calls.push_back({name, status, used});
}

void use_tokenizer(Work& work, fathom_tokenizer* tokenizer) {
    uint64_t count = 0;
    measure(work, "encode 1 MiB", [&] {
        return fathom_tokenizer_encode(tokenizer, work.text.data(), work.text.size(), 0,
                                       work.ids.data(), work.ids.size(), &count, nullptr);
    });
    measure(work, "decode", [&] {
        uint64_t n_bytes = 0;
        return fathom_tokenizer_decode(tokenizer, work.ids.data(), count, 0, work.bytes.data(),
                                       work.bytes.size(), &n_bytes, nullptr);
    });
    measure(work, "open", [&] {
        const fathom_source source = source_of(work.folder);
        fathom_tokenizer* opened = nullptr;
        const int32_t status = fathom_tokenizer_open(&source, &opened, nullptr);
        fathom_tokenizer_release(opened);
        return status;
    });
}

/// Text by the two ways that the demo model's own tokenizer does not take.
void use_other_tokenizers(Work& work) {
    for (const std::string* folder : {&work.regex_folder, &work.sentencepiece_folder}) {
        const fathom_source source = source_of(*folder);
        fathom_tokenizer* tokenizer = nullptr;
        measure(work, "open another", [&] {
            return fathom_tokenizer_open(&source, &tokenizer, nullptr);
        });
        measure(work, "encode 1 MiB with another", [&] {
            uint64_t count = 0;
            return fathom_tokenizer_encode(tokenizer, work.text.data(), work.text.size(), 0,
                                           work.ids.data(), work.ids.size(), &count, nullptr);
        });
        fathom_tokenizer_release(tokenizer);
    }
}

/// The whole computation of an answer, sampling included, on the caller's stack.
void use_manual_engine(Work& work, fathom_tokenizer* tokenizer) {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    fathom_engine* engine = nullptr;
    fathom_model* model = nullptr;
    fathom_prompt* prompt = nullptr;
    fathom_session* session = nullptr;
    fathom_stream* stream = nullptr;
    const fathom_source source = source_of(work.folder);
    measure(work, "estimate", [&] {
        fathom_memory_plan plan = sized<fathom_memory_plan>();
        return fathom_model_estimate(&options, &source, nullptr, &plan, nullptr);
    });
    measure(work, "manual load", [&] {
        const int32_t status = fathom_engine_create(&options, &engine, nullptr);
        return status != FATHOM_OK
                   ? status
                   : fathom_model_load(engine, &source, nullptr, &model, nullptr);
    });
    measure(work, "add_message", [&] {
        const int32_t status = fathom_prompt_create(tokenizer, nullptr, &prompt, nullptr);
        fathom_message message = sized<fathom_message>();
        message.role = FATHOM_ROLE_USER;
        message.text = work.text.data();
        message.text_bytes = 1000;
        return status != FATHOM_OK ? status : fathom_prompt_add_message(prompt, &message, nullptr);
    });
    fathom_generate_options sampled = at_most(20);
    sampled.flags |= FATHOM_GENERATE_PROMPT_LOGPROBS;
    sampled.temperature = 1;
    sampled.top_p = 0.9F;
    sampled.repetition_penalty = 1.1F;
    sampled.logprobs = 21;
    measure(work, "generate", [&] {
        const int32_t status = fathom_session_create(model, nullptr, &session, nullptr);
        return status != FATHOM_OK
                   ? status
                   : fathom_session_generate(session, prompt, &sampled, &stream, nullptr);
    });
    fathom_event event = sized<fathom_event>();
    int32_t more = 1;
    while (more == 1 && !work.calls.empty() && work.calls.back().status == FATHOM_OK) {
        measure(work, "engine_step", [&] {
            return fathom_engine_step(engine, 0, &more, nullptr);
        });
        measure(work, "wait_any", [&] {
            // A step whose token has no text yet makes no event.
            uint32_t ready = 1;
            const int32_t status =
                fathom_engine_wait_any(engine, &stream, 1, 0, &ready, nullptr);
            return status == FATHOM_TIMEOUT ? FATHOM_OK : status;
        });
        while (fathom_stream_next(stream, 0, &event, nullptr) == FATHOM_OK) {
        }
    }
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
    fathom_model_release(model);
    fathom_engine_release(engine);
}

void use_session(Work& work, fathom_model* model, const fathom_prompt* prompt) {
    fathom_session* session = nullptr;
    fathom_stream* stream = nullptr;
    measure(work, "session_create",
            [&] { return fathom_session_create(model, nullptr, &session, nullptr); });
    for (const bool cancel : {false, true}) {
        fathom_generate_options options = at_most(40);
        options.temperature = 1.0f;
        options.top_p = 0.9f;
        options.logprobs = 4;
        measure(work, "generate", [&] {
            return fathom_session_generate(session, prompt, &options, &stream, nullptr);
        });
        if (cancel) {
            measure(work, "cancel", [&] { fathom_stream_cancel(stream); return FATHOM_OK; });
        }
        measure(work, "next", [&] {
            fathom_event event = sized<fathom_event>();
            int32_t status = FATHOM_OK;
            while (status == FATHOM_OK && event.type != FATHOM_EVENT_DONE) {
                status = fathom_stream_next(stream, UINT64_MAX, &event, nullptr);
            }
            return status;
        });
        measure(work, "stream_release", [&] { fathom_stream_release(stream); return FATHOM_OK; });
    }
    measure(work, "session_release", [&] { fathom_session_release(session); return FATHOM_OK; });
}

void use_prompt(Work& work, fathom_model* model, fathom_tokenizer* tokenizer) {
    fathom_prompt* prompt = nullptr;
    measure(work, "prompt_create",
            [&] { return fathom_prompt_create(tokenizer, nullptr, &prompt, nullptr); });
    measure(work, "add_openai_json", [&] {
        const std::string json = R"([{"role":"system","content":"Short answers."},)"
                                 R"({"role":"user","content":"How much is 2 + 2?"}])";
        return fathom_prompt_add_openai_json(prompt, json.data(), json.size(), nullptr);
    });
    measure(work, "render", [&] {
        uint64_t count = 0;
        return fathom_prompt_render(prompt, work.ids.data(), work.ids.size(), &count, nullptr);
    });
    use_session(work, model, prompt);
    measure(work, "prompt_release", [&] { fathom_prompt_release(prompt); return FATHOM_OK; });
}

void* use_everything(void* argument) {
    Work& work = *static_cast<Work*>(argument);
    fathom_engine* engine = nullptr;
    fathom_model* model = nullptr;
    fathom_tokenizer* tokenizer = nullptr;
    const fathom_source source = source_of(work.folder);
    measure(work, "engine_create",
            [&] { return fathom_engine_create(nullptr, &engine, nullptr); });
    measure(work, "inspect", [&] {
        fathom_buffer* json = nullptr;
        const int32_t status = fathom_model_inspect(nullptr, &source, nullptr, &json, nullptr);
        fathom_buffer_release(json);
        return status;
    });
    measure(work, "load",
            [&] { return fathom_model_load(engine, &source, nullptr, &model, nullptr); });
    measure(work, "model_tokenizer",
            [&] { return fathom_model_tokenizer(model, &tokenizer, nullptr); });
    measure(work, "devices", [&] {
        fathom_device_info device = sized<fathom_device_info>();
        uint32_t count = 1;
        return fathom_devices_query(&device, &count, nullptr);
    });
    use_tokenizer(work, tokenizer);
    use_other_tokenizers(work);
    use_prompt(work, model, tokenizer);
    use_manual_engine(work, tokenizer);
    fathom_tokenizer_release(tokenizer);
    measure(work, "model_release", [&] { fathom_model_release(model); return FATHOM_OK; });
    measure(work, "shutdown", [&] { return fathom_engine_shutdown(engine, 0, nullptr); });
    measure(work, "engine_release", [&] { fathom_engine_release(engine); return FATHOM_OK; });
    return nullptr;
}

/// The demo model's tokenizer with a pattern that nobody publishes.
void write_regex_folder(const host::Folder& folder) {
    const host::Folder demo(demo_model());
    nlohmann::json json = nlohmann::json::parse(demo.read("tokenizer.json"));
    json["pre_tokenizer"] = nlohmann::json::parse(R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(?:\\p{L}|\\p{N}){1,7}|\\s+(?!\\S)|[^a-z]"},
         "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
         "use_regex": false}]})");
    folder.write("tokenizer.json", json.dump());
}

}  // namespace

// Breaks when a call needs more of the caller's stack than a Java or Go thread has to give.
TEST_CASE("host small stack", "[host]") {
    Work work;
    work.folder = demo_model();
    const host::ScratchFolder regex;
    const host::ScratchFolder sentencepiece;
    work.regex_folder = regex.path();
    work.sentencepiece_folder = sentencepiece.path();
    write_regex_folder(host::Folder(regex.path()));
    host::write_sentencepiece_folder(host::Folder(sentencepiece.path()),
                                     host::good_sentencepiece_model());
    while (work.text.size() < size_t{1} << 20) work.text += "The invoice 4711 over 12,50 EUR. ";
    work.text.append("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    work.ids.resize(work.text.size());
    work.bytes.resize(2 * work.text.size());
    work.calls.reserve(200);
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1, 0);
    REQUIRE(memory != MAP_FAILED);
    work.stack = static_cast<unsigned char*>(memory);
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstack(&attributes, memory, kStackBytes) == 0);
    pthread_t thread;
    REQUIRE(pthread_create(&thread, &attributes, use_everything, &work) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    size_t deepest = 0;
    for (const Measured& call : work.calls) {
        INFO(call.call << ": " << call.stack_bytes << " bytes of stack");
        CHECK(call.status == FATHOM_OK);
        CHECK(call.stack_bytes < size_t{64} << 10);
        deepest = std::max(deepest, call.stack_bytes);
    }
    REQUIRE(work.calls.size() > 70);
    std::printf("deepest call: %zu bytes of the caller's stack\n", deepest);
    munmap(memory, kStackBytes);
}
