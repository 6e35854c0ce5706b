#include "engine/request.h"

#include <algorithm>
#include <new>

#include "base/checked.h"

namespace fathom {
namespace {

bool contains(const std::vector<int32_t>& ids, int32_t id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

Request::Request(RequestParts parts, const OutputIds& ids)
    : parts_(std::move(parts)), ids_(ids), sampler_(parts_.options.sampling, ids) {
    const std::vector<int32_t>& tokens = parts_.session->tokens;
    n_prompt_ = static_cast<int64_t>(tokens.size());
    sampler_.observe_prompt(tokens);
    if (parts_.options.deadline_ns != 0) {
        deadline_ns_ =
            checked_add(parts_.posted_ns, parts_.options.deadline_ns).value_or(UINT64_MAX);
    }
    ids_waiting_.reserve(64);
    if (parts_.options.sampling.logprobs > 0) logprobs_waiting_.reserve(4 * kMaxLogprobs);
}

Request::~Request() = default;

void Request::prepare() {
    Sequence& place = sequence();
    const bool scores_prompt = parts_.options.has(kGeneratePromptLogprobs);
    place.n_tokens = n_prompt_;
    place.n_cached = std::min({place.n_cached, parts_.n_cached_most, n_prompt_ - 1});
    place.logits_from = scores_prompt ? -1 : 0;
    place.logits_to = scores_prompt ? n_prompt_ - 1 : 0;
    place.wants_last = scores_prompt || !parts_.options.has(kGeneratePromptOnly);
    place.paused = false;
    place.owner = this;
}

void Request::start(uint64_t now_ns) {
    started_ = true;
    started_ns_ = now_ns;
    n_cached_at_start_ = sequence().n_cached;
    usage_.prompt_cached = static_cast<uint64_t>(n_cached_at_start_);
}

FinishReason Request::commit(const Computed& computed, SamplerScratch& scratch) {
    const int64_t end = computed.first_position + computed.n_rows;
    const int64_t fresh = std::min(end, n_prompt_) - n_cached_at_start_;
    if (fresh > static_cast<int64_t>(usage_.prompt_fresh)) {
        usage_.prompt_fresh = static_cast<uint64_t>(fresh);
        parts_.stream->queue.push_progress(
            usage_.prompt_fresh, static_cast<uint64_t>(n_prompt_ - n_cached_at_start_));
    }
    deliver_prompt_logprobs(computed, scratch);
    FinishReason reason = FinishReason::kNone;
    if (end == sequence().n_tokens) {
        reason = parts_.options.has(kGeneratePromptOnly) ? FinishReason::kLength
                                                         : generate(computed, scratch);
    }
    usage_.queue_ns = started_ns_ - parts_.posted_ns;
    parts_.stream->queue.set_usage(usage_);
    return reason;
}

void Request::deliver_prompt_logprobs(const Computed& computed, SamplerScratch& scratch) {
    Sequence& place = sequence();
    const int64_t end = computed.first_position + computed.n_rows;
    const int64_t to = std::min(end, place.logits_to);
    const int64_t from = std::max(computed.first_position, place.logits_from);
    if (from >= to) return;
    const auto vocab_rows = static_cast<size_t>(ids_.vocab_rows);
    for (int64_t row = from; row < to; ++row) {
        const auto logit_row = static_cast<size_t>(row - (end - computed.n_logit_rows));
        const TokenLogprob token{
            .token = parts_.session->tokens[static_cast<size_t>(row + 1)],
            .position = static_cast<int32_t>(row + 1),
            .logprob = 0,
            .n_above = std::max(0, parts_.options.sampling.logprobs - 1)};
        append_logprobs(computed.logits.subspan(logit_row * vocab_rows, vocab_rows), ids_, token,
                        scratch, logprobs_waiting_);
    }
    place.logits_from = to;
    deliver_logprobs();
}

FinishReason Request::generate(const Computed& computed, SamplerScratch& scratch) {
    const std::span<const float> logits =
        computed.logits.last(static_cast<size_t>(ids_.vocab_rows));
    const int64_t position = sequence().n_tokens;
    const int32_t token = sampler_.sample(logits, position, scratch);
    if (parts_.options.sampling.logprobs > 0) {
        append_logprobs(logits, ids_,
                        {.token = token,
                         .position = static_cast<int32_t>(position),
                         .logprob = 0,
                         .n_above = parts_.options.sampling.logprobs - 1},
                        scratch, logprobs_waiting_);
    }
    if (first_token_ns_ == 0) {
        first_token_ns_ = computed.now_ns;
        usage_.prefill_ns = computed.now_ns - started_ns_;
    }
    usage_.decode_ns = computed.now_ns - first_token_ns_;
    return accept(token);
}

FinishReason Request::accept(int32_t token) {
    parts_.session->tokens.push_back(token);
    const int64_t n_tokens = ++sequence().n_tokens;
    parts_.session->n_tokens.store(n_tokens, std::memory_order_relaxed);
    sampler_.observe_generated(token);
    ids_waiting_.push_back(token);
    OutputParser* const parser = parts_.parser.get();
    ++(parser != nullptr && parser->in_reasoning() ? usage_.reasoning_tokens
                                                   : usage_.output_tokens);
    if (contains(parts_.end_ids, token)) return FinishReason::kEndOfTurn;
    if (contains(parts_.options.stop_ids, token)) return FinishReason::kStop;
    if (parser == nullptr) {
        deliver_ids();
    } else {
        parser->push(token);
        deliver_pieces();
        if (parser->stopped()) return FinishReason::kStop;
    }
    return n_tokens >= parts_.n_tokens_most ? FinishReason::kLength : FinishReason::kNone;
}

/// What the parser is certain of. Ids whose text it still holds back go with a later event.
void Request::deliver_pieces() {
    for (const OutputParser::Piece& piece : parts_.parser->pieces()) {
        const bool is_reasoning = piece.kind == OutputParser::Kind::kReasoning;
        parts_.stream->queue.push_text(is_reasoning ? EventType::kReasoning : EventType::kText,
                                       piece.text, ids_waiting_);
        ids_waiting_.clear();
    }
    if (ids_waiting_.empty()) deliver_logprobs();
}

/// An event without text: there is no tokenizer, or the answer is over and its last tokens have
/// no text, but log-probabilities that are to follow the ids that they belong to.
void Request::deliver_ids() {
    const bool is_reasoning = parts_.parser != nullptr && parts_.parser->in_reasoning();
    parts_.stream->queue.push_text(is_reasoning ? EventType::kReasoning : EventType::kText, {},
                                   ids_waiting_);
    ids_waiting_.clear();
    deliver_logprobs();
}

void Request::deliver_logprobs() {
    if (logprobs_waiting_.empty()) return;
    parts_.stream->queue.push_logprobs(logprobs_waiting_);
    logprobs_waiting_.clear();
}

void Request::deliver_rest() {
    if (parts_.parser != nullptr) {
        parts_.parser->finish();
        deliver_pieces();
    }
    if (!logprobs_waiting_.empty()) deliver_ids();
}

void Request::finish(Ending ending) noexcept {
    try {
        if (ending.reason != FinishReason::kError) deliver_rest();
    } catch (const std::bad_alloc&) {
        ending.reason = FinishReason::kError;
        ending.status = Status::kNoMemory;
        ending.text = "the system refused memory";
    } catch (...) {
        // A cancelled or late answer whose reader left no room: what was held back is not missed.
    }
    if (!started_) usage_.queue_ns = ending.now_ns - parts_.posted_ns;
    if (started_ && first_token_ns_ == 0) usage_.prefill_ns = ending.now_ns - started_ns_;
    Event done;
    done.finish_reason = ending.reason;
    done.status = ending.status;
    done.text = ending.text;
    done.ids = ids_waiting_;
    parts_.session->running.store(false, std::memory_order_release);
    parts_.stream->queue.push_done(done, usage_);
}

}  // namespace fathom
