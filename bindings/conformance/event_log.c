#include "event_log.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void require(int holds, const char* condition, const char* file, int line) {
    if (holds) return;
    fflush(stdout);
    fprintf(stderr, "%s:%d: wanted %s\n", file, line, condition);
    exit(1);
}

void require_ok(int32_t status, const char* call, const char* file, int line) {
    if (status == FATHOM_OK) return;
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, call, fathom_status_name(status));
    exit(1);
}

void log_step(int number, const char* title) { printf("== %02d %s\n", number, title); }

void log_line(const char* name, const char* format, ...) {
    va_list arguments;
    printf("%s: ", name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

static void print_text(const char* text, uint64_t bytes) {
    putchar('"');
    for (uint64_t i = 0; i < bytes; ++i) {
        if (text[i] == '\n') {
            printf("\\n");
        } else {
            if (text[i] == '"' || text[i] == '\\') putchar('\\');
            putchar(text[i]);
        }
    }
    putchar('"');
}

static void print_ids(const int32_t* ids, uint64_t n_ids) {
    putchar('[');
    for (uint64_t i = 0; i < n_ids; ++i) printf("%s%d", i == 0 ? "" : ",", ids[i]);
    putchar(']');
}

void log_text(const char* name, const char* text, uint64_t bytes) {
    printf("%s: ", name);
    print_text(text, bytes);
    printf("\n");
}

void log_ids(const char* name, const int32_t* ids, uint64_t n_ids) {
    printf("%s: ", name);
    print_ids(ids, n_ids);
    printf("\n");
}

void log_status(const char* name, int32_t status, fathom_error* error) {
    REQUIRE((status == FATHOM_OK) == (error == NULL));
    REQUIRE(fathom_error_code(error) == status);
    REQUIRE((status == FATHOM_OK) == (fathom_error_message(error)[0] == '\0'));
    fathom_error_release(error);
    log_line(name, "%s", fathom_status_name(status));
}

static const char* finish_name(int32_t reason) {
    switch (reason) {
        case FATHOM_FINISH_END_OF_TURN: return "END_OF_TURN";
        case FATHOM_FINISH_LENGTH: return "LENGTH";
        case FATHOM_FINISH_STOP: return "STOP";
        case FATHOM_FINISH_CANCELLED: return "CANCELLED";
        case FATHOM_FINISH_DEADLINE: return "DEADLINE";
        case FATHOM_FINISH_ERROR: return "ERROR";
        default: return "unknown";
    }
}

/* Thousandths, rounded: every language does this the same way, and it hides the last bits. */
static int64_t milli(float logprob) { return (int64_t)floor((double)logprob * 1000.0 + 0.5); }

static void print_logprobs(const fathom_event* event) {
    for (uint64_t i = 0; i < event->n_logprobs;) {
        const fathom_logprob* token = &event->logprobs[i++];
        printf(" %d@%d=%" PRId64, token->token, token->position, milli(token->logprob));
        for (int32_t above = 0; above < token->n_above; ++above, ++i) {
            REQUIRE(i < event->n_logprobs && event->logprobs[i].position == token->position);
            printf("/%d=%" PRId64, event->logprobs[i].token, milli(event->logprobs[i].logprob));
        }
    }
}

static void print_event(const fathom_event* event) {
    printf("%" PRIu64 " ", event->sequence);
    switch (event->type) {
        case FATHOM_EVENT_PROGRESS:
            printf("PROGRESS %" PRIu64 "/%" PRIu64, event->tokens_done, event->tokens_total);
            break;
        case FATHOM_EVENT_REASONING:
        case FATHOM_EVENT_TEXT:
            printf(event->type == FATHOM_EVENT_TEXT ? "TEXT " : "REASONING ");
            print_text(event->text, event->text_bytes);
            putchar(' ');
            print_ids(event->ids, event->n_ids);
            break;
        case FATHOM_EVENT_LOGPROBS:
            printf("LOGPROBS");
            print_logprobs(event);
            break;
        case FATHOM_EVENT_DONE:
            printf("DONE %s %s ", finish_name(event->finish_reason),
                   fathom_status_name(event->status));
            print_ids(event->ids, event->n_ids);
            break;
        default: printf("unknown"); break;
    }
    printf("\n");
}

void log_events(fathom_stream* stream) {
    fathom_event event = {sizeof event};
    do {
        OK(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
        print_event(&event);
    } while (event.type != FATHOM_EVENT_DONE);
}

void log_answer(const char* name, fathom_stream* stream) {
    char text[4096];
    uint64_t bytes = 0;
    fathom_event event = {sizeof event};
    do {
        OK(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
        if (event.type != FATHOM_EVENT_TEXT) continue;
        REQUIRE(event.text_bytes <= sizeof text - bytes);
        memcpy(text + bytes, event.text, event.text_bytes);
        bytes += event.text_bytes;
    } while (event.type != FATHOM_EVENT_DONE);
    log_text(name, text, bytes);
    log_line("finish", "%s", finish_name(event.finish_reason));
}

void log_end(const char* name, fathom_stream* stream, uint64_t n_seen) {
    fathom_event event = {sizeof event};
    fathom_usage usage = {sizeof usage};
    do {
        OK(fathom_stream_next(stream, UINT64_MAX, &event, NULL));
        n_seen += event.n_ids;
    } while (event.type != FATHOM_EVENT_DONE);
    OK(fathom_stream_usage(stream, &usage, NULL));
    log_line(name, "%s %s", finish_name(event.finish_reason), fathom_status_name(event.status));
    log_line("usage counts the ids", "%d",
             usage.finished == 1 && usage.reasoning_tokens + usage.output_tokens == n_seen);
}

void log_usage(const fathom_stream* stream) {
    fathom_usage usage = {sizeof usage};
    OK(fathom_stream_usage(stream, &usage, NULL));
    log_line("usage",
             "finished=%d fresh=%" PRIu64 " cached=%" PRIu64 " reasoning=%" PRIu64
             " output=%" PRIu64,
             usage.finished, usage.prompt_fresh, usage.prompt_cached, usage.reasoning_tokens,
             usage.output_tokens);
}
