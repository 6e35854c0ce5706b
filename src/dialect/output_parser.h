#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/dialect.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace fathom {

/// Finds one string in text that arrives in parts (Knuth, Morris and Pratt).
class StreamMatcher {
public:
    explicit StreamMatcher(std::string_view wanted);

    /// True when `byte` completes the string.
    bool push(char byte);
    /// How many of the last bytes may be the string's beginning; its size after completion.
    size_t matched() const { return matched_; }
    void reset() { matched_ = 0; }
    size_t size() const { return wanted_.size(); }

private:
    std::string wanted_;
    std::vector<uint32_t> fallback_;  // [size] longest proper border of the first i + 1 bytes
    size_t matched_ = 0;
};

/// Turns the ids of an answer into typed pieces of whole UTF-8. Holds back what may still turn out
/// to be the beginning of </think> or of a stop string. One thread; no allocation for each token
/// once the buffers have grown to an answer's usual size.
class OutputParser {
public:
    enum class Kind : uint8_t { kReasoning, kText };
    struct Piece {
        Kind kind;
        std::string_view text;  // valid until the next push() or finish()
    };

    static constexpr uint64_t kStopStringsMax = 64;
    static constexpr uint64_t kStopBytesMax = 4096;

    /// `tokenizer` outlives the parser. `in_reasoning` is what Dialect::render() returned. Stop
    /// strings apply to the answer, not to the reasoning before it. Throws Error(kInvalidArgument)
    /// for stop strings that are empty, too many, too long or no UTF-8.
    OutputParser(const Tokenizer& tokenizer, const Dialect& dialect, bool in_reasoning,
                 std::span<const std::string> stop_strings = {});

    /// One generated id, in range; the id that ended the turn need not be pushed. Nothing happens
    /// any more once a stop string was found.
    void push(int32_t id);

    /// The answer ends here: what was held back is delivered, an incomplete character as U+FFFD.
    void finish();

    /// What the last push() or finish() made certain, in order: at most one piece of each kind.
    std::span<const Piece> pieces() const { return pieces_; }

    /// A stop string was found. The text before it has been delivered, itself never.
    bool stopped() const { return stopped_; }
    /// Whether what comes next is reasoning, as far as is known.
    bool in_reasoning() const { return phase_ == Phase::kReasoning; }

private:
    enum class Phase : uint8_t {
        kStart,      // <think> may follow
        kReasoning,  // until </think>
        kText,
    };

    void scan();
    bool scan_start();
    void scan_reasoning();
    void scan_text();
    void deliver(Kind kind, size_t end);
    void skip_newlines();
    bool is_silent(int32_t id) const;

    const Tokenizer& tokenizer_;
    std::vector<int32_t> silent_;  // control tokens that are never text
    Phase phase_ = Phase::kText;
    bool newlines_;
    bool stopped_ = false;
    bool finished_ = false;
    uint8_t newlines_to_skip_ = 0;
    bool may_open_ = false;  // one <think> at the beginning is dropped
    StreamMatcher reasoning_end_;
    std::vector<StreamMatcher> stops_;
    Utf8Assembler assembler_;
    std::string buffer_;
    size_t delivered_ = 0;  // bytes of buffer_ that are done with
    size_t scanned_ = 0;    // bytes of buffer_ that the matchers have seen
    std::vector<Piece> pieces_;
};

}  // namespace fathom
