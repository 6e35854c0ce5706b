/**
 * @file fathom.h
 * @brief The C interface of Fathom and its manual.
 *
 * Fathom runs DeepSeek-class language models (Multi-head Latent Attention, DeepSeekMoE) inside your
 * program. It opens no socket, prints nothing, installs no signal handler, reads no environment
 * variable and never ends your process. Everything that can go wrong comes back as a status.
 *
 * ## The nouns
 *
 * - An **engine** owns threads, memory and the schedule. Most programs have one.
 * - A **model** is a checkpoint folder loaded into an engine.
 * - A **tokenizer** turns text into token ids and back. A model has one; it also opens alone.
 * - A **prompt** is a conversation under construction. It knows how the model's release expects
 *   turns to be rendered (its *dialect*), and it never lets text become a control token.
 * - A **session** is one conversation's place in the KV cache.
 * - A **stream** is one answer on its way: you pull events from it.
 *
 * ## A whole program
 *
 * @code
 * fathom_engine* engine; fathom_model* model; fathom_tokenizer* tokenizer;
 * fathom_prompt* prompt; fathom_session* session; fathom_stream* stream;
 * fathom_source source = {sizeof source};
 * source.path = folder; source.path_bytes = strlen(folder);
 * fathom_engine_create(NULL, &engine, NULL);
 * fathom_model_load(engine, &source, NULL, &model, NULL);
 * fathom_model_tokenizer(model, &tokenizer, NULL);
 * fathom_prompt_create(tokenizer, NULL, &prompt, NULL);
 * fathom_message message = {sizeof message};
 * message.role = FATHOM_ROLE_USER; message.text = text; message.text_bytes = strlen(text);
 * fathom_prompt_add_message(prompt, &message, NULL);
 * fathom_session_create(model, NULL, &session, NULL);
 * fathom_session_generate(session, prompt, NULL, &stream, NULL);
 * fathom_event event = {sizeof event};
 * while (fathom_stream_next(stream, UINT64_MAX, &event, NULL) == FATHOM_OK &&
 *        event.type != FATHOM_EVENT_DONE)
 *     if (event.type == FATHOM_EVENT_TEXT) fwrite(event.text, 1, event.text_bytes, stdout);
 * @endcode
 *
 * ## Conventions
 *
 * - Every fallible call returns a status (FATHOM_OK is 0) and takes a nullable `fathom_error**` as
 *   its last parameter. On failure it receives an error object that you release; on success NULL.
 * - Text is UTF-8 given as pointer and byte count; no NUL is needed. A NULL pointer with count 0 is
 *   empty text.
 * - Option and result structs begin with `struct_size`, which you set to `sizeof` the struct. Zero
 *   in every other field means the default. A library older than your header refuses a non-zero
 *   field that it does not know; a newer one takes missing fields as zero. [T:abi struct sizes]
 * - Times are nanoseconds in uint64_t; UINT64_MAX waits for ever, 0 polls.
 * - Handles count references: a child keeps its parents alive, so the order of releases is free,
 *   and releasing NULL does nothing. [T:abi release order]
 *
 * ## Threads
 *
 * | object | rule |
 * |---|---|
 * | engine, model, tokenizer | any thread, any number at once |
 * | session | any thread; one call at a time, else FATHOM_BUSY; while its stream runs only fathom_session_describe() and fathom_session_release() |
 * | prompt | one thread at a time, else FATHOM_BUSY |
 * | stream | one consumer of fathom_stream_next() at a time, else FATHOM_BUSY; fathom_stream_cancel() and fathom_stream_usage() from any thread |
 *
 * Breaking a rule returns FATHOM_BUSY; it is never undefined behaviour. [T:abi threading contract]
 * Releasing a handle while another thread uses that same handle is the one thing that you must not
 * do. A handle that was released before is noticed: using it is FATHOM_INVALID_ARGUMENT, releasing
 * it again does nothing, until some 256 other handles were released after it; an error object is no
 * handle and is released once. [T:host stale handles] Hooks that you install (log, progress) are
 * called without any lock held, with the host's own floating-point mode, on the thread of the call
 * or on the engine's, by several threads at once if several load. They must not call back into the
 * library. In a forked child every call fails with FATHOM_BAD_STATE and releases do nothing; call
 * `_exit` there. [T:host fork]
 *
 * A call of this interface uses less than 64 KiB of the caller's stack. [T:host small stack]
 */
#ifndef FATHOM_FATHOM_H_
#define FATHOM_FATHOM_H_

#include <stdint.h>

#if defined(__GNUC__)
#define FATHOM_API __attribute__((visibility("default")))
#else
/** Marks an exported function. */
#define FATHOM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------------------
 * Versions
 * --------------------------------------------------------------------------------------------- */

/** Version of this header: major << 16 | minor. Functions are only ever added within a major. */
#define FATHOM_ABI_VERSION ((uint32_t)0x00010000)

/* ------------------------------------------------------------------------------------------------
 * Status codes
 * --------------------------------------------------------------------------------------------- */

/** Success. */
#define FATHOM_OK ((int32_t)0)
/** An argument, option or token id is out of its documented range. */
#define FATHOM_INVALID_ARGUMENT ((int32_t)1)
/** The object cannot do this in its present state. */
#define FATHOM_BAD_STATE ((int32_t)2)
/** Another call uses the object: see the threading table. */
#define FATHOM_BUSY ((int32_t)3)
/** The work was cancelled by the host. */
#define FATHOM_CANCELLED ((int32_t)4)
/** Nothing happened within the time given, or a deadline passed. */
#define FATHOM_TIMEOUT ((int32_t)5)
/** The system refused memory or a thread. */
#define FATHOM_NO_MEMORY ((int32_t)6)
/** The work does not fit into the budget that the host set. */
#define FATHOM_BUDGET ((int32_t)7)
/** The system failed to read a file. */
#define FATHOM_IO ((int32_t)8)
/** A file, JSON text or tokenizer does not follow its format. */
#define FATHOM_FORMAT ((int32_t)9)
/** Contents do not match their checksum. */
#define FATHOM_INTEGRITY ((int32_t)10)
/** Well-formed, but this library cannot do it. */
#define FATHOM_UNSUPPORTED ((int32_t)11)
/** The dialect cannot render this conversation. */
#define FATHOM_TEMPLATE ((int32_t)12)
/** A grammar or schema is wrong. */
#define FATHOM_GRAMMAR ((int32_t)13)
/** The prompt does not fit into the session's context. */
#define FATHOM_CONTEXT_FULL ((int32_t)14)
/** A device failed at something. */
#define FATHOM_DEVICE ((int32_t)15)
/** A device is gone; its engine is unusable, others are not. */
#define FATHOM_DEVICE_LOST ((int32_t)16)
/** The engine is shutting down. */
#define FATHOM_SHUTDOWN ((int32_t)17)
/** A mistake in this library. Please report the message. */
#define FATHOM_INTERNAL ((int32_t)18)

