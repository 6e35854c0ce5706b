#include "cli/answer.h"

#include <atomic>
#include <csignal>

namespace fathom::cli {
namespace {

std::atomic<fathom_stream*> running{nullptr};

void on_interrupt(int) { fathom_stream_cancel(running.load()); }

/// Clears the interrupt's target before the stream is released.
struct RunningStream {
    explicit RunningStream(fathom_stream* stream) { running.store(stream); }
    ~RunningStream() { running.store(nullptr); }
    RunningStream(const RunningStream&) = delete;
    RunningStream& operator=(const RunningStream&) = delete;
};

void take(const fathom_event& event, Answer& answer, const PieceFunction& piece) {
    answer.ids.insert(answer.ids.end(), event.ids, event.ids + event.n_ids);
    answer.logprobs.insert(answer.logprobs.end(), event.logprobs,
                           event.logprobs + event.n_logprobs);
    const std::string_view text(event.text, event.text_bytes);
    switch (event.type) {
        case FATHOM_EVENT_REASONING:
            answer.reasoning += text;
            if (piece) piece(event.type, text);
            break;
        case FATHOM_EVENT_TEXT:
            answer.text += text;
            if (piece) piece(event.type, text);
            break;
        case FATHOM_EVENT_DONE:
            answer.finish_reason = event.finish_reason;
            if (event.status != FATHOM_OK) throw Failure(std::string(text));
            break;
        default: break;
    }
}

}  // namespace

Answer generate(fathom_session* session, const fathom_prompt* prompt,
                const fathom_generate_options& options, const PieceFunction& piece) {
    Outcome outcome;
    fathom_stream* new_stream = nullptr;
    outcome = fathom_session_generate(session, prompt, &options, &new_stream, outcome);
    const Stream stream(new_stream);
    const RunningStream interrupt_target(new_stream);
    Answer answer;
    fathom_event event = {};
    do {
        event.struct_size = sizeof event;
        outcome = fathom_stream_next(stream.get(), UINT64_MAX, &event, outcome);
        take(event, answer, piece);
    } while (event.type != FATHOM_EVENT_DONE);
    answer.usage.struct_size = sizeof answer.usage;
    outcome = fathom_stream_usage(stream.get(), &answer.usage, outcome);
    return answer;
}

InterruptScope::InterruptScope() { std::signal(SIGINT, on_interrupt); }
InterruptScope::~InterruptScope() { std::signal(SIGINT, SIG_DFL); }

const char* finish_name(int32_t finish_reason) {
    switch (finish_reason) {
        case FATHOM_FINISH_END_OF_TURN: return "end_of_turn";
        case FATHOM_FINISH_LENGTH: return "length";
        case FATHOM_FINISH_STOP: return "stop";
        case FATHOM_FINISH_CANCELLED: return "cancelled";
        case FATHOM_FINISH_DEADLINE: return "deadline";
        case FATHOM_FINISH_ERROR: return "error";
        default: return "unknown";
    }
}

}  // namespace fathom::cli
