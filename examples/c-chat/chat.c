/* A streaming chat on the public header of Fathom alone: chat MODEL [think]
   Enter asks, Ctrl-C ends an answer, Ctrl-D the chat. Reasoning is dim on a terminal. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fathom/fathom.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static fathom_stream* volatile running; /* What Ctrl-C cancels. */

static void on_interrupt(int number) {
    (void)number;
    fathom_stream_cancel(running); /* May be called here; NULL does nothing. */
}

/* Shows what failed and tells whether anything did. */
static int failed(int32_t status, fathom_error* error) {
    if (status != FATHOM_OK)
        fprintf(stderr, "%s: %s\n", fathom_status_name(status), fathom_error_message(error));
    fathom_error_release(error);
    return status != FATHOM_OK;
}

static int add(fathom_prompt* prompt, int32_t role, const char* text, size_t bytes) {
    fathom_message message = {sizeof message, role, text, bytes, NULL, 0};
    fathom_error* error = NULL;
    const int32_t status = fathom_prompt_add_message(prompt, &message, &error);
    return !failed(status, error);
}

/* Prints an answer while it comes and adds it to the conversation. */
static int answer(fathom_session* session, fathom_prompt* prompt, int is_terminal) {
    fathom_stream* stream = NULL;
    fathom_error* error = NULL;
    int32_t status = fathom_session_generate(session, prompt, NULL, &stream, &error);
    if (failed(status, error)) return 0;
    running = stream;
    fathom_event event = {.struct_size = sizeof event};
    char* text = NULL;
    size_t bytes = 0;
    int is_whole = 1;
    do {
        error = NULL;
        status = fathom_stream_next(stream, UINT64_MAX, &event, &error);
        if (failed(status, error)) break;
        const int is_text = event.type == FATHOM_EVENT_TEXT;
        if (!is_text && event.type != FATHOM_EVENT_REASONING) continue;
        if (!is_text && is_terminal) fputs("\033[2m", stdout);
        if (is_text || is_terminal) fwrite(event.text, 1, event.text_bytes, stdout);
        if (!is_text && is_terminal) fputs("\033[0m", stdout);
        fflush(stdout);
        char* const longer = is_text ? realloc(text, bytes + event.text_bytes + 1) : text;
        is_whole = is_whole && (longer != NULL || !is_text);
        if (!is_text || longer == NULL) continue;
        text = longer; /* One byte more than needed, so that empty text is not NULL. */
        memcpy(text + bytes, event.text, event.text_bytes);
        bytes += event.text_bytes;
    } while (event.type != FATHOM_EVENT_DONE);
    running = NULL;
    puts("");
    if (event.type == FATHOM_EVENT_DONE && event.status != FATHOM_OK)
        fprintf(stderr, "%s: %.*s\n", fathom_status_name(event.status), (int)event.text_bytes,
                event.text);
    fathom_stream_release(stream);
    const int ok = status == FATHOM_OK && event.status == FATHOM_OK && is_whole;
    const int added = ok && add(prompt, FATHOM_ROLE_ASSISTANT, text, bytes);
    free(text);
    return added;
}

int main(int argc, char** argv) {
    if (argc < 2) return fprintf(stderr, "usage: %s MODEL [think]\n", argv[0]), 2;
    fathom_source source = {sizeof source, 0, argv[1], strlen(argv[1])};
    fathom_prompt_options options = {.struct_size = sizeof options};
    options.thinking = argc > 2 ? FATHOM_THINKING_ON : FATHOM_THINKING_OFF;
    fathom_engine* engine = NULL;
    fathom_model* model = NULL;
    fathom_tokenizer* tokenizer = NULL;
    fathom_session* session = NULL;
    fathom_prompt* prompt = NULL;
    fathom_error* error = NULL;
    const int is_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    int32_t status = fathom_engine_create(NULL, &engine, &error);
    if (status == FATHOM_OK) status = fathom_model_load(engine, &source, NULL, &model, &error);
    if (status == FATHOM_OK) status = fathom_model_tokenizer(model, &tokenizer, &error);
    if (status == FATHOM_OK) status = fathom_session_create(model, NULL, &session, &error);
    int ok = !failed(status, error);
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    char* line = NULL;
    size_t room = 0;
    while (ok) {
        error = NULL; /* One prompt is one conversation; after a failure another one begins. */
        status = fathom_prompt_create(tokenizer, &options, &prompt, &error);
        ok = !failed(status, error);
        for (int talking = ok; talking;) {
            if (is_terminal) fputs("> ", stdout), fflush(stdout);
            errno = 0; /* The end of the input leaves it as it is. */
            ssize_t bytes = getline(&line, &room, stdin);
            if (bytes < 0 && errno == EINTR) { /* Ctrl-C, but there is no answer to end. */
                clearerr(stdin);
                continue;
            }
            if (bytes <= 0) ok = talking = 0;
            if (bytes > 0 && line[bytes - 1] == '\n') --bytes;
            if (bytes <= 0) continue;
            talking = add(prompt, FATHOM_ROLE_USER, line, (size_t)bytes) &&
                      answer(session, prompt, is_terminal);
            if (!talking) fprintf(stderr, "a new conversation begins\n");
        }
        fathom_prompt_release(prompt);
    }
    free(line);
    fathom_session_release(session); /* Releases of NULL do nothing, and their order is free. */
    fathom_tokenizer_release(tokenizer);
    fathom_model_release(model);
    fathom_engine_release(engine);
    return status == FATHOM_OK ? 0 : 1;
}
