#include "simulator.h"

#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "engine/engine_model.h"
#include "engine/sampler.h"

namespace fathom::simulation {
namespace {

uint64_t fake_now = 1;

constexpr int64_t kSteps = 90;

}  // namespace

uint64_t Random::next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545F4914F6CDD1D;
}

int64_t Random::between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
}

uint64_t fake_clock() { return fake_now += 1000; }

void advance_fake_clock(uint64_t ns) { fake_now += ns; }

Answer expected_answer(std::vector<int32_t> transcript, const GenerateOptions& options,
                       int64_t n_tokens_most, const std::vector<int32_t>& end_ids) {
    Answer answer;
    if (options.has(kGeneratePromptOnly)) return answer;
    const OutputIds ids{.vocab_rows = kVocabRows, .n_tokens = kTokens, .missing = {}};
    SamplerScratch scratch;
    Sampler sampler(options.sampling, ids);
    sampler.observe_prompt(transcript);
    Oracle oracle;
    oracle.assign(transcript);
    const auto is_in = [](const std::vector<int32_t>& list, int32_t id) {
        return std::find(list.begin(), list.end(), id) != list.end();
    };
    auto n_tokens = static_cast<int64_t>(transcript.size());
    while (n_tokens < n_tokens_most) {
        const int32_t token = sampler.sample(oracle.logits(), n_tokens, scratch);
        sampler.observe_generated(token);
        answer.tokens.push_back(token);
        oracle.push(token);
        ++n_tokens;
        if (!options.has(kGenerateIgnoreEos) && is_in(end_ids, token)) {
            answer.reason = FinishReason::kEndOfTurn;
            return answer;
        }
        if (is_in(options.stop_ids, token)) {
            answer.reason = FinishReason::kStop;
            return answer;
        }
    }
    return answer;
}

Simulator::Simulator(uint64_t seed) : random_(seed) {
    reset_fake_control();
    EngineOptions options;
    options.mode = EngineMode::kManual;
    options.backend = fake_backend();
    options.clock = fake_clock;
    options.max_batch_rows = random_.pick<int32_t>({1, 2, 3, 7, 16, 64, 512});
    options.max_sequences = random_.pick<int32_t>({1, 2, 3, 4, 64});
    const int64_t context = random_.between(30, 400);
    const int64_t n_pages = pages_of_tokens(context) + random_.pick<int64_t>({0, 0, 1, 3, 9});
    options.kv_cache_bytes = static_cast<uint64_t>(n_pages) * kPageTokens * 8;
    engine_ = Engine::create(options);
    if (random_.chance(0.5)) end_ids_ = {5};
    const int64_t n_models = random_.chance(0.2) ? 2 : 1;
    for (int64_t i = 0; i < n_models; ++i) {
        ModelOptions model_options;
        model_options.context = static_cast<uint64_t>(context);
        models_.push_back(EngineModel::create(engine_, fake_model(400, end_ids_), model_options));
    }
    actors_.resize(static_cast<size_t>(random_.between(1, 7)));
    for (Actor& actor : actors_) {
        actor.context = random_.chance(0.7) ? context : random_.between(2, context);
        actor.read_chance = random_.pick<double>({1, 1, 0.5, 0.05, 0});
        actor.session =
            Session::create(random_.pick(models_), static_cast<uint64_t>(actor.context));
    }
}

void Simulator::wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
}

std::string Simulator::run() {
    for (int64_t i = 0; i < kSteps && wrong_.empty(); ++i) {
        for (Actor& actor : actors_) act(actor);
        step();
    }
    // From here on everybody reads, so everything has to end, within the steps that computing each
    // answer alone and in turn, with every page lost again and again, would take.
    const auto n_actors = static_cast<int64_t>(actors_.size());
    const int64_t steps_most = 100 + n_actors * n_actors * 400;
    int64_t n_steps = 0;
    while (wrong_.empty() && any_running()) {
        if (++n_steps > steps_most) wrong("a stream starves");
        step();
        for (Actor& actor : actors_) {
            actor.read_chance = 1;
            read(actor);
        }
    }
    actors_.clear();
    if (wrong_.empty() && engine_->stats().kv_pages_used != 0) wrong("pages leak");
    models_.clear();
    if (wrong_.empty() && fake_control().n_executors != 0) wrong("an executor leaks");
    engine_.reset();
    if (wrong_.empty() && fake_control().n_devices != 0) wrong("a device leaks");
    return wrong_;
}

