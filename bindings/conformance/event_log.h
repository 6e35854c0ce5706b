/* What the steps of the conformance program write their log with. README.md has the formats. */
#ifndef CONFORMANCE_EVENT_LOG_H_
#define CONFORMANCE_EVENT_LOG_H_

#include <fathom/fathom.h>

/* Ends the program with a message on stderr unless `condition` holds: the log would be worthless.
 */
#define REQUIRE(condition) require((condition) != 0, #condition, __FILE__, __LINE__)
/* The call succeeds; its text and the library's message are shown when it does not. */
#define OK(call) require_ok((call), #call, __FILE__, __LINE__)

void require(int holds, const char* condition, const char* file, int line);
void require_ok(int32_t status, const char* call, const char* file, int line);

/* "== 04 tokenizer" */
void log_step(int number, const char* title);
/* "name: " and what printf makes of the rest. */
void log_line(const char* name, const char* format, ...) __attribute__((format(printf, 2, 3)));
/* name: "text with \n, \" and \\ escaped" */
void log_text(const char* name, const char* text, uint64_t bytes);
/* name: [1,2,3] */
void log_ids(const char* name, const int32_t* ids, uint64_t n_ids);
/* name: FATHOM_...; releases the error, which has to agree with the status. */
void log_status(const char* name, int32_t status, fathom_error* error);

/* Logs what a call that takes &error returns. */
#define LOG_STATUS(name, call)                   \
    do {                                         \
        fathom_error* error = NULL;              \
        const int32_t status_of_call = (call);   \
        log_status(name, status_of_call, error); \
    } while (0)

/* One line for each event until DONE, which is logged too. */
void log_events(fathom_stream* stream);
/* name: "text", the TEXT of the whole answer, and name finish: END_OF_TURN. */
void log_answer(const char* name, fathom_stream* stream);
/* name: CANCELLED FATHOM_OK, reading and dropping everything before; then whether the usage counts
   the ids that were delivered, `n_seen` of them before. */
void log_end(const char* name, fathom_stream* stream, uint64_t n_seen);
/* "usage: finished=1 fresh=5 cached=0 reasoning=0 output=3" */
void log_usage(const fathom_stream* stream);

#endif /* CONFORMANCE_EVENT_LOG_H_ */
