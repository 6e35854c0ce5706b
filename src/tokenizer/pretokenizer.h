#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/work_clock.h"

namespace fathom {

class Regex;

/// A stretch of text that byte-pair encoding may not merge across: bytes [begin, end).
struct Piece {
    uint32_t begin;
    uint32_t end;
    bool operator==(const Piece&) const = default;
};

/// One element of "pre_tokenizer" in tokenizer.json.
struct PretokenizerStep {
    enum class Kind { kRegex, kLiteral, kDigits, kByteLevel };
    /// What becomes of the delimiter that a pattern found.
    enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

    Kind kind = Kind::kByteLevel;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;             // the pattern describes the content, not the delimiter
    bool individual_digits = false;  // kDigits
    bool add_prefix_space = false;   // kByteLevel
    bool use_regex = false;          // kByteLevel: GPT-2's pattern
    std::string pattern;
};

/// A hand-written equivalent of a whole chain of steps.
class Scanner {
public:
    virtual ~Scanner() = default;
    /// Appends the pieces of well-formed UTF-8, in order.
    virtual void scan(std::string_view text, std::vector<Piece>& out) const = 0;
};

/// Text with its pieces. `text` is the caller's, or `storage` where a step put spaces into it. The
/// clock runs from the beginning, through all texts that are cut with it.
struct PretokenizedText {
    std::string_view text;
    std::string storage;
    std::vector<Piece> pieces;
    WorkClock clock;
};

/// Cuts text into pieces. Immutable; any thread.
class Pretokenizer {
public:
    /// Throws Error(kUnsupported) for a pattern outside the supported syntax.
    explicit Pretokenizer(std::vector<PretokenizerStep> steps);
    ~Pretokenizer();

    /// `text` must be well-formed UTF-8 of less than 4 GiB. Throws Error(kInvalidArgument) where a
    /// pattern exceeds its limits or the time of `out` runs out.
    void run(std::string_view text, PretokenizedText& out) const;

    /// Whether a hand-written scanner serves this chain.
    bool has_scanner() const { return scanner_ != nullptr; }

private:
    void run_step(size_t step, PretokenizedText& out) const;

    std::vector<PretokenizerStep> steps_;
    std::unique_ptr<const Scanner> scanner_;
    std::vector<std::unique_ptr<const Regex>> regexes_;  // parallel to steps_, null if none
};

}  // namespace fathom
