/* Steps 26 and 27: appended after the ports were written. */
#include <stdio.h>
#include <string.h>

#include "event_log.h"
#include "steps.h"

static void log_device_error(const char* name, const fathom_engine_options* options) {
    fathom_engine* engine = NULL;
    LOG_STATUS(name, fathom_engine_create(options, &engine, &error));
    REQUIRE(engine == NULL);
}

void step_engine_devices(const paths* at) {
    fathom_engine_options options = engine_options(FATHOM_MODE_THREADED);
    const fathom_source source = source_of(at->model);
    fathom_memory_plan plan = {sizeof plan};
    log_step(26, "devices of engines");
    options.device = 9;
    log_device_error("unknown device", &options);
    options.device = FATHOM_DEVICE_CUDA;
    options.plugin_folder = at->folders;
    options.plugin_folder_bytes = strlen(at->folders);
    log_device_error("no plugin there", &options);
    options = engine_options(FATHOM_MODE_THREADED);
    options.memory_budget = 1 << 20;
    LOG_STATUS("estimate over budget",
               fathom_model_estimate(&options, &source, NULL, &plan, &error));
    log_line("planned all the same", "%d", plan.total_bytes > options.memory_budget);
}

void step_released(const paths* at) {
    fathom_engine* engine = engine_of(FATHOM_MODE_THREADED);
    fathom_model* model = model_in(engine, at->model);
    fathom_session* session = session_of(model);
    fathom_tokenizer* tokenizer = NULL;
    fathom_prompt* prompt;
    fathom_stream* stream;
    fathom_engine_stats stats = {sizeof stats};
    fathom_model_description facts = {sizeof facts};
    fathom_tokenizer_description tokens = {sizeof tokens};
    fathom_session_description place = {sizeof place};
    fathom_usage usage = {sizeof usage};
    uint64_t count = 0;
    log_step(27, "released");
    OK(fathom_model_tokenizer(model, &tokenizer, NULL));
    prompt = question(tokenizer, "What is 12 + 34?", FATHOM_THINKING_OFF);
    stream = endless(session, prompt);
    for (int i = 0; i < 2; ++i) { /* The second time they do nothing. */
        fathom_stream_release(stream);
        fathom_session_release(session);
        fathom_prompt_release(prompt);
        fathom_tokenizer_release(tokenizer);
        fathom_model_release(model);
        fathom_engine_release(engine);
    }
    LOG_STATUS("engine", fathom_engine_stats_read(engine, &stats, &error));
    LOG_STATUS("model", fathom_model_describe(model, &facts, &error));
    LOG_STATUS("tokenizer", fathom_tokenizer_describe(tokenizer, &tokens, &error));
    LOG_STATUS("prompt", fathom_prompt_render(prompt, NULL, 0, &count, &error));
    LOG_STATUS("session", fathom_session_describe(session, &place, &error));
    LOG_STATUS("stream", fathom_stream_usage(stream, &usage, &error));
    fathom_stream_cancel(stream);
}