/* ------------------------------------------------------------------------------------------------
 * Handles
 * --------------------------------------------------------------------------------------------- */

/** A failure: code and message. */
typedef struct fathom_error fathom_error;
/** Threads, memory and schedule. */
typedef struct fathom_engine fathom_engine;
/** A loaded checkpoint. */
typedef struct fathom_model fathom_model;
/** Text to token ids and back. */
typedef struct fathom_tokenizer fathom_tokenizer;
/** A conversation under construction. */
typedef struct fathom_prompt fathom_prompt;
/** One conversation's place in the KV cache. */
typedef struct fathom_session fathom_session;
/** One answer on its way. */
typedef struct fathom_stream fathom_stream;
/** Bytes owned by the library until fathom_buffer_release(). */
typedef struct fathom_buffer fathom_buffer;

/* ------------------------------------------------------------------------------------------------
 * Library
 * --------------------------------------------------------------------------------------------- */

/**
 * Version of the running library, to be compared with FATHOM_ABI_VERSION before anything else.
 * @return major << 16 | minor; equal majors are compatible when this minor is not smaller.
 * Any thread. Since 1.0.
 */
FATHOM_API uint32_t fathom_abi_version(void);

/**
 * What this library was built from and with, as one line of JSON: version, compiler, backends,
 * instruction sets. Paste it into a support ticket.
 * @return NUL-terminated text in static storage.
 * Any thread. Since 1.0.
 */
FATHOM_API const char* fathom_build_info_json(void);

/**
 * Asks for a capability by name, so that a host need not compare versions.
 * @param name NUL-terminated, for instance "arch.deepseek_v3", "dialect.deepseek-v3.1",
 *        "dtype.f8_e4m3", "backend.cpu".
 * @return 1 when this library has it, else 0 (also for NULL and unknown names).
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_feature_supported(const char* name);

/**
 * The name of a status, for logs.
 * @param status a FATHOM_* status.
 * @return NUL-terminated text in static storage, for instance "FATHOM_BUSY"; "unknown status" for
 *         other numbers.
 * Any thread. Since 1.0.
 */
FATHOM_API const char* fathom_status_name(int32_t status);

/** fathom_struct_init() id of fathom_engine_options. */
#define FATHOM_STRUCT_ENGINE_OPTIONS ((uint32_t)1)
/** fathom_struct_init() id of fathom_engine_stats. */
#define FATHOM_STRUCT_ENGINE_STATS ((uint32_t)2)
/** fathom_struct_init() id of fathom_device_info. */
#define FATHOM_STRUCT_DEVICE_INFO ((uint32_t)3)
/** fathom_struct_init() id of fathom_source. */
#define FATHOM_STRUCT_SOURCE ((uint32_t)4)
/** fathom_struct_init() id of fathom_model_options. */
#define FATHOM_STRUCT_MODEL_OPTIONS ((uint32_t)5)
/** fathom_struct_init() id of fathom_model_description. */
#define FATHOM_STRUCT_MODEL_DESCRIPTION ((uint32_t)6)
/** fathom_struct_init() id of fathom_memory_plan. */
#define FATHOM_STRUCT_MEMORY_PLAN ((uint32_t)7)
/** fathom_struct_init() id of fathom_tokenizer_description. */
#define FATHOM_STRUCT_TOKENIZER_DESCRIPTION ((uint32_t)8)
/** fathom_struct_init() id of fathom_prompt_options. */
#define FATHOM_STRUCT_PROMPT_OPTIONS ((uint32_t)9)
/** fathom_struct_init() id of fathom_message. */
#define FATHOM_STRUCT_MESSAGE ((uint32_t)10)
/** fathom_struct_init() id of fathom_session_options. */
#define FATHOM_STRUCT_SESSION_OPTIONS ((uint32_t)11)
/** fathom_struct_init() id of fathom_session_description. */
#define FATHOM_STRUCT_SESSION_DESCRIPTION ((uint32_t)12)
/** fathom_struct_init() id of fathom_generate_options. */
#define FATHOM_STRUCT_GENERATE_OPTIONS ((uint32_t)13)
/** fathom_struct_init() id of fathom_event. */
#define FATHOM_STRUCT_EVENT ((uint32_t)14)
/** fathom_struct_init() id of fathom_usage. */
#define FATHOM_STRUCT_USAGE ((uint32_t)15)

/**
 * Zeroes a struct of this interface and sets its `struct_size`: the same as `= {sizeof s}` in C,
 * for languages that cannot write that.
 * @param structure at least `size` writable bytes.
 * @param id a FATHOM_STRUCT_* constant.
 * @param size the caller's size of the struct in bytes.
 * @return FATHOM_OK, or FATHOM_INVALID_ARGUMENT for NULL, an unknown id, or a size below the first
 *         version of that struct.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_struct_init(void* structure, uint32_t id, uint32_t size);

/**
 * Reads a buffer that another call returned.
 * @param buffer a live buffer or NULL.
 * @param bytes receives the number of bytes; may be NULL.
 * @return the bytes, owned by the buffer; NULL for NULL.
 * Any thread. Since 1.0.
 */
FATHOM_API const char* fathom_buffer_data(const fathom_buffer* buffer, uint64_t* bytes);

/**
 * Releases a buffer.
 * @param buffer a buffer that no other thread uses, or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_buffer_release(fathom_buffer* buffer);

/* ------------------------------------------------------------------------------------------------
 * Errors
 * --------------------------------------------------------------------------------------------- */

