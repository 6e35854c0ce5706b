#include "engine/session.h"

#include <algorithm>
#include <list>
#include <utility>

#include "engine/engine_core.h"
#include "engine/engine_model.h"
#include "engine/model_runtime.h"
#include "engine/request.h"
#include "engine/stream.h"

namespace fathom {

/// The session's one mutating call, which its stream counts as as long as it runs.
class Session::Exclusive {
public:
    explicit Exclusive(Session& session) : session_(session) {
        if (session_.busy_.exchange(true)) {
            fail(Status::kBusy, "session: another thread is inside a call of this session");
        }
        if (session_.state_->running.load(std::memory_order_acquire)) {
            session_.busy_.store(false);
            fail(Status::kBusy, "session: its stream is still running");
        }
    }
    ~Exclusive() { session_.busy_.store(false); }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

private:
    Session& session_;
};

std::shared_ptr<Session> Session::create(std::shared_ptr<EngineModel> model, uint64_t context) {
    const auto most = static_cast<uint64_t>(model->context());
    if (context > most) {
        fail(Status::kInvalidArgument, "session options: context: found ", context,
             ", the model was loaded for at most ", most);
    }
    model->core()->check_accepting();
    return std::shared_ptr<Session>(
        new Session(std::move(model), static_cast<int64_t>(context == 0 ? most : context)));
}

Session::Session(std::shared_ptr<EngineModel> model, int64_t context)
    : model_(std::move(model)), state_(std::make_shared<SessionState>()), context_(context) {
    state_->runtime = model_->runtime().get();
    state_->tokens.reserve(static_cast<size_t>(context));
    state_->sequence.pages.reserve(static_cast<size_t>(pages_of_tokens(context)));
    model_->core()->count_sessions(1);
}

Session::~Session() {
    model_->core()->count_sessions(-1);
    model_->core()->close(std::move(state_));
}

std::shared_ptr<Stream> Session::generate(std::span<const int32_t> prompt,
                                          const GenerateOptions& options, AnswerStart start) {
    EngineCore& core = *model_->core();
    const Exclusive exclusive(*this);
    core.check_accepting();
    check_generate_options(options, model_->output_ids().n_tokens);
    const int64_t n_tokens_most = check_prompt(prompt, options);

    RequestParts parts;
    parts.session = state_;
    parts.stream = std::make_shared<StreamState>(core.events());
    parts.options = options;
    if (!options.has(kGenerateIgnoreEos)) parts.end_ids = model_->end_ids();
    parts.parser = make_parser(options, start);
    parts.n_tokens_most = n_tokens_most;
    parts.posted_ns = core.now_ns();
    auto stream =
        std::make_shared<Stream>(shared_from_this(), model_->core(), parts.stream);
    stream_ = parts.stream;
    replace_transcript(prompt, options.has(kGenerateAppend));
    parts.n_cached_most = n_unchanged_;
    std::list<Request> request;
    request.emplace_back(std::move(parts), model_->output_ids());
    // From here on the transcript is the engine's; what it adds is unchanged when it comes back.
    state_->running.store(true, std::memory_order_relaxed);
    n_unchanged_ = context_;
    try {
        core.post(request);
    } catch (...) {
        n_unchanged_ = 0;
        state_->running.store(false, std::memory_order_relaxed);
        throw;
    }
    return stream;
}

std::unique_ptr<OutputParser> Session::make_parser(const GenerateOptions& options,
                                                   AnswerStart start) const {
    if (model_->tokenizer() == nullptr) {
        if (options.stop.empty()) return nullptr;
        fail(Status::kInvalidArgument, "generate options: stop: found ", options.stop.size(),
             " stop strings, but the model's folder has no tokenizer to make text");
    }
    return std::make_unique<OutputParser>(*model_->tokenizer(), *model_->dialect(),
                                          start.in_reasoning, options.stop);
}

/// Throws unless the prompt and its answer can be computed; returns the most tokens that the
/// transcript can reach.
int64_t Session::check_prompt(std::span<const int32_t> prompt,
                              const GenerateOptions& options) const {
    if (prompt.empty()) fail(Status::kInvalidArgument, "generate: found an empty prompt");
    const int32_t vocab_rows = model_->output_ids().vocab_rows;
    for (size_t index = 0; index < prompt.size(); ++index) {
        if (prompt[index] >= 0 && prompt[index] < vocab_rows) continue;
        fail(Status::kInvalidArgument, "generate: prompt token ", index, ": found ",
             prompt[index], ", wanted 0 to ", vocab_rows - 1);
    }
    const size_t n_kept = options.has(kGenerateAppend) ? state_->tokens.size() : 0;
    const uint64_t n_prompt = n_kept + prompt.size();
    const uint64_t n_answer_least = options.has(kGeneratePromptOnly) ? 0 : 1;
    const auto context = static_cast<uint64_t>(context_);
    if (n_prompt + n_answer_least > context) {
        fail(Status::kContextFull, "generate: the prompt has ", n_prompt, " tokens (", n_kept,
             " of them in the session), with ", n_answer_least,
             " to generate; the session's context is ", context, ", ",
             n_prompt + n_answer_least - context, " too many");
    }
    const uint64_t room = context - n_prompt;
    const bool open_ended = options.max_tokens == 0;
    uint64_t n_most = n_prompt + (open_ended ? room : std::min(room, options.max_tokens));
    if (options.has(kGeneratePromptOnly)) n_most = n_prompt;
    const uint64_t n_cache = static_cast<uint64_t>(model_->limits().n_pages) * kPageTokens;
    if (open_ended && n_prompt + n_answer_least <= n_cache) n_most = std::min(n_most, n_cache);
    if (n_most > n_cache) {
        fail(Status::kBudget, "generate: prompt and answer can need ", n_most,
             " tokens of KV cache, the model's whole KV cache has ", n_cache);
    }
    return static_cast<int64_t>(n_most);
}

/// Nothing here throws: the transcript has capacity for the whole context.
void Session::replace_transcript(std::span<const int32_t> prompt, bool append) {
    std::vector<int32_t>& tokens = state_->tokens;
    n_unchanged_ = std::min(n_unchanged_, static_cast<int64_t>(tokens.size()));
    if (!append) {
        const auto difference =
            std::mismatch(tokens.begin(), tokens.end(), prompt.begin(), prompt.end());
        n_unchanged_ = std::min(n_unchanged_,
                                static_cast<int64_t>(difference.first - tokens.begin()));
        tokens.erase(difference.first, tokens.end());
        prompt = prompt.subspan(tokens.size());
    }
    tokens.insert(tokens.end(), prompt.begin(), prompt.end());
    state_->n_tokens.store(static_cast<int64_t>(tokens.size()), std::memory_order_relaxed);
}

void Session::cancel() noexcept {
    const std::shared_ptr<StreamState> stream = stream_.lock();
    if (stream == nullptr) return;
    stream->cancelled.store(true);
    model_->core()->settle_if_idle();
}

void Session::truncate(uint64_t n_tokens) {
    const Exclusive exclusive(*this);
    std::vector<int32_t>& tokens = state_->tokens;
    if (n_tokens > tokens.size()) {
        fail(Status::kInvalidArgument, "truncate: found ", n_tokens, " tokens, the session has ",
             tokens.size());
    }
    tokens.resize(static_cast<size_t>(n_tokens));
    // The next request compares itself with what is left, so nothing else need be remembered.
    state_->n_tokens.store(static_cast<int64_t>(n_tokens), std::memory_order_relaxed);
}

SessionDescription Session::describe() const {
    const auto n_pages =
        static_cast<uint64_t>(state_->sequence.n_pages.load(std::memory_order_relaxed));
    return {.running = state_->running.load(std::memory_order_acquire),
            .n_tokens = static_cast<uint64_t>(state_->n_tokens.load(std::memory_order_relaxed)),
            .context = static_cast<uint64_t>(context_),
            .kv_bytes = n_pages * model_->kv_page_bytes()};
}

}  // namespace fathom
