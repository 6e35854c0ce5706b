// The loop that OverheadTest times, in C: many answers are computed until their queues hold them
// whole, then the queues are emptied against the clock. Prints the median nanoseconds an event,
// what was read, and the bytes of memory of an open stream that is waited for.
#include <fathom/fathom.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kOpen = 2000, kStreams = 32, kRounds = 9, kWarmRounds = 2, kTokens = 48 };

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static int compare(const void* a, const void* b) {
    const double left = *(const double*)a;
    const double right = *(const double*)b;
    return (left > right) - (left < right);
}

static void ok(int32_t status) {
    if (status == FATHOM_OK) return;
    fprintf(stderr, "%s\n", fathom_status_name(status));
    exit(1);
}

static long resident_bytes(void) {
    long pages = 0;
    FILE* file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) exit(1);
    fclose(file);
    return pages * 4096;
}

static long bytes_of_open_stream(fathom_model* model, const fathom_prompt* prompt) {
    static fathom_session* sessions[kOpen];
    static fathom_stream* streams[kOpen];
    fathom_session_options options = {sizeof options, 0, 64};
    long before;
    long bytes;
    int64_t handle;
    for (int i = 0; i < kOpen; ++i) ok(fathom_session_create(model, &options, &sessions[i], NULL));
    before = resident_bytes();
    for (int i = 0; i < kOpen; ++i) {
        ok(fathom_session_generate(sessions[i], prompt, NULL, &streams[i], NULL));
        ok(fathom_stream_notify_handle(streams[i], &handle, NULL));
    }
    bytes = (resident_bytes() - before) / kOpen;
    for (int i = 0; i < kOpen; ++i) {
        fathom_stream_release(streams[i]);
        fathom_session_release(sessions[i]);
    }
    return bytes;
}

int main(int argc, char** argv) {
    fathom_engine_options options = {sizeof options};
    fathom_source source = {sizeof source};
    fathom_generate_options how = {sizeof how};
    fathom_message message = {sizeof message};
    fathom_event event = {sizeof event};
    static double samples[kStreams * kRounds];
    size_t n_samples = 0;
    unsigned long read = 0;
    long bytes;
    fathom_engine* engine;
    fathom_model* model;
    fathom_tokenizer* tokenizer;
    fathom_prompt* prompt;
    fathom_session* sessions[kStreams];
    if (argc != 2) return 2;
    source.path = argv[1];
    source.path_bytes = strlen(argv[1]);
    options.mode = FATHOM_MODE_MANUAL;
    options.n_threads = 1;
    options.kv_cache_bytes = 64 << 20;
    ok(fathom_engine_create(&options, &engine, NULL));
    ok(fathom_model_load(engine, &source, NULL, &model, NULL));
    ok(fathom_model_tokenizer(model, &tokenizer, NULL));
    ok(fathom_prompt_create(tokenizer, NULL, &prompt, NULL));
    message.role = FATHOM_ROLE_USER;
    message.text = "What is 12 + 34?";
    message.text_bytes = strlen(message.text);
    ok(fathom_prompt_add_message(prompt, &message, NULL));
    bytes = bytes_of_open_stream(model, prompt);
    for (int i = 0; i < kStreams; ++i) ok(fathom_session_create(model, NULL, &sessions[i], NULL));
    how.max_tokens = kTokens;
    how.flags = FATHOM_GENERATE_IGNORE_EOS;
    for (int round = 0; round < kRounds; ++round) {
        fathom_stream* streams[kStreams];
        int32_t more = 1;
        for (int i = 0; i < kStreams; ++i) {
            ok(fathom_session_generate(sessions[i], prompt, &how, &streams[i], NULL));
        }
        while (more) ok(fathom_engine_step(engine, 0, &more, NULL));
        for (int i = 0; i < kStreams; ++i) {
            int n_events = 0;
            const double start = now_ns();
            do {
                ok(fathom_stream_next(streams[i], UINT64_MAX, &event, NULL));
                read += event.text_bytes + event.n_ids; // The event is looked at.
                ++n_events;
            } while (event.type != FATHOM_EVENT_DONE);
            if (round >= kWarmRounds) samples[n_samples++] = (now_ns() - start) / n_events;
            fathom_stream_release(streams[i]);
        }
    }
    qsort(samples, n_samples, sizeof samples[0], compare);
    printf("%.1f %lu %ld\n", samples[n_samples / 2], read, bytes);
    return 0;
}
