/* The load of the gateway's test without the gateway: so many streams at once, some of them dropped
 * on the way, read by one thread with fathom_engine_wait_any(). Prints the median microseconds
 * between two events of a stream and the tokens per second.
 *
 *   bench MODEL SECONDS STREAMS */
#include <fathom/fathom.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kStreamsMost = 1024, kGapsMost = 1 << 22, kTokens = 64 };

typedef struct slot {
    fathom_session* session;
    int events_left; /* Before it is dropped. */
    uint64_t last_ns;
} slot;

static fathom_model* model;
static fathom_tokenizer* tokenizer;
static slot slots[kStreamsMost];
static fathom_stream* streams[kStreamsMost];
static float gaps_us[kGapsMost];

static void check(int32_t status) {
    if (status == FATHOM_OK) return;
    fprintf(stderr, "%s\n", fathom_status_name(status));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int ascending(const void* a, const void* b) {
    const float x = *(const float*)a, y = *(const float*)b;
    return (x > y) - (x < y);
}

static void start(int i) {
    char text[64];
    fathom_prompt_options prompt_options = {sizeof prompt_options};
    fathom_message message = {sizeof message};
    fathom_generate_options options = {sizeof options};
    fathom_prompt* prompt;
    const int bytes =
        snprintf(text, sizeof text, "What is %d + %d?", 1000 + rand() % 9000, 100 + rand() % 900);
    message.role = FATHOM_ROLE_USER;
    message.text = text;
    message.text_bytes = (uint64_t)bytes;
    prompt_options.thinking = FATHOM_THINKING_ON;
    options.max_tokens = kTokens;
    check(fathom_prompt_create(tokenizer, &prompt_options, &prompt, NULL));
    check(fathom_prompt_add_message(prompt, &message, NULL));
    check(fathom_session_create(model, NULL, &slots[i].session, NULL));
    check(fathom_session_generate(slots[i].session, prompt, &options, &streams[i], NULL));
    fathom_prompt_release(prompt);
    slots[i].events_left = rand() % 3 == 0 ? rand() % kTokens : kTokens * 2;
    slots[i].last_ns = 0;
}

int main(int argc, char** argv) {
    if (argc != 4) return 2;
    const uint64_t seconds = strtoull(argv[2], NULL, 10);
    const int n_streams = atoi(argv[3]);
    if (n_streams < 1 || n_streams > kStreamsMost) return 2;
    fathom_engine* engine;
    fathom_engine_options engine_options = {sizeof engine_options};
    engine_options.n_threads = 2;
    engine_options.kv_cache_bytes = 64u << 20;
    fathom_source source = {sizeof source};
    source.path = argv[1];
    source.path_bytes = strlen(argv[1]);
    check(fathom_engine_create(&engine_options, &engine, NULL));
    check(fathom_model_load(engine, &source, NULL, &model, NULL));
    check(fathom_model_tokenizer(model, &tokenizer, NULL));
    for (int i = 0; i < n_streams; ++i) start(i);
    const uint64_t start_ns = now_ns();
    const uint64_t end_ns = start_ns + seconds * 1000000000u;
    int n_gaps = 0;
    uint64_t n_tokens = 0;
    fathom_event event = {sizeof event};
    while (now_ns() < end_ns && n_gaps < kGapsMost) {
        uint32_t i;
        check(fathom_engine_wait_any(engine, streams, (uint32_t)n_streams, UINT64_MAX, &i, NULL));
        check(fathom_stream_next(streams[i], 0, &event, NULL));
        const uint64_t now = now_ns();
        n_tokens += event.n_ids;
        if (event.type == FATHOM_EVENT_REASONING || event.type == FATHOM_EVENT_TEXT) {
            if (slots[i].last_ns != 0) gaps_us[n_gaps++] = (float)(now - slots[i].last_ns) / 1000;
            slots[i].last_ns = now;
        }
        if (event.type == FATHOM_EVENT_DONE || --slots[i].events_left < 0) {
            fathom_stream_release(streams[i]);
            fathom_session_release(slots[i].session);
            start((int)i);
        }
    }
    qsort(gaps_us, (size_t)n_gaps, sizeof gaps_us[0], ascending);
    printf("%.0f %.0f\n", gaps_us[n_gaps / 2],
           (double)n_tokens / ((double)(now_ns() - start_ns) / 1e9));
    return 0;
}
