/* Steps 1 to 8: the library without a loaded model. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_log.h"
#include "steps.h"

void step_library(void) {
    static const char* const names[] = {"arch.deepseek_v3", "backend.cpu", "dialect.deepseek-v3.1",
                                        "tokenizer.json", "arch.llama"};
    const char* info = fathom_build_info_json();
    const uint32_t minor = FATHOM_ABI_VERSION & 0xffff;
    log_step(1, "library");
    log_line("abi major", "%u", fathom_abi_version() >> 16);
    log_line("minor is the header's or later", "%d", (fathom_abi_version() & 0xffff) >= minor);
    log_line("build info names its version", "%d",
             info[0] == '{' && strstr(info, "\"version\":\"") != NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        log_line(names[i], "%d", fathom_feature_supported(names[i]));
    }
    for (int32_t status = -1; status <= FATHOM_INTERNAL + 1; ++status) {
        char name[32];
        snprintf(name, sizeof name, "status %d", status);
        log_line(name, "%s", fathom_status_name(status));
    }
}

void step_structs(void) {
    static const struct {
        uint32_t id;
        uint32_t size;
        const char* name;
    } structs[] = {
        {FATHOM_STRUCT_ENGINE_OPTIONS, sizeof(fathom_engine_options), "engine_options"},
        {FATHOM_STRUCT_ENGINE_STATS, sizeof(fathom_engine_stats), "engine_stats"},
        {FATHOM_STRUCT_DEVICE_INFO, sizeof(fathom_device_info), "device_info"},
        {FATHOM_STRUCT_SOURCE, sizeof(fathom_source), "source"},
        {FATHOM_STRUCT_MODEL_OPTIONS, sizeof(fathom_model_options), "model_options"},
        {FATHOM_STRUCT_MODEL_DESCRIPTION, sizeof(fathom_model_description), "model_description"},
        {FATHOM_STRUCT_MEMORY_PLAN, sizeof(fathom_memory_plan), "memory_plan"},
        {FATHOM_STRUCT_TOKENIZER_DESCRIPTION, sizeof(fathom_tokenizer_description),
         "tokenizer_description"},
        {FATHOM_STRUCT_PROMPT_OPTIONS, sizeof(fathom_prompt_options), "prompt_options"},
        {FATHOM_STRUCT_MESSAGE, sizeof(fathom_message), "message"},
        {FATHOM_STRUCT_SESSION_OPTIONS, sizeof(fathom_session_options), "session_options"},
        {FATHOM_STRUCT_SESSION_DESCRIPTION, sizeof(fathom_session_description),
         "session_description"},
        {FATHOM_STRUCT_GENERATE_OPTIONS, sizeof(fathom_generate_options), "generate_options"},
        {FATHOM_STRUCT_EVENT, sizeof(fathom_event), "event"},
        {FATHOM_STRUCT_USAGE, sizeof(fathom_usage), "usage"},
    };
    union {
        uint32_t struct_size;
        unsigned char bytes[1024];
    } room;
    log_step(2, "structs");
    for (size_t i = 0; i < sizeof structs / sizeof structs[0]; ++i) {
        int zero = 1;
        memset(&room, 0xff, sizeof room);
        log_status(structs[i].name, fathom_struct_init(&room, structs[i].id, structs[i].size),
                   NULL);
        for (uint32_t at = sizeof room.struct_size; at < structs[i].size; ++at) {
            zero = zero && room.bytes[at] == 0;
        }
        log_line("size", "%u, rest zero: %d", room.struct_size, zero);
        REQUIRE(room.bytes[structs[i].size] == 0xff);
    }
    log_line("unknown id", "%s", fathom_status_name(fathom_struct_init(&room, 0, 64)));
    log_line("too small", "%s",
             fathom_status_name(fathom_struct_init(&room, FATHOM_STRUCT_USAGE, 8)));
    log_line("no struct", "%s",
             fathom_status_name(fathom_struct_init(NULL, FATHOM_STRUCT_USAGE, 64)));
}

void step_devices(void) {
    uint32_t count = 0;
    uint32_t n_cpus = 0;
    int whole = 1;
    fathom_device_info* devices;
    log_step(3, "devices");
    OK(fathom_devices_query(NULL, &count, NULL));
    devices = calloc(count, sizeof *devices);
    REQUIRE(devices != NULL);
    devices[0].struct_size = sizeof *devices;
    OK(fathom_devices_query(devices, &count, NULL));
    for (uint32_t i = 0; i < count; ++i) {
        n_cpus += devices[i].kind == FATHOM_DEVICE_CPU;
        whole = whole && devices[i].name[0] != '\0' && devices[i].memory_total > 0 &&
                devices[i].memory_available <= devices[i].memory_total &&
                devices[i].n_processors > 0;
    }
    log_line("cpus", "%u", n_cpus);
    log_line("each has a name, memory and processors", "%d", whole);
    free(devices);
}

static fathom_tokenizer* tokenizer_at(const char* path) {
    const fathom_source source = source_of(path);
    fathom_tokenizer* tokenizer = NULL;
    OK(fathom_tokenizer_open(&source, &tokenizer, NULL));
    return tokenizer;
}

static uint64_t log_encoding(const char* name, const fathom_tokenizer* tokenizer, const char* text,
                             uint32_t flags, int32_t* ids, uint64_t capacity) {
    uint64_t count = 0;
    uint64_t again = 0;
    OK(fathom_tokenizer_encode(tokenizer, text, strlen(text), flags, NULL, 0, &count, NULL));
    REQUIRE(count <= capacity);
    OK(fathom_tokenizer_encode(tokenizer, text, strlen(text), flags, ids, capacity, &again, NULL));
    REQUIRE(count == again);
    log_ids(name, ids, count);
    return count;
}

static void log_decoding(const char* name, const fathom_tokenizer* tokenizer, const int32_t* ids,
                         uint64_t n_ids, uint32_t flags) {
    char text[512];
    uint64_t bytes = 0;
    OK(fathom_tokenizer_decode(tokenizer, ids, n_ids, flags, text, sizeof text, &bytes, NULL));
    log_text(name, text, bytes);
}

void step_tokenizer(const paths* at) {
    static const char marked[] = "<\xef\xbd\x9cUser\xef\xbd\x9c>Hi";
    fathom_tokenizer* tokenizer = tokenizer_at(at->model);
    fathom_tokenizer_description facts = {sizeof facts};
    int32_t ids[64];
    uint64_t n_ids;
    log_step(4, "tokenizer");
    OK(fathom_tokenizer_describe(tokenizer, &facts, NULL));
    log_line("tokens", "%d bos=%d eos=%d pad=%d adds_bos=%d", facts.n_tokens, facts.bos_id,
             facts.eos_id, facts.pad_id, facts.adds_bos);
    log_line("fingerprint", "%016" PRIx64, facts.fingerprint);
    log_line("dialect", "%s", facts.dialect);
    n_ids =
        log_encoding("text", tokenizer, "What is 12 + 34?\nna\xc3\xafve \"quoted\"", 0, ids, 64);
    log_decoding("decoded", tokenizer, ids, n_ids, 0);
    log_encoding("empty", tokenizer, "", 0, ids, 64);
    log_encoding("marker as text", tokenizer, marked, 0, ids, 64);
    n_ids = log_encoding("marker as token", tokenizer, marked,
                         FATHOM_ENCODE_SPECIAL | FATHOM_ENCODE_BOS, ids, 64);
    log_decoding("decoded", tokenizer, ids, n_ids, 0);
    log_decoding("without special tokens", tokenizer, ids, n_ids, FATHOM_DECODE_SKIP_SPECIAL);
    fathom_tokenizer_release(tokenizer);
}

void step_tokenizer_errors(const paths* at) {
    fathom_tokenizer* tokenizer = tokenizer_at(at->model);
    fathom_tokenizer* none = NULL;
    const int32_t ids[] = {5, 1000000};
    fathom_source source = source_of("/nowhere/at/all");
    fathom_error* error = NULL;
    int32_t room[1];
    char text[8];
    uint64_t count = 0;
    int32_t status;
    log_step(5, "tokenizer errors");
    status = fathom_tokenizer_decode(tokenizer, ids, 2, 0, text, sizeof text, &count, &error);
    log_line("message names the id", "%d", strstr(fathom_error_message(error), "1000000") != NULL);
    log_status("id out of range", status, error);
    LOG_STATUS("unknown flag",
               fathom_tokenizer_encode(tokenizer, "a b", 3, 0x80000000u, NULL, 0, &count, &error));
    LOG_STATUS("no room",
               fathom_tokenizer_encode(tokenizer, "What is this?", 13, 0, room, 1, &count, &error));
    log_line("wanted room", "%" PRIu64, count);
    LOG_STATUS("no folder", fathom_tokenizer_open(&source, &none, &error));
    source = source_of("");
    LOG_STATUS("no path", fathom_tokenizer_open(&source, &none, &error));
    fathom_tokenizer_release(tokenizer);
}

void step_estimate(const paths* at) {
    const fathom_engine_options engine = engine_options(FATHOM_MODE_THREADED);
    fathom_model_options options = {sizeof options};
    const fathom_source source = source_of(at->model);
    fathom_memory_plan plan = {sizeof plan};
    fathom_buffer* json = NULL;
    const char* text;
    uint64_t bytes = 0;
    log_step(6, "estimate and inspect");
    options.context = 256;
    OK(fathom_model_estimate(&engine, &source, &options, &plan, NULL));
    log_line("plan", "kv_type=%d context=%" PRIu64 " kv_cache=%" PRIu64, plan.kv_type, plan.context,
             plan.kv_cache_bytes);
    log_line("a token", "%" PRIu64 " bytes, with all heads %" PRIu64, plan.kv_bytes_per_token,
             plan.mha_bytes_per_token);
    log_line("parameters", "%" PRIu64 ", active %" PRIu64, plan.parameters, plan.active_parameters);
    log_line("file bytes", "%" PRIu64, plan.file_bytes);
    log_line("adds up", "%d",
             plan.total_bytes == plan.weight_bytes + plan.workspace_bytes + plan.kv_cache_bytes);
    OK(fathom_model_inspect(&engine, &source, &options, &json, NULL));
    text = fathom_buffer_data(json, &bytes);
    log_line("inspected", "%d",
             bytes > 2 && text[0] == '{' && strstr(text, "\"deepseek_v3\"") != NULL);
    fathom_buffer_release(json);
}

static int32_t refuse(void* user_data, uint64_t bytes_done, uint64_t bytes_total) {
    (void)user_data;
    (void)bytes_done;
    (void)bytes_total;
    return 1;
}

static void log_load_error(const char* name, fathom_engine* engine, const char* path,
                           const fathom_model_options* options) {
    const fathom_source source = source_of(path);
    fathom_model* model = NULL;
    LOG_STATUS(name, fathom_model_load(engine, &source, options, &model, &error));
    REQUIRE(model == NULL);
}

void step_load_errors(const paths* at) {
    fathom_engine_options tight = engine_options(FATHOM_MODE_THREADED);
    fathom_engine* engine = engine_of(FATHOM_MODE_THREADED);
    fathom_engine* small = NULL;
    fathom_model_options options = {sizeof options};
    char path[1024];
    log_step(7, "load errors");
    log_load_error("no folder", engine, "/nowhere/at/all", NULL);
    log_load_error("no path", engine, "", NULL);
    snprintf(path, sizeof path, "%s/broken", at->folders);
    log_load_error("broken config", engine, path, NULL);
    snprintf(path, sizeof path, "%s/unsupported", at->folders);
    log_load_error("another architecture", engine, path, NULL);
    options.progress = refuse;
    log_load_error("cancelled", engine, at->model, &options);
    options.progress = NULL;
    options.context = 1u << 30;
    log_load_error("context too long", engine, at->model, &options);
    options.context = 0;
    options.dialect = "nonsense";
    options.dialect_bytes = strlen(options.dialect);
    log_load_error("unknown dialect", engine, at->model, &options);
    tight.memory_budget = 1 << 20;
    OK(fathom_engine_create(&tight, &small, NULL));
    log_load_error("over budget", small, at->model, NULL);
    fathom_engine_release(small);
    fathom_engine_release(engine);
}

static void log_engine_error(const char* name, const fathom_engine_options* options) {
    fathom_engine* engine = NULL;
    LOG_STATUS(name, fathom_engine_create(options, &engine, &error));
    REQUIRE(engine == NULL);
}

void step_engine_errors(void) {
    struct {
        fathom_engine_options known;
        uint64_t later;
    } newer = {{sizeof newer, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL}, 1};
    fathom_engine_options options = {sizeof options};
    log_step(8, "engine errors");
    options.n_threads = 1025;
    log_engine_error("too many threads", &options);
    options.n_threads = -1;
    log_engine_error("negative threads", &options);
    options.n_threads = 0;
    options.mode = 2;
    log_engine_error("unknown mode", &options);
    options.mode = 0;
    options.struct_size = 4;
    log_engine_error("struct too small", &options);
    log_engine_error("field of a newer library", &newer.known);
}