/**
 * The status that an error carries.
 * @param error a live error or NULL.
 * @return its status; FATHOM_OK for NULL.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_error_code(const fathom_error* error);

/**
 * The message of an error: what, where, found and wanted.
 * @param error a live error or NULL.
 * @return NUL-terminated UTF-8 owned by the error; "" for NULL.
 * Any thread. Since 1.0.
 */
FATHOM_API const char* fathom_error_message(const fathom_error* error);

/**
 * Releases an error.
 * @param error an error that no other thread uses, or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_error_release(fathom_error* error);

/* ------------------------------------------------------------------------------------------------
 * Devices
 * --------------------------------------------------------------------------------------------- */

/** A processor of this machine. */
#define FATHOM_DEVICE_CPU ((int32_t)1)
/** An NVIDIA GPU, by the plugin libfathom_cuda.so.1 and the driver's libcuda.so.1. */
#define FATHOM_DEVICE_CUDA ((int32_t)2)

/** A device that an engine can use. */
typedef struct fathom_device_info {
    uint32_t struct_size;       /**< sizeof this struct. */
    int32_t kind;               /**< FATHOM_DEVICE_*. */
    int32_t index;              /**< Number within its kind, from 0. */
    int32_t n_processors;       /**< Processors that this process may use. */
    uint64_t memory_total;      /**< Bytes of memory. */
    uint64_t memory_available;  /**< Bytes free for new work, as the system reports it. */
    char name[96];              /**< For people; NUL-terminated. */
    char level[32];             /**< Best instruction set, "avx512_bf16" for instance. */
} fathom_device_info;

/**
 * Lists the devices. Call with `devices` NULL to learn the count, then with an array.
 * @param devices array of `*count` structs whose first element has struct_size set (the array's
 *        stride is that size), or NULL.
 * @param count in: room in the array; out: number of devices.
 * @param error nullable.
 * @return FATHOM_OK; FATHOM_INVALID_ARGUMENT when the array is too small (count says how many).
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_devices_query(fathom_device_info* devices, uint32_t* count,
                                        fathom_error** error);

/* ------------------------------------------------------------------------------------------------
 * Engine
 * --------------------------------------------------------------------------------------------- */

/** The engine has a thread of its own that runs steps. The default. */
#define FATHOM_MODE_THREADED ((int32_t)0)
/** The host lends its thread by calling fathom_engine_step(). */
#define FATHOM_MODE_MANUAL ((int32_t)1)

/** The best instruction set that the processor has. The default. */
#define FATHOM_CPU_AUTO ((int32_t)0)
/** Plain C++. */
#define FATHOM_CPU_SCALAR ((int32_t)1)
/** AVX2 with FMA and F16C. */
#define FATHOM_CPU_AVX2 ((int32_t)2)
/** AVX-512 F, BW, DQ, VL. */
#define FATHOM_CPU_AVX512 ((int32_t)3)
/** AVX-512 with BF16 dot products. */
#define FATHOM_CPU_AVX512_BF16 ((int32_t)4)

/** Something that a person should look at. */
#define FATHOM_LOG_WARNING ((int32_t)1)
/** Something that happens once in a while: a model was loaded. */
#define FATHOM_LOG_INFO ((int32_t)2)

/**
 * Receives one log record.
 * @param user_data as given with the hook.
 * @param level FATHOM_LOG_*.
 * @param text UTF-8, valid during the call, not NUL-terminated.
 * @param text_bytes its length.
 */
typedef void (*fathom_log_function)(void* user_data, int32_t level, const char* text,
                                    uint64_t text_bytes);

/** Options of an engine; zero is the default everywhere. */
typedef struct fathom_engine_options {
    uint32_t struct_size;     /**< sizeof this struct. */
    int32_t mode;             /**< FATHOM_MODE_*. */
    int32_t n_threads;        /**< Computing threads, 1 to 1024; 0: one a usable processor. */
    int32_t cpu_level;        /**< FATHOM_CPU_*; a level that the processor lacks is an error. */
    int32_t deterministic;    /**< 1: the same model, prompt, options and seed give the same tokens,
                                   whatever else runs, in any batch, chunking and thread count.
                                   Costs prefill time on long prompts. [T:deterministic mode] */
    int32_t max_batch_rows;   /**< Most tokens in one step, 1 to 65536; 0: 512. */
    int32_t max_sequences;    /**< Most sequences in one step, 1 to 4096; 0: 64. */
    int32_t reserved;         /**< Zero. */
    uint64_t memory_budget;   /**< Most bytes for weights, KV cache and workspace together; a model
                                   that does not fit is refused with FATHOM_BUDGET. 0: no limit. */
    uint64_t kv_cache_bytes;  /**< Bytes for the KV cache of each model; 0: what one session of the
                                   model's default context needs (see fathom_memory_plan). */
    fathom_log_function log;  /**< Nullable. Silent without it. */
    void* log_user_data;      /**< Passed to log. */
    int32_t device;           /**< FATHOM_DEVICE_*; 0: the CPU. What a device lacks (plugin, driver,
                                   kernels) is an error; no other device takes its place. */
    int32_t device_index;     /**< Which of several devices of that kind, from 0. */
    const char* driver_folder;     /**< Folder of the driver's library; 0 bytes: the system's. */
    uint64_t driver_folder_bytes;  /**< Bytes of driver_folder. */
    const char* plugin_folder;     /**< Folder of the device's plugin; 0 bytes: beside this
                                        library. */
    uint64_t plugin_folder_bytes;  /**< Bytes of plugin_folder. */
} fathom_engine_options;