bool Simulator::any_running() const {
    return std::any_of(actors_.begin(), actors_.end(),
                       [](const Actor& actor) { return actor.stream != nullptr; });
}

void Simulator::step() {
    engine_->step(0);
    check_step();
}

void Simulator::check_step() {
    if (const char* rule = fake_control().broken_rule) wrong(rule);
    const EngineStats stats = engine_->stats();
    if (stats.kv_pages_used > stats.kv_pages) wrong("more pages than there are");
    uint64_t held = 0;
    for (Actor& actor : actors_) {
        if (actor.session == nullptr) continue;
        held += actor.session->describe().kv_bytes / (kPageTokens * 8);
        if (actor.steps_since_cancel >= 0 && actor.stream != nullptr) {
            ++actor.steps_since_cancel;
            if (!actor.stream->usage().finished) wrong("a cancelled stream outlives a step");
        }
    }
    if (held != stats.kv_pages_used) wrong("the pages of the sessions are not those of the pool");
}

void Simulator::act(Actor& actor) {
    if (actor.session == nullptr) {
        if (!random_.chance(0.1)) return;
        actor = {.context = actor.context, .read_chance = actor.read_chance};
        actor.session =
            Session::create(random_.pick(models_), static_cast<uint64_t>(actor.context));
    }
    if (actor.stream == nullptr) {
        if (random_.chance(0.05)) {
            actor.session.reset();
            return;
        }
        if (random_.chance(0.1) && !actor.transcript.empty()) {
            const auto n_keep =
                random_.between(0, static_cast<int64_t>(actor.transcript.size()));
            actor.session->truncate(static_cast<uint64_t>(n_keep));
            actor.transcript.resize(static_cast<size_t>(n_keep));
        }
        if (random_.chance(0.5)) ask(actor);
        return;
    }
    if (random_.chance(0.03)) {
        actor.stream->cancel();
        actor.was_cancelled = true;
        actor.steps_since_cancel = 0;
    }
    if (random_.chance(0.02)) {
        // Released while it runs: the transcript is whatever was reached, so start afresh.
        actor.stream.reset();
        actor.session.reset();
        return;
    }
    if (random_.chance(actor.read_chance)) read(actor);
}

GenerateOptions Simulator::random_options() {
    GenerateOptions options;
    if (random_.chance(0.3)) options.flags |= kGenerateAppend;
    if (random_.chance(0.1)) options.flags |= kGeneratePromptOnly;
    if (random_.chance(0.2)) options.flags |= kGeneratePromptLogprobs;
    if (random_.chance(0.2)) options.flags |= kGenerateIgnoreEos;
    if (random_.chance(0.7)) options.max_tokens = static_cast<uint64_t>(random_.between(1, 200));
    if (random_.chance(0.2)) options.stop_ids = {7};
    SamplingOptions& sampling = options.sampling;
    if (random_.chance(0.5)) {
        sampling.temperature = 0.8F;
        sampling.seed = random_.next();
    }
    if (random_.chance(0.2)) sampling.top_p = 0.7F;
    if (random_.chance(0.2)) sampling.frequency_penalty = 0.5F;
    if (random_.chance(0.2)) sampling.logprobs = static_cast<int32_t>(random_.between(1, 4));
    if (random_.chance(0.1)) {
        options.deadline_ns = static_cast<uint64_t>(random_.between(1000, 2'000'000));
    }
    return options;
}

