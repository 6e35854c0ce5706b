/* The conformance script in C: the program that the other languages' are compared with. README.md
   has the steps and the formats. Usage: conformance MODEL FOLDERS */
#include <stdio.h>
#include <string.h>

#include "event_log.h"
#include "steps.h"

fathom_source source_of(const char* path) {
    fathom_source source = {sizeof source};
    source.path = path;
    source.path_bytes = strlen(path);
    return source;
}

fathom_engine_options engine_options(int32_t mode) {
    fathom_engine_options options = {sizeof options};
    options.mode = mode;
    options.n_threads = 1;
    options.cpu_level = FATHOM_CPU_SCALAR;
    options.deterministic = 1;
    return options;
}

fathom_engine* engine_of(int32_t mode) {
    const fathom_engine_options options = engine_options(mode);
    fathom_engine* engine = NULL;
    OK(fathom_engine_create(&options, &engine, NULL));
    return engine;
}

fathom_model* model_in(fathom_engine* engine, const char* path) {
    const fathom_source source = source_of(path);
    fathom_model* model = NULL;
    OK(fathom_model_load(engine, &source, NULL, &model, NULL));
    return model;
}

fathom_session* session_of(fathom_model* model) {
    fathom_session* session = NULL;
    OK(fathom_session_create(model, NULL, &session, NULL));
    return session;
}

fathom_prompt* question(const fathom_tokenizer* tokenizer, const char* text, int32_t thinking) {
    fathom_prompt_options options = {sizeof options};
    fathom_message message = {sizeof message};
    fathom_prompt* prompt = NULL;
    options.thinking = thinking;
    OK(fathom_prompt_create(tokenizer, &options, &prompt, NULL));
    message.role = FATHOM_ROLE_USER;
    message.text = text;
    message.text_bytes = strlen(text);
    OK(fathom_prompt_add_message(prompt, &message, NULL));
    return prompt;
}

fathom_stream* endless(fathom_session* session, const fathom_prompt* prompt) {
    fathom_generate_options options = {sizeof options};
    fathom_stream* stream = NULL;
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    OK(fathom_session_generate(session, prompt, &options, &stream, NULL));
    return stream;
}

int main(int argc, char** argv) {
    world here = {NULL, NULL, NULL};
    paths at;
    if (argc != 3) {
        fprintf(stderr, "usage: conformance MODEL FOLDERS\n");
        return 2;
    }
    at.model = argv[1];
    at.folders = argv[2];
    step_library();
    step_structs();
    step_devices();
    step_tokenizer(&at);
    step_tokenizer_errors(&at);
    step_estimate(&at);
    step_load_errors(&at);
    step_engine_errors();
    step_load(&at, &here);
    step_prompts(&here);
    step_prompt_errors(&here);
    step_chat(&here);
    step_turns(&here);
    step_stops(&here);
    step_logprobs(&here);
    step_sampling(&here);
    step_raw(&here);
    step_cancel(&here);
    step_deadline(&here);
    step_busy(&here);
    step_generate_errors(&at, &here);
    fathom_tokenizer_release(here.tokenizer);
    fathom_model_release(here.model);
    fathom_engine_release(here.engine);
    step_manual(&at);
    step_shutdown(&at);
    step_release_order(&at);
    step_nulls();
    step_engine_devices(&at);
    step_released(&at);
    return 0;
}
