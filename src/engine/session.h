#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/generate_options.h"
#include "engine/scheduler.h"

namespace fathom {

class EngineModel;
class ModelRuntime;
class OutputParser;
class Stream;
struct StreamState;

/// What a session and the engine share. While `running` is set the engine's step alone touches
/// `tokens`; otherwise the session's caller does. `sequence` belongs to the step at all times.
struct SessionState {
    std::vector<int32_t> tokens;  // the transcript; capacity for the whole context
    Sequence sequence;
    ModelRuntime* runtime = nullptr;  // kept alive by the session's model
    std::atomic<bool> running{false};
    std::atomic<int64_t> n_tokens{0};  // tokens.size() for those who may not look
    // Set once, by the session's destructor, which hands the last reference to the engine.
    std::shared_ptr<SessionState> next_closed;
};

struct SessionDescription {
    bool running = false;
    uint64_t n_tokens = 0;
    uint64_t context = 0;
    uint64_t kv_bytes = 0;
};

/// How the answer to a prompt begins.
struct AnswerStart {
    bool in_reasoning = false;  // the prompt's last tokens opened the reasoning
};

/// One conversation's place in the KV cache. One mutating call at a time, else Error(kBusy).
class Session : public std::enable_shared_from_this<Session> {
public:
    /// `context`: most tokens; 0 means the model's.
    static std::shared_ptr<Session> create(std::shared_ptr<EngineModel> model, uint64_t context);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// fathom_session_generate(): checks everything, makes the prompt the transcript (or appends
    /// it), posts the request and returns its stream.
    std::shared_ptr<Stream> generate(std::span<const int32_t> prompt,
                                     const GenerateOptions& options, AnswerStart start = {});

    /// Cancels the stream that runs, if one does: the host gives its handle back.
    void cancel() noexcept;

    void truncate(uint64_t n_tokens);
    SessionDescription describe() const;

private:
    class Exclusive;

    Session(std::shared_ptr<EngineModel> model, int64_t context);
    std::unique_ptr<OutputParser> make_parser(const GenerateOptions& options,
                                              AnswerStart start) const;
    int64_t check_prompt(std::span<const int32_t> prompt, const GenerateOptions& options) const;
    void replace_transcript(std::span<const int32_t> prompt, bool append);

    std::shared_ptr<EngineModel> model_;
    std::shared_ptr<SessionState> state_;
    int64_t context_ = 0;
    int64_t n_unchanged_ = 0;  // leading tokens that were not edited since the last request ended
    std::weak_ptr<StreamState> stream_;  // of the last request
    std::atomic<bool> busy_{false};
};

}  // namespace fathom
