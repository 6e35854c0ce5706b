#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pretokenizer.h"

namespace fathom {

/// A pattern of a tokenizer.json for which there is no hand-written scanner. The reference compiles
/// these with Oniguruma (Ruby syntax, Unicode 16.0); what that reads differently from PCRE2 is
/// translated, and refused where it cannot be. No just-in-time compilation: a guest makes no
/// executable pages. Immutable; any thread.
class Regex {
public:
    /// Throws Error(kUnsupported) that names the pattern and the offset in it.
    explicit Regex(std::string_view pattern);
    ~Regex();
    Regex(const Regex&) = delete;
    Regex& operator=(const Regex&) = delete;

    /// Appends all matches in well-formed `text`, left to right, with `base` added to the offsets.
    /// Bounded work: Error(kInvalidArgument) names the pattern and the offset of a match that
    /// needs too many steps, too much memory or too long a search.
    void find_all(std::string_view text, uint32_t base, std::vector<Piece>& out) const;

private:
    [[noreturn]] void fail_match(int32_t code, size_t offset) const;

    std::string pattern_;  // as given, for messages
    void* code_ = nullptr;
};

/// The PCRE2 spelling of an Oniguruma pattern. Separate from Regex for tests.
std::string translate_pattern(std::string_view pattern);

}  // namespace fathom
