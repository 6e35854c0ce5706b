/* Steps 18 to 25: ends, errors and order. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>
#include <time.h>

#include "event_log.h"
#include "steps.h"

#define SUM "What is 12 + 34?"

/* Reads until the first event with tokens; how many there were. */
static uint64_t first_tokens(fathom_stream* stream) {
    fathom_event event = {sizeof event};
    do {
        OK(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
        REQUIRE(event.type != FATHOM_EVENT_DONE);
    } while (event.n_ids == 0);
    return event.n_ids;
}

static int is_running(const fathom_session* session) {
    fathom_session_description facts = {sizeof facts};
    OK(fathom_session_describe(session, &facts, NULL));
    return facts.running;
}

/* A stream that was released runs until the step that notices. */
static void wait_until_free(const fathom_session* session) {
    const struct timespec moment = {0, 1000000};
    while (is_running(session)) thrd_sleep(&moment, NULL);
}

void step_cancel(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    fathom_stream* stream = endless(session, prompt);
    int64_t handle = -1;
    int64_t again = -1;
    uint64_t n_seen;
    log_step(18, "cancel");
    OK(fathom_stream_notify_handle(stream, &handle, NULL));
    OK(fathom_stream_notify_handle(stream, &again, NULL));
    log_line("notify handle", "%d", handle >= 0 && handle == again);
    n_seen = first_tokens(stream);
    fathom_stream_cancel(stream);
    fathom_stream_cancel(stream);
    log_end("cancelled", stream, n_seen);
    fathom_stream_release(stream);
    stream = endless(session, prompt);
    fathom_stream_release(stream);
    wait_until_free(session);
    options.max_tokens = 1;
    OK(fathom_session_generate(session, prompt, &options, &stream, NULL));
    log_end("released, then again", stream, 0);
    fathom_stream_release(stream);
    stream = endless(session, prompt);
    fathom_session_release(session);
    log_end("session released", stream, 0);
    fathom_stream_release(stream);
    fathom_prompt_release(prompt);
}

void step_deadline(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    fathom_stream* stream;
    log_step(19, "deadline");
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    options.deadline_ns = 1;
    OK(fathom_session_generate(session, prompt, &options, &stream, NULL));
    log_events(stream);
    fathom_stream_release(stream);
    options.deadline_ns = 100000000;
    OK(fathom_session_generate(session, prompt, &options, &stream, NULL));
    /* Nobody reads, so the answer cannot reach its end before. */
    wait_until_free(session);
    log_end("while it waits for its reader", stream, 0);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

void step_busy(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_session* session = session_of(here->model);
    fathom_stream* stream = endless(session, prompt);
    fathom_stream* other = NULL;
    log_step(20, "busy");
    log_line("running", "%d", is_running(session));
    LOG_STATUS("generate", fathom_session_generate(session, prompt, NULL, &other, &error));
    LOG_STATUS("truncate", fathom_session_truncate(session, 0, &error));
    fathom_stream_cancel(stream);
    log_end("cancelled", stream, 0);
    fathom_stream_release(stream);
    log_line("running", "%d", is_running(session));
    LOG_STATUS("truncate too far", fathom_session_truncate(session, 1000000, &error));
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

static void log_generate_error(const char* name, fathom_session* session,
                               const fathom_prompt* prompt,
                               const fathom_generate_options* options) {
    fathom_stream* stream = NULL;
    LOG_STATUS(name, fathom_session_generate(session, prompt, options, &stream, &error));
    REQUIRE(stream == NULL);
}

static void log_bad_options(fathom_session* session, const fathom_prompt* prompt) {
    static const fathom_text empty[] = {{"", 0}};
    static const int32_t beyond[] = {1000000};
    static const struct {
        const char* name;
        fathom_generate_options options;
    } cases[] = {
        {"flags", {.flags = 0x80000000u}},
        {"temperature", {.temperature = -1.0f}},
        {"top_k", {.top_k = -1}},
        {"top_p", {.top_p = 1.5f}},
        {"min_p", {.min_p = -0.5f}},
        {"repetition_penalty", {.repetition_penalty = -1.0f}},
        {"presence_penalty", {.presence_penalty = 3.0f}},
        {"frequency_penalty", {.frequency_penalty = -3.0f}},
        {"logprobs", {.logprobs = 22}},
        {"stop string", {.stop = empty, .n_stop = 1}},
        {"stop id", {.stop_ids = beyond, .n_stop_ids = 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        fathom_generate_options options = cases[i].options;
        options.struct_size = sizeof options;
        log_generate_error(cases[i].name, session, prompt, &options);
    }
}

void step_generate_errors(const paths* at, const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_engine_options few_pages = engine_options(FATHOM_MODE_THREADED);
    fathom_session_options short_context = {sizeof short_context, 0, 8};
    fathom_session* session = session_of(here->model);
    fathom_session* small = NULL;
    fathom_prompt* empty = NULL;
    fathom_engine* engine = NULL;
    fathom_model* model;
    fathom_generate_options options = {sizeof options};
    log_step(21, "generate errors");
    log_bad_options(session, prompt);
    OK(fathom_prompt_create(here->tokenizer, NULL, &empty, NULL));
    log_generate_error("empty prompt", session, empty, NULL);
    fathom_prompt_release(empty);
    OK(fathom_session_create(here->model, &short_context, &small, NULL));
    log_generate_error("context full", small, prompt, NULL);
    fathom_session_release(small);
    short_context.context = 1u << 30;
    small = NULL;
    LOG_STATUS("context of a session",
               fathom_session_create(here->model, &short_context, &small, &error));
    fathom_session_release(session);
    few_pages.kv_cache_bytes = 64 * 1024; /* A page and a bit. */
    OK(fathom_engine_create(&few_pages, &engine, NULL));
    model = model_in(engine, at->model);
    session = session_of(model);
    options.max_tokens = 900;
    log_generate_error("no room in the KV cache", session, prompt, &options);
    fathom_session_release(session);
    fathom_model_release(model);
    fathom_engine_release(engine);
    fathom_prompt_release(prompt);
}

static void log_stats(fathom_engine* engine) {
    fathom_engine_stats stats = {sizeof stats};
    OK(fathom_engine_stats_read(engine, &stats, NULL));
    log_line("stats",
             "models=%" PRIu64 " sessions=%" PRIu64 " waiting=%" PRIu64 " running=%" PRIu64
             " pages=%" PRIu64 "/%" PRIu64 " steps=%" PRIu64 " prefill=%" PRIu64 " decode=%" PRIu64
             " device=%s",
             stats.n_models, stats.n_sessions, stats.n_waiting, stats.n_running,
             stats.kv_pages_used, stats.kv_pages, stats.n_steps, stats.prefill_tokens,
             stats.decode_tokens, fathom_status_name(stats.device_status));
    log_line("memory and time are counted", "%d",
             stats.memory_bytes > 0 && (stats.n_steps == 0) == (stats.step_ns_total == 0) &&
                 stats.backend_ns_total <= stats.step_ns_total);
}

static void log_waits(fathom_engine* engine, fathom_stream* const* streams) {
    uint32_t ready = 9;
    int seen[2] = {0, 0};
    for (int i = 0; i < 100 && !(seen[0] && seen[1]); ++i) {
        OK(fathom_engine_wait_any(engine, streams, 2, 0, &ready, NULL));
        REQUIRE(ready < 2);
        seen[ready] = 1;
    }
    log_line("both come up", "%d", seen[0] && seen[1]);
}

void step_manual(const paths* at) {
    fathom_engine* engine = engine_of(FATHOM_MODE_MANUAL);
    fathom_engine* threaded = engine_of(FATHOM_MODE_THREADED);
    fathom_model* model = model_in(engine, at->model);
    fathom_session* sessions[] = {session_of(model), session_of(model)};
    fathom_generate_options options = {sizeof options};
    fathom_event event = {sizeof event};
    fathom_tokenizer* tokenizer = NULL;
    fathom_prompt* prompt;
    fathom_stream* streams[2];
    uint32_t ready = 9;
    int32_t more = 1;
    int n_steps = 0;
    log_step(22, "manual engine");
    OK(fathom_model_tokenizer(model, &tokenizer, NULL));
    prompt = question(tokenizer, SUM, FATHOM_THINKING_ON);
    options.max_tokens = 4;
    for (int i = 0; i < 2; ++i) {
        OK(fathom_session_generate(sessions[i], prompt, &options, &streams[i], NULL));
    }
    log_stats(engine);
    LOG_STATUS("poll", fathom_stream_next(streams[0], 0, &event, &error));
    LOG_STATUS("wait", fathom_engine_wait_any(engine, streams, 2, 0, &ready, &error));
    while (more) {
        OK(fathom_engine_step(engine, 0, &more, NULL));
        ++n_steps;
    }
    log_line("steps", "%d", n_steps);
    log_waits(engine, streams);
    log_events(streams[0]);
    log_events(streams[1]);
    log_stats(engine);
    LOG_STATUS("step of a threaded engine", fathom_engine_step(threaded, 0, &more, &error));
    LOG_STATUS("wait for a stream of another engine",
               fathom_engine_wait_any(threaded, streams, 2, 0, &ready, &error));
    for (int i = 0; i < 2; ++i) {
        fathom_stream_release(streams[i]);
        fathom_session_release(sessions[i]);
    }
    fathom_prompt_release(prompt);
    fathom_tokenizer_release(tokenizer);
    fathom_model_release(model);
    fathom_engine_release(threaded);
    fathom_engine_release(engine);
}

void step_shutdown(const paths* at) {
    fathom_engine* engine = engine_of(FATHOM_MODE_THREADED);
    fathom_model* model = model_in(engine, at->model);
    fathom_session* session = session_of(model);
    fathom_session* late = NULL;
    fathom_tokenizer* tokenizer = NULL;
    const fathom_source source = source_of(at->model);
    fathom_model* other = NULL;
    fathom_prompt* prompt;
    fathom_stream* stream;
    log_step(23, "shutdown");
    OK(fathom_model_tokenizer(model, &tokenizer, NULL));
    prompt = question(tokenizer, SUM, FATHOM_THINKING_ON);
    stream = endless(session, prompt);
    LOG_STATUS("with a running stream", fathom_engine_shutdown(engine, 0, &error));
    log_end("its stream", stream, 0);
    fathom_stream_release(stream);
    LOG_STATUS("again", fathom_engine_shutdown(engine, UINT64_MAX, &error));
    log_generate_error("generate", session, prompt, NULL);
    LOG_STATUS("session", fathom_session_create(model, NULL, &late, &error));
    LOG_STATUS("load", fathom_model_load(engine, &source, NULL, &other, &error));
    fathom_prompt_release(prompt);
    fathom_tokenizer_release(tokenizer);
    fathom_session_release(session);
    fathom_model_release(model);
    fathom_engine_release(engine);
    engine = engine_of(FATHOM_MODE_THREADED);
    LOG_STATUS("idle", fathom_engine_shutdown(engine, UINT64_MAX, &error));
    fathom_engine_release(engine);
}

void step_release_order(const paths* at) {
    fathom_engine* engine = engine_of(FATHOM_MODE_THREADED);
    fathom_model* model = model_in(engine, at->model);
    fathom_session* session = session_of(model);
    fathom_tokenizer* tokenizer = NULL;
    fathom_generate_options options = {sizeof options};
    fathom_prompt* prompt;
    fathom_stream* stream;
    log_step(24, "parents released first");
    OK(fathom_model_tokenizer(model, &tokenizer, NULL));
    fathom_engine_release(engine);
    fathom_model_release(model);
    prompt = question(tokenizer, SUM, FATHOM_THINKING_OFF);
    fathom_tokenizer_release(tokenizer);
    options.max_tokens = 2;
    OK(fathom_session_generate(session, prompt, &options, &stream, NULL));
    fathom_prompt_release(prompt);
    log_events(stream);
    fathom_session_release(session);
    log_usage(stream);
    fathom_stream_release(stream);
}

/* Every fallible function with NULL and 0, in the order of the header: what a binding calls with a
   closed object of its own. Then everything that NULL does nothing to. */
void step_nulls(void) {
    log_step(25, "nothing");
#define NOTHING(function, ...) LOG_STATUS(#function, function(__VA_ARGS__, &error))
    NOTHING(fathom_devices_query, NULL, NULL);
    NOTHING(fathom_engine_create, NULL, NULL);
    NOTHING(fathom_engine_shutdown, NULL, 0);
    NOTHING(fathom_engine_step, NULL, 0, NULL);
    NOTHING(fathom_engine_wait_any, NULL, NULL, 0, 0, NULL);
    NOTHING(fathom_engine_stats_read, NULL, NULL);
    NOTHING(fathom_model_estimate, NULL, NULL, NULL, NULL);
    NOTHING(fathom_model_load, NULL, NULL, NULL, NULL);
    NOTHING(fathom_model_describe, NULL, NULL);
    NOTHING(fathom_model_metadata_get, NULL, NULL, NULL, NULL);
    NOTHING(fathom_model_tokenizer, NULL, NULL);
    NOTHING(fathom_model_inspect, NULL, NULL, NULL, NULL);
    NOTHING(fathom_tokenizer_open, NULL, NULL);
    NOTHING(fathom_tokenizer_encode, NULL, NULL, 0, 0, NULL, 0, NULL);
    NOTHING(fathom_tokenizer_decode, NULL, NULL, 0, 0, NULL, 0, NULL);
    NOTHING(fathom_tokenizer_describe, NULL, NULL);
    NOTHING(fathom_prompt_create, NULL, NULL, NULL);
    NOTHING(fathom_prompt_add_message, NULL, NULL);
    NOTHING(fathom_prompt_add_tokens, NULL, NULL, 0);
    NOTHING(fathom_prompt_add_openai_json, NULL, NULL, 0);
    NOTHING(fathom_prompt_render, NULL, NULL, 0, NULL);
    NOTHING(fathom_session_create, NULL, NULL, NULL);
    NOTHING(fathom_session_generate, NULL, NULL, NULL, NULL);
    NOTHING(fathom_session_truncate, NULL, 0);
    NOTHING(fathom_session_describe, NULL, NULL);
    NOTHING(fathom_stream_next, NULL, 0, NULL);
    NOTHING(fathom_stream_usage, NULL, NULL);
    NOTHING(fathom_stream_notify_handle, NULL, NULL);
#undef NOTHING
    fathom_stream_cancel(NULL);
    fathom_stream_release(NULL);
    fathom_session_release(NULL);
    fathom_prompt_release(NULL);
    fathom_tokenizer_release(NULL);
    fathom_model_release(NULL);
    fathom_engine_release(NULL);
    fathom_buffer_release(NULL);
    fathom_error_release(NULL);
    log_line("error of nothing", "%s", fathom_status_name(fathom_error_code(NULL)));
    log_line("message of nothing", "%d bytes", (int)strlen(fathom_error_message(NULL)));
    log_line("buffer of nothing", "%d", fathom_buffer_data(NULL, NULL) == NULL);
    log_line("feature of nothing", "%d", fathom_feature_supported(NULL));
}
