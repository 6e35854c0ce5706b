/* Prints the median nanoseconds that taking an event from a full queue costs in C: the loop that
 * the Go test of overheads is compared with. Arguments: model folder, prompt. */
#include <fathom/fathom.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { kRounds = 100 };

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
    const double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    fathom_engine* engine;
    fathom_model* model;
    fathom_tokenizer* tokenizer;
    fathom_prompt* prompt;
    fathom_session* session;
    fathom_engine_options engine_options = {sizeof engine_options};
    engine_options.mode = FATHOM_MODE_MANUAL;
    engine_options.n_threads = 1;
    fathom_source source = {sizeof source};
    source.path = argv[1];
    source.path_bytes = strlen(argv[1]);
    fathom_message message = {sizeof message};
    message.role = FATHOM_ROLE_USER;
    message.text = argv[2];
    message.text_bytes = strlen(argv[2]);
    fathom_generate_options options = {sizeof options};
    options.max_tokens = 40;
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    check(fathom_engine_create(&engine_options, &engine, NULL));
    check(fathom_model_load(engine, &source, NULL, &model, NULL));
    check(fathom_model_tokenizer(model, &tokenizer, NULL));
    check(fathom_prompt_create(tokenizer, NULL, &prompt, NULL));
    check(fathom_prompt_add_message(prompt, &message, NULL));
    check(fathom_session_create(model, NULL, &session, NULL));
    static double rounds[kRounds];
    for (int round = 0; round < kRounds; ++round) {
        fathom_stream* stream;
        check(fathom_session_generate(session, prompt, &options, &stream, NULL));
        for (int32_t more = 1; more;) check(fathom_engine_step(engine, UINT64_MAX, &more, NULL));
        fathom_event event = {sizeof event};
        int n_events = 0;
        const uint64_t start_ns = now_ns();
        do {
            check(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
            ++n_events;
        } while (event.type != FATHOM_EVENT_DONE);
        rounds[round] = (double)(now_ns() - start_ns) / n_events;
        fathom_stream_release(stream);
    }
    qsort(rounds, kRounds, sizeof rounds[0], ascending);
    printf("%.1f\n", rounds[kRounds / 2]);
    return 0;
}
