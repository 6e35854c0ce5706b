#include <cstddef>

#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/structs.h"

using namespace fathom;
using namespace fathom::abi;

namespace {

static_assert(static_cast<int32_t>(EventType::kProgress) == FATHOM_EVENT_PROGRESS &&
              static_cast<int32_t>(EventType::kReasoning) == FATHOM_EVENT_REASONING &&
              static_cast<int32_t>(EventType::kText) == FATHOM_EVENT_TEXT &&
              static_cast<int32_t>(EventType::kLogprobs) == FATHOM_EVENT_LOGPROBS &&
              static_cast<int32_t>(EventType::kDone) == FATHOM_EVENT_DONE);
static_assert(static_cast<int32_t>(FinishReason::kEndOfTurn) == FATHOM_FINISH_END_OF_TURN &&
              static_cast<int32_t>(FinishReason::kLength) == FATHOM_FINISH_LENGTH &&
              static_cast<int32_t>(FinishReason::kStop) == FATHOM_FINISH_STOP &&
              static_cast<int32_t>(FinishReason::kCancelled) == FATHOM_FINISH_CANCELLED &&
              static_cast<int32_t>(FinishReason::kDeadline) == FATHOM_FINISH_DEADLINE &&
              static_cast<int32_t>(FinishReason::kError) == FATHOM_FINISH_ERROR);
// The core's records are handed out as they are.
static_assert(sizeof(TokenLogprob) == sizeof(fathom_logprob) &&
              offsetof(TokenLogprob, token) == offsetof(fathom_logprob, token) &&
              offsetof(TokenLogprob, position) == offsetof(fathom_logprob, position) &&
              offsetof(TokenLogprob, logprob) == offsetof(fathom_logprob, logprob) &&
              offsetof(TokenLogprob, n_above) == offsetof(fathom_logprob, n_above));

}  // namespace

int32_t fathom_stream_next(fathom_stream* stream, uint64_t timeout_ns, fathom_event* event,
                           fathom_error** error) {
    return guard(error, [&] {
        require(stream, "stream");
        require(event, "event");
        check_struct_size(FATHOM_STRUCT_EVENT, event->struct_size);
        Event next;
        if (!stream->stream->next(timeout_ns, next)) {
            return report(error, Status::kTimeout, "stream: no event came in time");
        }
        fathom_event out = {};
        out.type = static_cast<int32_t>(next.type);
        out.sequence = next.sequence;
        out.text = next.text.data();
        out.text_bytes = next.text.size();
        out.ids = next.ids.data();
        out.n_ids = next.ids.size();
        out.logprobs = reinterpret_cast<const fathom_logprob*>(next.logprobs.data());
        out.n_logprobs = next.logprobs.size();
        out.tokens_done = next.tokens_done;
        out.tokens_total = next.tokens_total;
        out.finish_reason = static_cast<int32_t>(next.finish_reason);
        out.status = static_cast<int32_t>(next.status);
        write_result(out, event);
        return FATHOM_OK;
    });
}

// Without the gate: a signal handler may run on a stack that is inside the library already.
void fathom_stream_cancel(fathom_stream* stream) {
    if (is_live(stream)) stream->stream->cancel();
}

int32_t fathom_stream_usage(const fathom_stream* stream, fathom_usage* usage,
                            fathom_error** error) {
    return guard(error, [&] {
        require(stream, "stream");
        const Usage now = stream->stream->usage();
        fathom_usage out = {};
        out.finished = now.finished ? 1 : 0;
        out.prompt_fresh = now.prompt_fresh;
        out.prompt_cached = now.prompt_cached;
        out.reasoning_tokens = now.reasoning_tokens;
        out.output_tokens = now.output_tokens;
        out.queue_ns = now.queue_ns;
        out.prefill_ns = now.prefill_ns;
        out.decode_ns = now.decode_ns;
        write_result(out, usage);
    });
}

int32_t fathom_stream_notify_handle(fathom_stream* stream, int64_t* handle, fathom_error** error) {
    return guard(error, [&] {
        require(stream, "stream");
        require(handle, "handle");
        *handle = stream->stream->notify_handle();
    });
}

void fathom_stream_release(fathom_stream* stream) {
    guard_release([&] { retire(stream); });
}