/**
 * Creates an engine. Several may live in one process.
 * @param options nullable: all defaults.
 * @param engine receives the handle.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_INVALID_ARGUMENT, FATHOM_UNSUPPORTED (cpu_level; plugin or driver of
 *         the device), FATHOM_DEVICE, FATHOM_NO_MEMORY.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_engine_create(const fathom_engine_options* options,
                                        fathom_engine** engine, fathom_error** error);

/**
 * Drops the host's reference. The engine ends when its models, sessions and streams are released
 * too.
 * @param engine a live engine or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_engine_release(fathom_engine* engine);

/**
 * Lets running streams finish until the deadline, then cancels them. New work is refused with
 * FATHOM_SHUTDOWN from the first moment. Idempotent; of several callers the one that waits least
 * decides. After it returns no thread of the engine runs, unless another thread is inside
 * fathom_model_load(): that call ends with FATHOM_SHUTDOWN at its next progress step, and the
 * engine's computing threads with it.
 * @param engine a live engine.
 * @param timeout_ns longest wait for running streams; 0 cancels at once.
 * @param error nullable.
 * @return FATHOM_OK when all streams finished, FATHOM_TIMEOUT when some were cancelled.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_engine_shutdown(fathom_engine* engine, uint64_t timeout_ns,
                                          fathom_error** error);

/**
 * Runs steps on the caller's thread: FATHOM_MODE_MANUAL only.
 * @param engine a live engine.
 * @param budget_ns stop after the step in which this much time has passed; 0: one step.
 * @param more receives 1 when work is left, else 0; may be NULL.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_BAD_STATE (threaded engine), FATHOM_BUSY (another thread steps).
 * One thread at a time. Since 1.0.
 */
FATHOM_API int32_t fathom_engine_step(fathom_engine* engine, uint64_t budget_ns, int32_t* more,
                                      fathom_error** error);

/**
 * Waits until at least one of many streams has an event.
 * @param engine a live engine.
 * @param streams `n_streams` live streams of that engine.
 * @param n_streams 1 or more.
 * @param timeout_ns longest wait.
 * @param ready receives the index of a stream with an event; the search starts behind the last
 *        index returned to this engine, so that no stream starves.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_TIMEOUT, FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_engine_wait_any(fathom_engine* engine, fathom_stream* const* streams,
                                          uint32_t n_streams, uint64_t timeout_ns, uint32_t* ready,
                                          fathom_error** error);

/** A snapshot of an engine's counters. */
typedef struct fathom_engine_stats {
    uint32_t struct_size;         /**< sizeof this struct. */
    int32_t device_status;        /**< FATHOM_OK, or the failure that made the engine unusable. */
    uint64_t n_models;            /**< Loaded models. */
    uint64_t n_sessions;          /**< Open sessions. */
    uint64_t n_waiting;           /**< Streams waiting for their first step. */
    uint64_t n_running;           /**< Streams with a place in the batch. */
    uint64_t kv_pages;            /**< KV pages of all models, 64 tokens each. */
    uint64_t kv_pages_used;       /**< Of these, pages that hold tokens. */
    uint64_t n_steps;             /**< Steps since creation. */
    uint64_t prefill_tokens;      /**< Prompt tokens computed. */
    uint64_t decode_tokens;       /**< Tokens generated. */
    uint64_t memory_bytes;        /**< Weights, KV cache and workspace now. */
    uint64_t step_ns_total;       /**< Time inside steps. */
    uint64_t backend_ns_total;    /**< Of this, time inside the backend's kernels. */
} fathom_engine_stats;

/**
 * Reads the counters. Cheap; takes no lock that a step holds.
 * @param engine a live engine.
 * @param stats struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_engine_stats_read(fathom_engine* engine, fathom_engine_stats* stats,
                                            fathom_error** error);

/* ------------------------------------------------------------------------------------------------
 * Model
 * --------------------------------------------------------------------------------------------- */

/** Where a checkpoint or tokenizer lies. */
typedef struct fathom_source {
    uint32_t struct_size; /**< sizeof this struct. */
    uint32_t reserved;    /**< Zero. */
    const char* path;     /**< A folder as published: config.json, safetensors, tokenizer.json. */
    uint64_t path_bytes;  /**< Length of path. */
} fathom_source;

/**
 * Called while a model loads.
 * @param user_data as given with the function.
 * @param bytes_done bytes read so far.
 * @param bytes_total bytes to read.
 * @return 0 to go on, anything else to cancel.
 */
typedef int32_t (*fathom_progress_function)(void* user_data, uint64_t bytes_done,
                                            uint64_t bytes_total);

/** The KV cache has the type that fits the weights: F32 for F32, else BF16. The default. */
#define FATHOM_KV_AUTO ((int32_t)0)
/** KV cache in BF16. */
#define FATHOM_KV_BF16 ((int32_t)1)
/** KV cache in F32. */
#define FATHOM_KV_F32 ((int32_t)2)

/** Options of a model; zero is the default everywhere. */
typedef struct fathom_model_options {
    uint32_t struct_size;              /**< sizeof this struct. */
    int32_t kv_type;                   /**< FATHOM_KV_*. */
    uint64_t context;                  /**< Most tokens in a session; 0: the smaller of 4096 and
                                            what the checkpoint allows. */
    const char* dialect;               /**< A dialect's name ("deepseek-v3.1"); NULL: recognised. */
    uint64_t dialect_bytes;            /**< Length of dialect. */
    fathom_progress_function progress; /**< Nullable. Called on the loading thread. */
    void* progress_user_data;          /**< Passed to progress. */
} fathom_model_options;

/** What loading a checkpoint will take, computed from its headers alone. */
typedef struct fathom_memory_plan {
    uint32_t struct_size;        /**< sizeof this struct. */
    int32_t kv_type;             /**< FATHOM_KV_BF16 or FATHOM_KV_F32. */
    uint64_t weight_bytes;       /**< Weights in memory. */
    uint64_t workspace_bytes;    /**< Activations and scratch. */
    uint64_t kv_cache_bytes;     /**< KV cache. */
    uint64_t total_bytes;        /**< The three together. [T:estimate within 2 percent] */
    uint64_t kv_bytes_per_token; /**< KV cache of one token, all layers. */
    uint64_t mha_bytes_per_token; /**< The same if keys and values were cached for each head. */
    uint64_t context;            /**< Tokens of one session. */
    uint64_t parameters;         /**< Parameters of the model, without layers not loaded. */
    uint64_t active_parameters;  /**< Parameters that one token uses. */
    uint64_t file_bytes;         /**< Bytes of all tensors in the files. */
} fathom_memory_plan;

