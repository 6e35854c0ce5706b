/* The steps of the conformance program, numbered as in README.md. */
#ifndef CONFORMANCE_STEPS_H_
#define CONFORMANCE_STEPS_H_

#include <fathom/fathom.h>

/* The two arguments of the program. */
typedef struct paths {
    const char* model;   /* the demo model */
    const char* folders; /* bindings/conformance/folders */
} paths;

/* What most steps use: a threaded engine and the demo model in it. */
typedef struct world {
    fathom_engine* engine;
    fathom_model* model;
    fathom_tokenizer* tokenizer;
} world;

fathom_source source_of(const char* path);
/* Deterministic, one thread, plain C++ arithmetic: the same log on every machine. */
fathom_engine_options engine_options(int32_t mode);
fathom_engine* engine_of(int32_t mode);
fathom_model* model_in(fathom_engine* engine, const char* path);
fathom_session* session_of(fathom_model* model);
/* A prompt of one user message. */
fathom_prompt* question(const fathom_tokenizer* tokenizer, const char* text, int32_t thinking);
/* A stream that does not end unless something ends it: more tokens than its queue has room for,
   and nobody reads it. */
fathom_stream* endless(fathom_session* session, const fathom_prompt* prompt);

/* steps_library.c */
void step_library(void);
void step_structs(void);
void step_devices(void);
void step_tokenizer(const paths* at);
void step_tokenizer_errors(const paths* at);
void step_estimate(const paths* at);
void step_load_errors(const paths* at);
void step_engine_errors(void);

/* steps_chat.c */
void step_load(const paths* at, world* here);
void step_prompts(const world* here);
void step_prompt_errors(const world* here);
void step_chat(const world* here);
void step_turns(const world* here);
void step_stops(const world* here);
void step_logprobs(const world* here);
void step_sampling(const world* here);
void step_raw(const world* here);

/* steps_control.c */
void step_cancel(const world* here);
void step_deadline(const world* here);
void step_busy(const world* here);
void step_generate_errors(const paths* at, const world* here);
void step_manual(const paths* at);
void step_shutdown(const paths* at);
void step_release_order(const paths* at);
void step_nulls(void);

/* steps_later.c */
void step_engine_devices(const paths* at);
void step_released(const paths* at);

#endif /* CONFORMANCE_STEPS_H_ */
