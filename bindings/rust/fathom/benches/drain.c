// The loop that the Rust iterator is compared with, in C, in the same process and on the same
// library: overhead.rs loads this as a shared object and calls both in turn.
#define _POSIX_C_SOURCE 200809L // clock_gettime
#include <fathom/fathom.h>
#include <stddef.h>
#include <time.h>

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Opens a manual engine with a model, and sessions and a prompt of it. 0 where something fails.
int32_t drain_open(const char* folder, uint64_t folder_bytes, const char* text, uint64_t text_bytes,
                   fathom_engine** engine, fathom_session** sessions, uint32_t n_sessions,
                   fathom_prompt** prompt) {
    fathom_engine_options options = {sizeof options};
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    options.kv_cache_bytes = 64 << 20;
    fathom_source source = {sizeof source};
    source.path = folder;
    source.path_bytes = folder_bytes;
    fathom_message message = {sizeof message};
    message.role = FATHOM_ROLE_USER;
    message.text = text;
    message.text_bytes = text_bytes;
    fathom_model* model = NULL;
    fathom_tokenizer* tokenizer = NULL;
    int32_t opened =
        fathom_engine_create(&options, engine, NULL) == FATHOM_OK &&
        fathom_model_load(*engine, &source, NULL, &model, NULL) == FATHOM_OK &&
        fathom_model_tokenizer(model, &tokenizer, NULL) == FATHOM_OK &&
        fathom_prompt_create(tokenizer, NULL, prompt, NULL) == FATHOM_OK &&
        fathom_prompt_add_message(*prompt, &message, NULL) == FATHOM_OK;
    for (uint32_t i = 0; i < n_sessions && opened; ++i) {
        opened = fathom_session_create(model, NULL, &sessions[i], NULL) == FATHOM_OK;
    }
    fathom_tokenizer_release(tokenizer);
    fathom_model_release(model);
    return opened;
}

// Lets answers fill their queues, then reads one after the other. Returns nanoseconds for the
// reading, 0 on failure.
uint64_t drain_round(fathom_engine* engine, fathom_session* const* sessions, uint32_t n_sessions,
                     const fathom_prompt* prompt, uint64_t max_tokens, uint64_t* n_events,
                     uint64_t* n_bytes) {
    fathom_generate_options options = {sizeof options};
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    options.max_tokens = max_tokens;
    fathom_stream* streams[64] = {NULL};
    for (uint32_t i = 0; i < n_sessions; ++i) {
        if (i == 64 || fathom_session_generate(sessions[i], prompt, &options, &streams[i], NULL))
            return 0;
    }
    for (int32_t more = 1; more != 0;) {
        if (fathom_engine_step(engine, 0, &more, NULL) != FATHOM_OK) return 0;
    }
    fathom_event event = {sizeof event};
    const uint64_t start_ns = now_ns();
    for (uint32_t i = 0; i < n_sessions; ++i) {
        do {
            if (fathom_stream_next(streams[i], UINT64_MAX, &event, NULL) != FATHOM_OK) return 0;
            *n_events += 1;
            *n_bytes += event.type == FATHOM_EVENT_TEXT ? event.text_bytes : 0;
        } while (event.type != FATHOM_EVENT_DONE);
    }
    const uint64_t end_ns = now_ns();
    for (uint32_t i = 0; i < n_sessions; ++i) fathom_stream_release(streams[i]);
    return end_ns - start_ns;
}
