#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fake_backend.h"

namespace fathom::simulation {

/// Random numbers that are the same with every standard library.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15 + 1) {}
    uint64_t next();
    int64_t between(int64_t low, int64_t high);
    bool chance(double probability) {
        return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
    }
    template <typename T>
    const T& pick(const std::vector<T>& values) {
        return values[static_cast<size_t>(between(0, static_cast<int64_t>(values.size()) - 1))];
    }

private:
    uint64_t state_;
};

/// A clock that advances a microsecond with every look.
uint64_t fake_clock();
void advance_fake_clock(uint64_t ns);

/// What an answer has to be: tokens, and why it ends if nothing interferes.
struct Answer {
    std::vector<int32_t> tokens;
    FinishReason reason = FinishReason::kLength;
};
Answer expected_answer(std::vector<int32_t> transcript, const GenerateOptions& options,
                       int64_t n_tokens_most, const std::vector<int32_t>& end_ids);

/// One host thread's view of one session: what it asked, what it read, what must be true.
struct Actor {
    std::shared_ptr<Session> session;
    std::shared_ptr<Stream> stream;
    std::vector<int32_t> transcript;  // what the session has to hold
    int64_t context = 0;
    double read_chance = 1;
    GenerateOptions options;
    size_t n_prompt = 0;
    Answer expected;
    std::vector<int32_t> received;
    std::vector<TokenLogprob> prompt_logprobs;
    uint64_t next_sequence = 0;
    bool was_cancelled = false;
    bool has_deadline = false;
    int64_t steps_since_cancel = -1;
};

/// Many sessions in one engine under a random schedule. Everything comes from the seed.
class Simulator {
public:
    explicit Simulator(uint64_t seed);

    /// Runs the schedule; returns what went wrong, "" if nothing did.
    std::string run();

    int32_t largest_batch() const { return fake_control().largest_batch; }
    uint64_t n_answers() const { return n_answers_; }
    uint64_t n_recomputed() const { return n_recomputed_; }

private:
    void act(Actor& actor);
    void ask(Actor& actor);
    void read(Actor& actor);
    void on_done(Actor& actor, const Event& event);
    void check_step();
    void step();
    bool any_running() const;
    void wrong(const std::string& what);
    GenerateOptions random_options();

    Random random_;
    std::shared_ptr<Engine> engine_;
    std::vector<std::shared_ptr<EngineModel>> models_;
    std::vector<int32_t> end_ids_;
    std::vector<Actor> actors_;
    std::string wrong_;
    uint64_t n_answers_ = 0;
    uint64_t n_recomputed_ = 0;
    uint64_t n_fresh_ = 0;
};

}  // namespace fathom::simulation