/**
 * Says what loading will take, from headers alone: no weights are read and no engine is needed.
 * @param engine_options nullable; memory-relevant fields are used.
 * @param source the checkpoint folder.
 * @param model_options nullable.
 * @param plan struct_size set by the caller.
 * @param error nullable: says exactly why a folder is rejected.
 * @return FATHOM_OK or the status that loading would give for the same headers; with FATHOM_BUDGET
 *         `plan` is filled all the same.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_estimate(const fathom_engine_options* engine_options,
                                         const fathom_source* source,
                                         const fathom_model_options* model_options,
                                         fathom_memory_plan* plan, fathom_error** error);

/**
 * Loads a checkpoint. Blocks; a failure or cancellation leaves no trace.
 * @param engine a live engine.
 * @param source the checkpoint folder.
 * @param options nullable.
 * @param model receives the handle.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_IO, FATHOM_FORMAT, FATHOM_UNSUPPORTED, FATHOM_BUDGET, FATHOM_NO_MEMORY,
 *         FATHOM_CANCELLED, FATHOM_SHUTDOWN, FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_load(fathom_engine* engine, const fathom_source* source,
                                     const fathom_model_options* options, fathom_model** model,
                                     fathom_error** error);

/**
 * Drops the host's reference. Memory is returned when the last session of the model is released.
 * @param model a live model or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_model_release(fathom_model* model);

/** Facts about a loaded model. */
typedef struct fathom_model_description {
    uint32_t struct_size;        /**< sizeof this struct. */
    int32_t n_layers;            /**< Decoder layers, without multi-token-prediction layers. */
    int32_t n_routed_experts;    /**< Routed experts in a layer; 0: none. */
    int32_t n_active_experts;    /**< Routed experts a token uses in a layer. */
    int32_t hidden_size;         /**< Width of the residual stream. */
    int32_t vocabulary_rows;     /**< Rows of the head, padding included. */
    int32_t n_heads;             /**< Attention heads. */
    int32_t kv_type;             /**< FATHOM_KV_BF16 or FATHOM_KV_F32. */
    uint64_t context;            /**< Most tokens in a session. */
    uint64_t parameters;         /**< Parameters loaded. */
    uint64_t active_parameters;  /**< Parameters that one token uses. */
    uint64_t weight_bytes;       /**< Weights in memory. */
    uint64_t workspace_bytes;    /**< Activations and scratch. */
    uint64_t kv_cache_bytes;     /**< KV cache. */
    uint64_t kv_bytes_per_token; /**< KV cache of one token. */
    uint64_t fingerprint;        /**< Hash of config and tensor headers. */
    char architecture[48];       /**< model_type of config.json, NUL-terminated. */
    char dialect[32];            /**< Name of the dialect; "raw" for a base model. */
} fathom_model_description;

/**
 * Reads facts about a model.
 * @param model a live model.
 * @param description struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_describe(const fathom_model* model,
                                         fathom_model_description* description,
                                         fathom_error** error);

/**
 * Reads one entry of an open list of text facts: every scalar of config.json under its own name
 * ("config.rope_theta"), and "dialect", "architecture", "backend".
 * @param model a live model.
 * @param key NUL-terminated.
 * @param value receives NUL-terminated UTF-8 owned by the model; NULL when there is no such key.
 * @param value_bytes receives its length; may be NULL.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT (unknown key).
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_metadata_get(const fathom_model* model, const char* key,
                                             const char** value, uint64_t* value_bytes,
                                             fathom_error** error);

/**
 * The model's tokenizer.
 * @param model a live model.
 * @param tokenizer receives a reference that the host releases.
 * @param error nullable.
 * @return FATHOM_OK, or FATHOM_BAD_STATE when the folder has no tokenizer.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_tokenizer(const fathom_model* model, fathom_tokenizer** tokenizer,
                                          fathom_error** error);

/**
 * Everything that the headers of a checkpoint folder say, as JSON: architecture, hyper-parameters,
 * dialect, tensors by type, memory plan. For tools.
 * @param engine_options nullable; memory-relevant fields are used.
 * @param source the checkpoint folder.
 * @param model_options nullable.
 * @param json receives the text.
 * @param error nullable: says exactly why a folder is rejected.
 * @return as fathom_model_estimate().
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_model_inspect(const fathom_engine_options* engine_options,
                                        const fathom_source* source,
                                        const fathom_model_options* model_options,
                                        fathom_buffer** json, fathom_error** error);

/* ------------------------------------------------------------------------------------------------
 * Tokenizer
 * --------------------------------------------------------------------------------------------- */

/** encode: spellings of added tokens become these tokens. Only for text that you trust. */
#define FATHOM_ENCODE_SPECIAL ((uint32_t)1)
/** encode: put the beginning-of-sentence token first. */
#define FATHOM_ENCODE_BOS ((uint32_t)2)
/** decode: leave out tokens that the tokenizer marks as special. */
#define FATHOM_DECODE_SKIP_SPECIAL ((uint32_t)1)

/** Facts about a tokenizer; an id that does not exist is -1. */
typedef struct fathom_tokenizer_description {
    uint32_t struct_size; /**< sizeof this struct. */
    int32_t n_tokens;     /**< Ids are 0 to n_tokens - 1. */
    int32_t bos_id;       /**< Beginning of sentence. */
    int32_t eos_id;       /**< End of sentence. */
    int32_t pad_id;       /**< Padding. */
    int32_t adds_bos;     /**< 1 when prompts of this tokenizer begin with bos_id. */
    uint64_t fingerprint; /**< Hash of the tokenizer's file. */
    char dialect[32];     /**< Dialect recognised from the folder; "raw" when none. */
} fathom_tokenizer_description;

