#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pretokenizer.h"
#include "tokenizer/work_clock.h"

namespace fathom {

/// A pattern of a tokenizer.json for which there is no hand-written scanner. The reference compiles
/// these with Oniguruma (Ruby syntax, Unicode 16.0); what that reads differently from PCRE2 is
/// translated, and refused where it cannot be. No just-in-time compilation: a guest makes no
/// executable pages. Immutable; any thread.
class Regex {
public:
    /// A compiled pattern; void, so that the library's header stays in one file.
    struct FreeProgram {
        void operator()(void* code) const;
    };
    using Program = std::unique_ptr<void, FreeProgram>;

    /// Throws Error(kUnsupported) that names the pattern and the offset in it.
    explicit Regex(std::string_view pattern);

    /// Appends all matches in well-formed `text`, left to right, with `base` added to the offsets.
    /// Bounded work: Error(kInvalidArgument) names the pattern and the offset of a match that
    /// needs too many steps or too much memory, or during which the time of `clock` ran out.
    void find_all(std::string_view text, uint32_t base, WorkClock& clock,
                  std::vector<Piece>& out) const;

private:
    class Search;

    [[noreturn]] void fail_match(int32_t code, size_t offset, const WorkClock& clock) const;

    std::string pattern_;  // as given, for messages
    Program quick_;        // stops to be watched at every position where a match may begin
    Program watched_;      // stops in front of every item of the pattern
};

/// The PCRE2 spelling of an Oniguruma pattern. Separate from Regex for tests.
std::string translate_pattern(std::string_view pattern);

}  // namespace fathom