void Simulator::ask(Actor& actor) {
    GenerateOptions options = random_options();
    const bool appends = options.has(kGenerateAppend);
    std::vector<int32_t> prompt;
    if (!appends) {
        // Often the conversation so far and a little more, sometimes with an edit inside.
        auto n_shared = static_cast<int64_t>(actor.transcript.size());
        if (random_.chance(0.4)) n_shared = random_.between(0, n_shared);
        prompt.assign(actor.transcript.begin(), actor.transcript.begin() + n_shared);
    }
    const int64_t n_new = random_.chance(0.5) ? random_.between(0, 5) : random_.between(0, 150);
    for (int64_t i = 0; i < n_new; ++i) {
        prompt.push_back(static_cast<int32_t>(random_.between(0, kTokens - 1)));
    }
    std::vector<int32_t> transcript = appends ? actor.transcript : std::vector<int32_t>();
    transcript.insert(transcript.end(), prompt.begin(), prompt.end());
    const auto n_prompt = static_cast<int64_t>(transcript.size());
    const int64_t least = options.has(kGeneratePromptOnly) ? 0 : 1;
    const bool fits = n_prompt + least <= actor.context;
    try {
        actor.stream = actor.session->generate(prompt, options);
    } catch (const Error& error) {
        const Status wanted = prompt.empty() ? Status::kInvalidArgument : Status::kContextFull;
        if (error.status() != wanted || (!prompt.empty() && fits)) wrong(error.message());
        return;
    }
    if (prompt.empty() || !fits) wrong("a prompt that does not fit was taken");
    int64_t n_most = actor.context;
    if (options.max_tokens != 0) {
        n_most = std::min(n_most, n_prompt + static_cast<int64_t>(options.max_tokens));
    }
    actor.expected = expected_answer(transcript, options, n_most, end_ids_);
    actor.transcript = std::move(transcript);
    actor.n_prompt = static_cast<size_t>(n_prompt);
    actor.has_deadline = options.deadline_ns != 0;
    actor.options = std::move(options);
    actor.received.clear();
    actor.prompt_logprobs.clear();
    actor.next_sequence = 0;
    actor.was_cancelled = false;
    actor.steps_since_cancel = -1;
}

void Simulator::read(Actor& actor) {
    if (actor.stream == nullptr) return;
    Event event;
    while (actor.stream != nullptr && actor.stream->next(0, event)) {
        if (event.sequence != actor.next_sequence++) wrong("an event is missing");
        actor.received.insert(actor.received.end(), event.ids.begin(), event.ids.end());
        if (event.type == EventType::kLogprobs && actor.received.empty()) {
            actor.prompt_logprobs.insert(actor.prompt_logprobs.end(), event.logprobs.begin(),
                                         event.logprobs.end());
        }
        if (event.type == EventType::kDone) on_done(actor, event);
    }
}

void Simulator::on_done(Actor& actor, const Event& event) {
    ++n_answers_;
    const std::vector<int32_t>& expected = actor.expected.tokens;
    const size_t n = actor.received.size();
    if (n > expected.size() ||
        !std::equal(actor.received.begin(), actor.received.end(), expected.begin())) {
        wrong(concat("wrong token within the first ", n, " of an answer of ", expected.size()));
    }
    const bool whole = n == expected.size() && event.finish_reason == actor.expected.reason;
    const bool cut = (actor.was_cancelled && event.finish_reason == FinishReason::kCancelled) ||
                     (actor.has_deadline && event.finish_reason == FinishReason::kDeadline);
    if (!whole && !cut) {
        wrong(concat("ended after ", n, " of ", expected.size(), " tokens with reason ",
                     static_cast<int32_t>(event.finish_reason), ", wanted ",
                     static_cast<int32_t>(actor.expected.reason)));
    }
    const Usage usage = actor.stream->usage();
    if (!usage.finished || usage.output_tokens != n) wrong("usage does not count the answer");
    if (whole && usage.prompt_fresh + usage.prompt_cached != actor.n_prompt) {
        wrong("usage does not count the prompt");
    }
    if (whole && actor.options.has(kGeneratePromptLogprobs)) {
        size_t n_scored = 0;
        for (const TokenLogprob& entry : actor.prompt_logprobs) {
            // Alternatives carry the position too; the token itself comes first.
            const auto position = static_cast<size_t>(entry.position);
            if (position != usage.prompt_cached + 1 + n_scored) continue;
            if (entry.token != actor.transcript[position]) wrong("logprob of a wrong token");
            const std::vector<float> logits =
                expected_logits(std::span(actor.transcript).first(position));
            double sum = 0;
            for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
            const double right = logits[static_cast<size_t>(entry.token)] - std::log(sum);
            if (std::abs(right - entry.logprob) > 1e-6) wrong("wrong logprob of a prompt token");
            ++n_scored;
        }
        if (n_scored + 1 != usage.prompt_fresh) wrong("not every prompt token was scored");
    }
    actor.transcript.insert(actor.transcript.end(), actor.received.begin(),
                            actor.received.end());
    actor.stream.reset();
    const SessionDescription now = actor.session->describe();
    if (now.running || now.n_tokens != actor.transcript.size()) {
        wrong("the session's transcript has a wrong length");
    }
}

}  // namespace fathom::simulation