/**
 * Opens the tokenizer of a folder (tokenizer.json or tokenizer.model) without any weights.
 * @param source the folder.
 * @param tokenizer receives the handle.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_IO, FATHOM_FORMAT, FATHOM_UNSUPPORTED, FATHOM_NO_MEMORY,
 *         FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_tokenizer_open(const fathom_source* source, fathom_tokenizer** tokenizer,
                                         fathom_error** error);

/**
 * Text to ids. Without FATHOM_ENCODE_SPECIAL no text whatsoever yields an added token.
 * [T:prompt injection]
 * @param tokenizer a live tokenizer.
 * @param text the text; bytes that are not UTF-8 are encoded byte by byte.
 * @param text_bytes its length.
 * @param flags FATHOM_ENCODE_*.
 * @param ids room for `capacity` ids, or NULL with capacity 0 to learn the count.
 * @param capacity number of ids that fit.
 * @param count receives the number of ids of the text, also when they did not fit.
 * @param error nullable.
 * @return FATHOM_OK; FATHOM_INVALID_ARGUMENT when 0 < capacity < count, or for NULL or unknown
 *         flags.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_tokenizer_encode(const fathom_tokenizer* tokenizer, const char* text,
                                           uint64_t text_bytes, uint32_t flags, int32_t* ids,
                                           uint64_t capacity, uint64_t* count,
                                           fathom_error** error);

/**
 * Ids to bytes, exactly; a token may hold part of a UTF-8 sequence. Streams join these for you.
 * @param tokenizer a live tokenizer.
 * @param ids `n_ids` ids.
 * @param n_ids their number.
 * @param flags FATHOM_DECODE_*.
 * @param text room for `capacity` bytes, or NULL with capacity 0 to learn the count.
 * @param capacity number of bytes that fit; no NUL is added.
 * @param count receives the number of bytes, also when they did not fit.
 * @param error nullable.
 * @return FATHOM_OK; FATHOM_INVALID_ARGUMENT for an id out of range (the message names it) or when
 *         0 < capacity < count.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_tokenizer_decode(const fathom_tokenizer* tokenizer, const int32_t* ids,
                                           uint64_t n_ids, uint32_t flags, char* text,
                                           uint64_t capacity, uint64_t* count,
                                           fathom_error** error);

/**
 * Reads facts about a tokenizer.
 * @param tokenizer a live tokenizer.
 * @param description struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_tokenizer_describe(const fathom_tokenizer* tokenizer,
                                             fathom_tokenizer_description* description,
                                             fathom_error** error);

/**
 * Drops the host's reference.
 * @param tokenizer a live tokenizer or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_tokenizer_release(fathom_tokenizer* tokenizer);

/* ------------------------------------------------------------------------------------------------
 * Prompt
 * --------------------------------------------------------------------------------------------- */

/** Instructions from the operator. */
#define FATHOM_ROLE_SYSTEM ((int32_t)1)
/** What the person or program asks. */
#define FATHOM_ROLE_USER ((int32_t)2)
/** What the model answered earlier. */
#define FATHOM_ROLE_ASSISTANT ((int32_t)3)
/** Result of a tool call. */
#define FATHOM_ROLE_TOOL ((int32_t)4)

/** The dialect's own default. */
#define FATHOM_THINKING_AUTO ((int32_t)0)
/** The answer begins with reasoning, where the dialect can. */
#define FATHOM_THINKING_ON ((int32_t)1)
/** The answer begins without reasoning, where the dialect can. */
#define FATHOM_THINKING_OFF ((int32_t)2)

/** Options of a prompt; zero is the default everywhere. */
typedef struct fathom_prompt_options {
    uint32_t struct_size;   /**< sizeof this struct. */
    int32_t thinking;       /**< FATHOM_THINKING_*. */
    int32_t no_generation;  /**< 1: do not open the assistant's turn at the end. */
    int32_t reserved;       /**< Zero. */
    const char* dialect;    /**< Name of a dialect; NULL: as recognised from the folder. */
    uint64_t dialect_bytes; /**< Length of dialect. */
} fathom_prompt_options;

/** One turn of a conversation. The texts are copied. */
typedef struct fathom_message {
    uint32_t struct_size;     /**< sizeof this struct. */
    int32_t role;             /**< FATHOM_ROLE_*. */
    const char* text;         /**< What was said. Never parsed for control tokens. */
    uint64_t text_bytes;      /**< Length of text. */
    const char* reasoning;    /**< Assistant only: reasoning before the text; dropped from history
                                   where the model was trained so. */
    uint64_t reasoning_bytes; /**< Length of reasoning. */
} fathom_message;

/**
 * Starts a conversation.
 * @param tokenizer a live tokenizer, kept alive by the prompt; NULL for a prompt that takes only
 *        raw tokens, for a model whose folder has no tokenizer.
 * @param options nullable.
 * @param prompt receives the handle.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_UNSUPPORTED (unknown dialect name), FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_prompt_create(const fathom_tokenizer* tokenizer,
                                        const fathom_prompt_options* options,
                                        fathom_prompt** prompt, fathom_error** error);

/**
 * Adds one turn.
 * @param prompt a live prompt.
 * @param message copied.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_INVALID_ARGUMENT, FATHOM_BUSY, FATHOM_BAD_STATE (the prompt holds raw
 *         tokens, or its dialect is "raw").
 * One thread at a time. Since 1.0.
 */
FATHOM_API int32_t fathom_prompt_add_message(fathom_prompt* prompt, const fathom_message* message,
                                             fathom_error** error);

/**
 * Adds exact token ids: replay, raw continuation, fill-in-the-middle. Not mixed with messages.
 * @param prompt a live prompt.
 * @param ids `n_ids` ids, control tokens included.
 * @param n_ids their number.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_INVALID_ARGUMENT (an id out of range; the message names it),
 *         FATHOM_BUSY, FATHOM_BAD_STATE (the prompt holds messages).
 * One thread at a time. Since 1.0.
 */
FATHOM_API int32_t fathom_prompt_add_tokens(fathom_prompt* prompt, const int32_t* ids,
                                            uint64_t n_ids, fathom_error** error);

/**
 * Adds a whole conversation in the shape of OpenAI's `messages` array, with `reasoning_content`,
 * `tool_calls` and `tool_call_id`. All content is treated as untrusted.
 * @param prompt a live prompt.
 * @param json a JSON array.
 * @param json_bytes its length.
 * @param error nullable: names the element and field.
 * @return FATHOM_OK, FATHOM_FORMAT, FATHOM_BUSY, FATHOM_BAD_STATE, FATHOM_INVALID_ARGUMENT.
 * One thread at a time. Since 1.0.
 */
