#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "dialect/output_parser.h"
#include "engine/generate_options.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/stream.h"

namespace fathom {

/// What a session asks of the engine.
struct RequestParts {
    std::shared_ptr<SessionState> session;
    std::shared_ptr<StreamState> stream;
    GenerateOptions options;
    std::vector<int32_t> end_ids;          // end of turn; empty where it is to be ignored
    std::unique_ptr<OutputParser> parser;  // null without a tokenizer: ids, no text
    int64_t n_cached_most = 0;  // leading tokens of the transcript that may be in the KV cache
    int64_t n_tokens_most = 0;  // length at which the answer ends
    uint64_t posted_ns = 0;
};

/// One answer while the engine works on it. Made on the caller's thread, with all memory that a
/// token needs; from then on it belongs to the engine's step.
class Request {
public:
    Request(RequestParts parts, const OutputIds& ids);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    Sequence& sequence() { return parts_.session->sequence; }
    SessionState& session() { return *parts_.session; }
    StreamState& stream() { return *parts_.stream; }
    uint64_t deadline_ns() const { return deadline_ns_; }
    bool started() const { return started_; }
    const Usage& usage() const { return usage_; }
    int32_t token_at(int64_t position) const {
        return parts_.session->tokens[static_cast<size_t>(position)];
    }

    /// Where its runtime keeps it.
    using Place = std::list<Request>::iterator;
    void set_place(Place place) { place_ = place; }
    Place place() const { return place_; }

    /// Before its sequence is submitted: says what of the transcript is to be computed.
    void prepare();

    /// After the first step with its rows was chosen.
    void start(uint64_t now_ns);

    /// What a step gave: the rows at [first_position, first_position + n_rows) were computed, and
    /// `logits` [n_logit_rows, vocab_rows] belong to the last of them. Samples, decides about the
    /// end, makes events. Throws Error where this answer cannot go on. Allocates nothing once the
    /// buffers have their size.
    struct Computed {
        int64_t first_position;
        int64_t n_rows;
        std::span<const float> logits;
        int64_t n_logit_rows;
        uint64_t now_ns;
    };
    /// Returns the reason to end, or kNone.
    FinishReason commit(const Computed& computed, SamplerScratch& scratch);

    /// Delivers what the parser still holds, then DONE. The session is free for its next request
    /// before DONE can be seen. The sequence has left the scheduler.
    struct Ending {
        FinishReason reason;
        Status status;
        std::string_view text;  // what failed
        uint64_t now_ns;
    };
    void finish(Ending ending) noexcept;

private:
    void deliver_prompt_logprobs(const Computed& computed, SamplerScratch& scratch);
    FinishReason generate(const Computed& computed, SamplerScratch& scratch);
    FinishReason accept(int32_t token);
    void deliver_pieces();
    void deliver_ids();
    void deliver_rest();
    void deliver_logprobs();

    RequestParts parts_;
    const OutputIds& ids_;
    Place place_;
    Sampler sampler_;
    int64_t n_prompt_ = 0;
    int64_t n_cached_at_start_ = 0;
    uint64_t deadline_ns_ = UINT64_MAX;
    bool started_ = false;
    uint64_t started_ns_ = 0;
    uint64_t first_token_ns_ = 0;
    Usage usage_;
    std::vector<int32_t> ids_waiting_;            // generated since the event before
    std::vector<TokenLogprob> logprobs_waiting_;  // of these
};

}  // namespace fathom
