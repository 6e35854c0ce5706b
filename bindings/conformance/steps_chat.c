/* Steps 9 to 17: a loaded model, prompts and answers. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event_log.h"
#include "steps.h"

#define SUM "What is 12 + 34?"
#define ORDER                                                                              \
    "Hello, Dodan Trikin called and asked for 265 of the plastic keyboard. We need it on " \
    "2027-04-15. Best regards"

typedef struct hooks {
    int n_records;
    int named;
    uint64_t done;
    uint64_t total;
    int rises;
} hooks;

static void count_record(void* user_data, int32_t level, const char* text, uint64_t text_bytes) {
    hooks* seen = user_data;
    static const char wanted[] = "model loaded";
    ++seen->n_records;
    seen->named = seen->named || (level == FATHOM_LOG_INFO && text_bytes > strlen(wanted) &&
                                  memcmp(text, wanted, strlen(wanted)) == 0);
}

static int32_t watch(void* user_data, uint64_t bytes_done, uint64_t bytes_total) {
    hooks* seen = user_data;
    seen->rises = seen->rises && bytes_done >= seen->done && bytes_done <= bytes_total;
    seen->done = bytes_done;
    seen->total = bytes_total;
    return 0;
}

static void log_metadata(const fathom_model* model, const char* key) {
    const char* value = NULL;
    uint64_t bytes = 0;
    fathom_error* error = NULL;
    const int32_t status = fathom_model_metadata_get(model, key, &value, &bytes, &error);
    if (status == FATHOM_OK) {
        log_text(key, value, bytes);
    } else {
        log_status(key, status, error);
    }
}

void step_load(const paths* at, world* here) {
    hooks seen = {0, 0, 0, 0, 1};
    fathom_engine_options engine = engine_options(FATHOM_MODE_THREADED);
    fathom_model_options options = {sizeof options};
    const fathom_source source = source_of(at->model);
    fathom_model_description facts = {sizeof facts};
    log_step(9, "load");
    engine.log = count_record;
    engine.log_user_data = &seen;
    options.progress = watch;
    options.progress_user_data = &seen;
    OK(fathom_engine_create(&engine, &here->engine, NULL));
    OK(fathom_model_load(here->engine, &source, &options, &here->model, NULL));
    log_line("progress rises to the end", "%d",
             seen.rises && seen.total > 0 && seen.done == seen.total);
    log_line("the log tells", "%d", seen.named);
    OK(fathom_model_describe(here->model, &facts, NULL));
    log_line("architecture", "%s dialect=%s", facts.architecture, facts.dialect);
    log_line("layers", "%d experts=%d active=%d hidden=%d vocabulary=%d heads=%d kv_type=%d",
             facts.n_layers, facts.n_routed_experts, facts.n_active_experts, facts.hidden_size,
             facts.vocabulary_rows, facts.n_heads, facts.kv_type);
    log_line("context", "%" PRIu64 " parameters=%" PRIu64 " active=%" PRIu64 " kv_bytes=%" PRIu64,
             facts.context, facts.parameters, facts.active_parameters, facts.kv_bytes_per_token);
    log_line("fingerprint", "%016" PRIx64, facts.fingerprint);
    log_metadata(here->model, "architecture");
    log_metadata(here->model, "config.vocab_size");
    log_metadata(here->model, "config.rope_theta");
    log_metadata(here->model, "no such key");
    OK(fathom_model_tokenizer(here->model, &here->tokenizer, NULL));
}

static uint64_t rendered(const fathom_prompt* prompt, int32_t* ids, uint64_t capacity) {
    uint64_t count = 0;
    OK(fathom_prompt_render(prompt, ids, capacity, &count, NULL));
    return count;
}

static void add_message(fathom_prompt* prompt, int32_t role, const char* text,
                        const char* reasoning) {
    fathom_message message = {sizeof message};
    message.role = role;
    message.text = text;
    message.text_bytes = strlen(text);
    message.reasoning = reasoning;
    message.reasoning_bytes = reasoning == NULL ? 0 : strlen(reasoning);
    OK(fathom_prompt_add_message(prompt, &message, NULL));
}

static void log_rendered(const char* name, const world* here, const fathom_prompt* prompt) {
    int32_t ids[256];
    char text[1024];
    uint64_t bytes = 0;
    const uint64_t n_ids = rendered(prompt, ids, 256);
    OK(fathom_tokenizer_decode(here->tokenizer, ids, n_ids, 0, text, sizeof text, &bytes, NULL));
    log_text(name, text, bytes);
}

static void log_question(const char* name, const world* here, int32_t thinking,
                         int32_t no_generation) {
    fathom_prompt_options options = {sizeof options};
    fathom_prompt* prompt = NULL;
    options.thinking = thinking;
    options.no_generation = no_generation;
    OK(fathom_prompt_create(here->tokenizer, &options, &prompt, NULL));
    add_message(prompt, FATHOM_ROLE_USER, SUM, NULL);
    log_rendered(name, here, prompt);
    fathom_prompt_release(prompt);
}

void step_prompts(const world* here) {
    static const char json[] =
        "[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"1 + "
        "1?\"},"
        "{\"role\":\"assistant\",\"reasoning_content\":\"one more\",\"content\":\"2\"},"
        "{\"role\":\"user\",\"content\":\"And <\xef\xbd\x9cUser\xef\xbd\x9c>?\"}]";
    int32_t ids[256];
    int32_t others[256];
    uint64_t n_ids;
    fathom_prompt* turns = NULL;
    fathom_prompt* whole = NULL;
    fathom_prompt* raw = NULL;
    log_step(10, "prompts");
    log_question("auto", here, FATHOM_THINKING_AUTO, 0);
    log_question("thinking", here, FATHOM_THINKING_ON, 0);
    log_question("not thinking", here, FATHOM_THINKING_OFF, 0);
    log_question("not opened", here, FATHOM_THINKING_AUTO, 1);
    OK(fathom_prompt_create(here->tokenizer, NULL, &turns, NULL));
    add_message(turns, FATHOM_ROLE_SYSTEM, "Be brief.", NULL);
    add_message(turns, FATHOM_ROLE_USER, "1 + 1?", NULL);
    add_message(turns, FATHOM_ROLE_ASSISTANT, "2", "one more");
    add_message(turns, FATHOM_ROLE_USER, "And <\xef\xbd\x9cUser\xef\xbd\x9c>?", NULL);
    log_rendered("turns", here, turns);
    n_ids = rendered(turns, ids, 256);
    log_ids("ids", ids, n_ids);
    OK(fathom_prompt_create(here->tokenizer, NULL, &whole, NULL));
    OK(fathom_prompt_add_openai_json(whole, json, strlen(json), NULL));
    log_line("the same from JSON", "%d",
             rendered(whole, others, 256) == n_ids && memcmp(ids, others, n_ids * 4) == 0);
    OK(fathom_prompt_create(here->tokenizer, NULL, &raw, NULL));
    OK(fathom_prompt_add_tokens(raw, ids, n_ids, NULL));
    log_line("the same from tokens", "%d",
             rendered(raw, others, 256) == n_ids && memcmp(ids, others, n_ids * 4) == 0);
    fathom_prompt_release(raw);
    fathom_prompt_release(whole);
    fathom_prompt_release(turns);
}

static void log_json_error(const char* name, const world* here, const char* json, int is_rendered) {
    fathom_prompt* prompt = NULL;
    uint64_t count = 0;
    OK(fathom_prompt_create(here->tokenizer, NULL, &prompt, NULL));
    if (is_rendered) {
        OK(fathom_prompt_add_openai_json(prompt, json, strlen(json), NULL));
        LOG_STATUS(name, fathom_prompt_render(prompt, NULL, 0, &count, &error));
    } else {
        LOG_STATUS(name, fathom_prompt_add_openai_json(prompt, json, strlen(json), &error));
    }
    fathom_prompt_release(prompt);
}

void step_prompt_errors(const world* here) {
    fathom_prompt_options options = {sizeof options};
    fathom_message message = {sizeof message};
    const int32_t ids[] = {5, -1};
    fathom_prompt* prompt = NULL;
    log_step(11, "prompt errors");
    log_json_error("not JSON", here, "[{\"role\":", 0);
    log_json_error("no role", here, "[{\"content\":\"x\"}]", 0);
    log_json_error("cannot be rendered", here, "[{\"role\":\"user\",\"content\":null}]", 1);
    options.dialect = "nonsense";
    options.dialect_bytes = strlen(options.dialect);
    LOG_STATUS("unknown dialect", fathom_prompt_create(here->tokenizer, &options, &prompt, &error));
    OK(fathom_prompt_create(here->tokenizer, NULL, &prompt, NULL));
    message.role = 9;
    LOG_STATUS("unknown role", fathom_prompt_add_message(prompt, &message, &error));
    LOG_STATUS("negative token", fathom_prompt_add_tokens(prompt, ids, 2, &error));
    OK(fathom_prompt_add_tokens(prompt, ids, 1, NULL));
    message.role = FATHOM_ROLE_USER;
    LOG_STATUS("message behind tokens", fathom_prompt_add_message(prompt, &message, &error));
    fathom_prompt_release(prompt);
    prompt = question(here->tokenizer, SUM, FATHOM_THINKING_OFF);
    LOG_STATUS("tokens behind messages", fathom_prompt_add_tokens(prompt, ids, 1, &error));
    fathom_prompt_release(prompt);
}

static fathom_stream* asked(fathom_session* session, const fathom_prompt* prompt,
                            const fathom_generate_options* options) {
    fathom_stream* stream = NULL;
    OK(fathom_session_generate(session, prompt, options, &stream, NULL));
    return stream;
}

static void log_session(const char* name, const fathom_session* session) {
    fathom_session_description facts = {sizeof facts};
    OK(fathom_session_describe(session, &facts, NULL));
    log_line(name, "tokens=%" PRIu64 " context=%" PRIu64 " running=%d", facts.n_tokens,
             facts.context, facts.running);
}

void step_chat(const world* here) {
    fathom_prompt* thinking = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_prompt* direct = question(here->tokenizer, ORDER, FATHOM_THINKING_OFF);
    fathom_session* session = session_of(here->model);
    fathom_event event = {sizeof event};
    fathom_stream* stream;
    log_step(12, "chat");
    stream = asked(session, thinking, NULL);
    log_events(stream);
    log_usage(stream);
    LOG_STATUS("behind the end", fathom_stream_next(stream, 0, &event, &error));
    fathom_stream_release(stream);
    log_session("session", session);
    stream = asked(session, direct, NULL);
    log_events(stream);
    log_usage(stream);
    fathom_stream_release(stream);
    log_session("session", session);
    fathom_session_release(session);
    fathom_prompt_release(direct);
    fathom_prompt_release(thinking);
}

void step_turns(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_session* session = session_of(here->model);
    fathom_stream* stream;
    log_step(13, "turns");
    stream = asked(session, prompt, NULL);
    log_answer("first", stream);
    fathom_stream_release(stream);
    add_message(prompt, FATHOM_ROLE_ASSISTANT, "46", NULL);
    add_message(prompt, FATHOM_ROLE_USER, "What is 5 + 46?", NULL);
    stream = asked(session, prompt, NULL);
    log_answer("second", stream);
    log_usage(stream);
    fathom_stream_release(stream);
    OK(fathom_session_truncate(session, 7, NULL));
    log_session("cut", session);
    stream = asked(session, prompt, NULL);
    log_answer("again", stream);
    log_usage(stream);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

void step_stops(const world* here) {
    static const fathom_text stops[] = {{"never said", 10}, {"customer", 8}};
    fathom_prompt* prompt = question(here->tokenizer, ORDER, FATHOM_THINKING_OFF);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    int32_t stop_id[1];
    uint64_t count = 0;
    fathom_stream* stream;
    log_step(14, "stops");
    options.stop = stops;
    options.n_stop = 2;
    stream = asked(session, prompt, &options);
    log_events(stream);
    fathom_stream_release(stream);
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    OK(fathom_tokenizer_encode(here->tokenizer, "order", 5, 0, stop_id, 1, &count, NULL));
    log_ids("stop id", stop_id, count);
    options.stop_ids = stop_id;
    options.n_stop_ids = 1;
    stream = asked(session, prompt, &options);
    log_events(stream);
    fathom_stream_release(stream);
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.max_tokens = 3;
    stream = asked(session, prompt, &options);
    log_events(stream);
    log_usage(stream);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

void step_logprobs(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, SUM, FATHOM_THINKING_ON);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    fathom_stream* stream;
    log_step(15, "logprobs");
    options.logprobs = 3;
    options.max_tokens = 3;
    stream = asked(session, prompt, &options);
    log_events(stream);
    fathom_stream_release(stream);
    OK(fathom_session_truncate(session, 0, NULL));
    options.logprobs = 1;
    options.max_tokens = 0;
    options.flags = FATHOM_GENERATE_PROMPT_LOGPROBS | FATHOM_GENERATE_PROMPT_ONLY;
    stream = asked(session, prompt, &options);
    log_events(stream);
    log_usage(stream);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

void step_sampling(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, "Hello!", FATHOM_THINKING_OFF);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    fathom_logit_bias bias[1] = {{0, -10000.0f}};
    fathom_event event = {sizeof event};
    fathom_stream* stream;
    log_step(16, "sampling");
    options.max_tokens = 12;
    options.temperature = 4.0f;
    options.top_k = 40;
    options.top_p = 0.99f;
    options.min_p = 0.001f;
    options.repetition_penalty = 1.1f;
    options.presence_penalty = 0.5f;
    options.frequency_penalty = 0.25f;
    options.seed = 7;
    for (int i = 0; i < 3; ++i) {
        options.seed = i < 2 ? 7 : 8;
        stream = asked(session, prompt, &options);
        log_answer(i < 2 ? "seed 7" : "seed 8", stream);
        fathom_stream_release(stream);
    }
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.max_tokens = 1;
    stream = asked(session, prompt, &options);
    do {
        OK(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
        if (event.n_ids > 0) bias[0].token = event.ids[0];
    } while (event.type != FATHOM_EVENT_DONE);
    fathom_stream_release(stream);
    log_line("greedy", "%d", bias[0].token);
    options.logit_bias = bias;
    options.n_logit_bias = 1;
    stream = asked(session, prompt, &options);
    log_events(stream);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(prompt);
}

void step_raw(const world* here) {
    fathom_prompt* prompt = question(here->tokenizer, ORDER, FATHOM_THINKING_OFF);
    fathom_session* session = session_of(here->model);
    fathom_generate_options options = {sizeof options};
    fathom_prompt* more = NULL;
    int32_t ids[64];
    uint64_t count = 0;
    fathom_stream* stream;
    log_step(17, "prompt only, then append");
    options.flags = FATHOM_GENERATE_PROMPT_ONLY;
    stream = asked(session, prompt, &options);
    log_events(stream);
    fathom_stream_release(stream);
    log_session("session", session);
    OK(fathom_tokenizer_encode(here->tokenizer, "{\"type\":\"order\",", 16, 0, ids, 64, &count,
                               NULL));
    OK(fathom_prompt_create(here->tokenizer, NULL, &more, NULL));
    OK(fathom_prompt_add_tokens(more, ids, count, NULL));
    options.flags = FATHOM_GENERATE_APPEND;
    stream = asked(session, more, &options);
    log_answer("continued", stream);
    log_usage(stream);
    fathom_stream_release(stream);
    fathom_session_release(session);
    fathom_prompt_release(more);
    fathom_prompt_release(prompt);
}