FATHOM_API int32_t fathom_prompt_add_openai_json(fathom_prompt* prompt, const char* json,
                                                 uint64_t json_bytes, fathom_error** error);

/**
 * The exact ids that the model would see.
 * @param prompt a live prompt.
 * @param ids room for `capacity` ids, or NULL with capacity 0 to learn the count.
 * @param capacity number of ids that fit.
 * @param count receives the number of ids.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_TEMPLATE (the dialect cannot render this), FATHOM_INVALID_ARGUMENT,
 *         FATHOM_BUSY.
 * One thread at a time. Since 1.0.
 */
FATHOM_API int32_t fathom_prompt_render(const fathom_prompt* prompt, int32_t* ids,
                                        uint64_t capacity, uint64_t* count, fathom_error** error);

/**
 * Releases a prompt.
 * @param prompt a prompt that no other thread uses, or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_prompt_release(fathom_prompt* prompt);

/* ------------------------------------------------------------------------------------------------
 * Session
 * --------------------------------------------------------------------------------------------- */

/** Options of a session; zero is the default everywhere. */
typedef struct fathom_session_options {
    uint32_t struct_size; /**< sizeof this struct. */
    uint32_t reserved;    /**< Zero. */
    uint64_t context;     /**< Most tokens in this session, at most the model's; 0: the model's. */
} fathom_session_options;

/** Facts about a session. */
typedef struct fathom_session_description {
    uint32_t struct_size; /**< sizeof this struct. */
    int32_t running;      /**< 1 while a stream runs. */
    uint64_t n_tokens;    /**< Tokens in the transcript. */
    uint64_t context;     /**< Most tokens. */
    uint64_t kv_bytes;    /**< KV cache that the session holds now. */
} fathom_session_description;

/**
 * Opens a session.
 * @param model a live model; the session keeps it alive.
 * @param options nullable.
 * @param session receives the handle.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_INVALID_ARGUMENT, FATHOM_SHUTDOWN, FATHOM_NO_MEMORY.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_session_create(fathom_model* model,
                                         const fathom_session_options* options,
                                         fathom_session** session, fathom_error** error);

/**
 * Drops the host's reference; a stream that still runs is cancelled.
 * @param session a live session or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_session_release(fathom_session* session);

/** generate: append the prompt to the transcript instead of replacing it. */
#define FATHOM_GENERATE_APPEND ((uint32_t)1)
/** generate: compute the prompt and stop; no token is generated. */
#define FATHOM_GENERATE_PROMPT_ONLY ((uint32_t)2)
/** generate: deliver the log-probability of every prompt token after the first that is computed. */
#define FATHOM_GENERATE_PROMPT_LOGPROBS ((uint32_t)4)
/** generate: do not stop at the dialect's end of turn. */
#define FATHOM_GENERATE_IGNORE_EOS ((uint32_t)8)

/** A pair of token and addend to its logit. */
typedef struct fathom_logit_bias {
    int32_t token; /**< Token id. */
    float bias;    /**< Finite, -1e4 to 1e4. */
} fathom_logit_bias;

/** One stop string. */
typedef struct fathom_text {
    const char* data; /**< UTF-8. */
    uint64_t bytes;   /**< Length, 1 to 4096 for a stop string. */
} fathom_text;

/** Options of one answer; zero is the default everywhere. */
typedef struct fathom_generate_options {
    uint32_t struct_size;       /**< sizeof this struct. */
    uint32_t flags;             /**< FATHOM_GENERATE_*. */
    uint64_t max_tokens;        /**< Most tokens to generate; 0: what the context leaves. */
    float temperature;          /**< 0: greedy; else 0.01 to 100. */
    int32_t top_k;              /**< Keep the k most likely tokens; 0: all. */
    float top_p;                /**< Keep the smallest set with this probability; 0 or 1: all. */
    float min_p;                /**< Drop tokens below this share of the best one's probability. */
    float repetition_penalty;   /**< Divides positive logits of tokens seen; 0 or 1: none. */
    float presence_penalty;     /**< Subtracted once from logits of generated tokens, -2 to 2. */
    float frequency_penalty;    /**< Subtracted for each occurrence, -2 to 2. */
    int32_t logprobs;           /**< 1 + the number of alternatives to deliver with each token's
                                     log-probability, 1 to 21; 0: none. */
    uint64_t seed;              /**< Randomness is a function of seed and position alone. */
    const fathom_logit_bias* logit_bias; /**< Nullable. */
    uint64_t n_logit_bias;      /**< 0 to 1024. */
    const fathom_text* stop;    /**< Stop strings; the text before one is delivered. Nullable. */
    uint64_t n_stop;            /**< 0 to 64. */
    const int32_t* stop_ids;    /**< Stop token ids beside the dialect's own. Nullable. */
    uint64_t n_stop_ids;        /**< 0 to 64. */
    uint64_t deadline_ns;       /**< Time from now after which the stream ends with
                                     FATHOM_FINISH_DEADLINE; 0: none. */
} fathom_generate_options;

/**
 * Asks for an answer and returns at once; the work happens in the engine's steps.
 *
 * The session's transcript becomes the prompt, followed by the tokens generated. What the old
 * transcript and the prompt share at their beginning is not computed again, so a host sends the
 * whole conversation each time and pays only for what is new. FATHOM_GENERATE_APPEND keeps the
 * transcript and adds the prompt behind it.
 * @param session a live session without a running stream.
 * @param prompt not NULL; not empty; copied.
 * @param options nullable.
 * @param stream receives the handle; it keeps the session alive.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_BUSY (a stream runs), FATHOM_CONTEXT_FULL (the message says by how
 *         much), FATHOM_BUDGET (can never fit the KV cache), FATHOM_TEMPLATE,
 *         FATHOM_INVALID_ARGUMENT, FATHOM_SHUTDOWN, FATHOM_DEVICE_LOST, FATHOM_NO_MEMORY.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_session_generate(fathom_session* session, const fathom_prompt* prompt,
                                           const fathom_generate_options* options,
                                           fathom_stream** stream, fathom_error** error);

/**
 * Cuts the transcript, to edit or repeat a turn.
 * @param session a live session without a running stream.
 * @param n_tokens tokens to keep, 0 to fathom_session_description.n_tokens.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_BUSY, FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_session_truncate(fathom_session* session, uint64_t n_tokens,
                                           fathom_error** error);

/**
 * Reads facts about a session, also while its stream runs.
 * @param session a live session.
 * @param description struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_session_describe(const fathom_session* session,
                                           fathom_session_description* description,
                                           fathom_error** error);

/* ------------------------------------------------------------------------------------------------
 * Stream
 * --------------------------------------------------------------------------------------------- */

/** Prompt tokens were computed: tokens_done of tokens_total. */
#define FATHOM_EVENT_PROGRESS ((int32_t)1)
/** A piece of the model's reasoning. */
#define FATHOM_EVENT_REASONING ((int32_t)2)
/** A piece of the answer. */
#define FATHOM_EVENT_TEXT ((int32_t)3)
/** Log-probabilities: of prompt tokens, or of the tokens of the event before. */
#define FATHOM_EVENT_LOGPROBS ((int32_t)4)
/** The last event: finish_reason says why, status and text what failed if something did. */
#define FATHOM_EVENT_DONE ((int32_t)5)

/** The model ended its turn. */
#define FATHOM_FINISH_END_OF_TURN ((int32_t)1)
/** max_tokens or the context is used up, or the prompt alone was asked for. */
#define FATHOM_FINISH_LENGTH ((int32_t)2)
/** A stop string or stop id appeared. */
#define FATHOM_FINISH_STOP ((int32_t)3)
/** fathom_stream_cancel() or a release. */
#define FATHOM_FINISH_CANCELLED ((int32_t)4)
/** deadline_ns passed. */
#define FATHOM_FINISH_DEADLINE ((int32_t)5)
/** Something failed; status and text say what. */
#define FATHOM_FINISH_ERROR ((int32_t)6)

/** A token with its log-probability (natural logarithm, before temperature and penalties). */
typedef struct fathom_logprob {
    int32_t token;     /**< Token id. */
    int32_t position;  /**< Position in the transcript. */
    float logprob;     /**< log P(token | everything before). */
    int32_t n_above;   /**< Alternatives that follow in the array for this position. */
} fathom_logprob;

/** One event of a stream. Pointers stay valid until the next call of fathom_stream_next(). */
typedef struct fathom_event {
    uint32_t struct_size;            /**< sizeof this struct. */
    int32_t type;                    /**< FATHOM_EVENT_*. */
    uint64_t sequence;               /**< 0, 1, 2, ... within the stream. */
    const char* text;                /**< Whole UTF-8, never part of a character.
                                          [T:stream whole characters] */
    uint64_t text_bytes;             /**< Length of text. */
    const int32_t* ids;              /**< Tokens generated since the event before. */
    uint64_t n_ids;                  /**< Their number. */
    const fathom_logprob* logprobs;  /**< LOGPROBS: each token, then its n_above alternatives. */
    uint64_t n_logprobs;             /**< Entries in logprobs. */
    uint64_t tokens_done;            /**< PROGRESS: prompt tokens computed. */
    uint64_t tokens_total;           /**< PROGRESS: prompt tokens to compute. */
    int32_t finish_reason;           /**< DONE: FATHOM_FINISH_*. */
    int32_t status;                  /**< DONE: FATHOM_OK or what failed. */
} fathom_event;

/** Exact, exclusive counts of one stream. */
typedef struct fathom_usage {
    uint32_t struct_size;       /**< sizeof this struct. */
    int32_t finished;           /**< 1 after DONE was produced. */
    uint64_t prompt_fresh;      /**< Prompt tokens computed. */
    uint64_t prompt_cached;     /**< Prompt tokens taken from the session's KV cache. */
    uint64_t reasoning_tokens;  /**< Generated tokens that were reasoning. */
    uint64_t output_tokens;     /**< Other generated tokens, end of turn included. */
    uint64_t queue_ns;          /**< From the request to its first step. */
    uint64_t prefill_ns;        /**< From there to the first token. */
    uint64_t decode_ns;         /**< From the first token to the last. */
} fathom_usage;

/**
 * Waits for the next event. A slow reader holds up only its own stream.
 * @param stream a live stream.
 * @param timeout_ns longest wait; 0 polls.
 * @param event struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK; FATHOM_TIMEOUT when no event came; FATHOM_BAD_STATE after DONE was delivered;
 *         FATHOM_BUSY when another thread is inside this call.
 * One consumer. Since 1.0.
 */
FATHOM_API int32_t fathom_stream_next(fathom_stream* stream, uint64_t timeout_ns,
                                      fathom_event* event, fathom_error** error);

/**
 * Asks the stream to end within one step. An atomic store and a wake: may be called from a signal
 * handler. DONE follows with FATHOM_FINISH_CANCELLED and exact usage.
 * @param stream a live stream or NULL.
 * Any thread. Since 1.0.
 */
FATHOM_API void fathom_stream_cancel(fathom_stream* stream);

/**
 * Reads the stream's counts, final once `finished` is 1.
 * @param stream a live stream.
 * @param usage struct_size set by the caller.
 * @param error nullable.
 * @return FATHOM_OK or FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_stream_usage(const fathom_stream* stream, fathom_usage* usage,
                                       fathom_error** error);

/**
 * A descriptor that polls readable while the stream has an event, for epoll and its kin. It belongs
 * to the stream: poll it, do not read or close it.
 * @param stream a live stream.
 * @param handle receives the descriptor.
 * @param error nullable.
 * @return FATHOM_OK, FATHOM_NO_MEMORY (no descriptor left), FATHOM_INVALID_ARGUMENT.
 * Any thread. Since 1.0.
 */
FATHOM_API int32_t fathom_stream_notify_handle(fathom_stream* stream, int64_t* handle,
                                               fathom_error** error);

/**
 * Drops the host's reference; a stream that still runs is cancelled, and its session is free for
 * the next one within a step (fathom_session_description.running tells).
 * @param stream a live stream or NULL.
 * Since 1.0.
 */
FATHOM_API void fathom_stream_release(fathom_stream* stream);

#ifdef __cplusplus
}
#endif

#endif /* FATHOM_FATHOM_H_ */
