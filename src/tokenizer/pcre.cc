#include "tokenizer/pcre.h"

#include <algorithm>
#include <memory>

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include "base/status.h"
#include "base/text.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace fathom {
namespace {

constexpr size_t kPatternBytesMax = 1 << 16;
// One attempt at one position: the longest white space run that a backtracking `\s+$` may meet.
constexpr uint32_t kMatchSteps = 1 << 25;
constexpr uint32_t kMatchDepth = 1 << 25;
constexpr uint32_t kMatchHeapKib = 64 << 10;
// What a quick attempt may take: the patterns in use need some ten steps at a position.
constexpr uint32_t kQuickSteps = 128;
constexpr uint32_t kQuickStepsMin = 16;
// What an attempt costs beside the bytes that it looks at.
constexpr uint64_t kAttemptUnits = 64;

struct FreeCompileContext {
    void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatchData {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

/// Reads an Oniguruma pattern and writes the PCRE2 pattern of the same meaning.
class Translator {
public:
    explicit Translator(std::string_view pattern) : pattern_(pattern) {}

    std::string run() {
        while (at_ < pattern_.size()) {
            const char c = pattern_[at_];
            if (c == '\\') {
                escape();
            } else if (in_class_) {
                class_character(c);
            } else {
                plain_character(c);
            }
        }
        if (in_class_) refuse("a closing ]");
        return std::move(out_);
    }

private:
    [[noreturn]] void refuse(std::string_view wanted) const {
        fail(Status::kUnsupported, "tokenizer pattern '", printable(pattern_), "': offset ", at_,
             ": wanted ", wanted);
    }

    void plain_character(char c) {
        // Ruby's option m is PCRE2's s, and a verb would lift the limits.
        if (c == '(' && pattern_.substr(at_).starts_with("(?m")) refuse("no option m");
        if (c == '(' && pattern_.substr(at_).starts_with("(*")) refuse("no verb (*");
        if (c == '[') {
            in_class_ = true;
            out_.push_back(c);
            ++at_;
            if (at_ < pattern_.size() && pattern_[at_] == '^') {
                out_.push_back('^');
                ++at_;
            }
            if (at_ < pattern_.size() && pattern_[at_] == ']')
                refuse("\\] at the start of a class");
            return;
        }
        out_.push_back(c);
        ++at_;
    }

    void class_character(char c) {
        // Oniguruma nests and intersects classes; PCRE2 would take these characters literally.
        if (c == '[') refuse("no [ inside a class");
        if (c == '&' && pattern_.substr(at_).starts_with("&&")) refuse("no && inside a class");
        if (c == ']') in_class_ = false;
        out_.push_back(c);
        ++at_;
    }

    void escape() {
        if (at_ + 1 == pattern_.size()) refuse("a character after \\");
        const char kind = pattern_[at_ + 1];
        switch (kind) {
            case 's':
            case 'd':
            case 'w': return shorthand(kind, false);
            case 'S':
            case 'D':
            case 'W': return shorthand(static_cast<char>(kind | 0x20), true);
            case 'p': return property();
            case 'u': return code_unit();
            case 'n':
            case 'r':
            case 't':
            case 'f':
            case 'b':
            case 'B':
            case 'x': break;
            default:
                if ((kind >= '0' && kind <= '9') || (kind >= 'A' && kind <= 'Z') ||
                    (kind >= 'a' && kind <= 'z')) {
                    refuse("an escape of s, S, p, u, d, D, w, W, n, r, t, f, b, B, x");
                }
        }
        out_.append(pattern_.substr(at_, 2));
        at_ += 2;
    }

    /// Spelled out, because PCRE2 counts U+180E as white space and no mark as a word character.
    void shorthand(char kind, bool negated) {
        if (negated && in_class_) refuse("no negated shorthand inside a class");
        std::string members = "\\p{Z}\\x{9}-\\x{D}\\x{85}";
        if (kind == 'd') members = "\\p{Nd}" + younger_ranges("Nd");
        if (kind == 'w') {
            members = "\\p{L}\\p{M}\\p{N}\\p{Pc}";
            for (const char* name : {"L", "M", "N"}) members += younger_ranges(name);
        }
        append(out_, in_class_ ? members : concat(negated ? "[^" : "[", members, "]"));
        at_ += 2;
    }

    /// `\p{L}` also covers the characters that are younger than PCRE2's tables.
    void property() {
        const size_t close = pattern_.find('}', at_);
        if (pattern_.substr(at_, 3) != "\\p{" || close == std::string_view::npos) {
            refuse("\\p{name}");
        }
        const std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
        at_ = close + 1;
        if (name.starts_with('^')) {
            // A complement cannot be completed by adding ranges; it stays as PCRE2 knows it.
            return append(out_, concat("\\p{", name, "}"));
        }
        if (name.size() > 2) {
            // Oniguruma's \p{Han} is the script itself, PCRE2's its extensions too.
            return append(out_, concat("\\p{sc:", name, "}"));
        }
        const std::string both = concat("\\p{", name, "}", younger_ranges(name));
        append(out_, in_class_ ? both : concat("[", both, "]"));
    }

    void code_unit() {
        const std::string_view digits = pattern_.substr(at_ + 2, 4);
        const bool hex = digits.find_first_not_of("0123456789abcdefABCDEF") == digits.npos;
        if (digits.size() != 4 || !hex) refuse("four hexadecimal digits after \\u");
        append(out_, concat("\\x{", digits, "}"));
        at_ += 6;
    }

    std::string_view pattern_;
    std::string out_;
    size_t at_ = 0;
    bool in_class_ = false;
};

}  // namespace

std::string translate_pattern(std::string_view pattern) { return Translator(pattern).run(); }

namespace {

Regex::Program compile(std::string_view pattern, const std::string& translated, uint32_t options) {
    int code = 0;
    size_t offset = 0;
    const std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
        pcre2_compile_context_create(nullptr));
    if (context == nullptr) fail(Status::kNoMemory, "tokenizer pattern: out of memory");
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    // Ruby's ^ and $ match at every line, hence MULTILINE.
    Regex::Program program(pcre2_compile(
        reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | options, &code,
        &offset, context.get()));
    if (program == nullptr) {
        unsigned char message[160] = {};
        pcre2_get_error_message(code, message, sizeof message);
        fail(Status::kUnsupported, "tokenizer pattern '", printable(pattern), "': offset ", offset,
             " of its translation: ", reinterpret_cast<const char*>(message));
    }
    return program;
}

}  // namespace

void Regex::FreeProgram::operator()(void* code) const {
    pcre2_code_free(static_cast<pcre2_code*>(code));
}

Regex::Regex(std::string_view pattern) : pattern_(pattern) {
    if (pattern.size() > kPatternBytesMax) {
        fail(Status::kUnsupported, "tokenizer pattern: found ", pattern.size(),
             " bytes, wanted at most ", kPatternBytesMax);
    }
    const std::string translated = translate_pattern(pattern);
    watched_ = compile(pattern, translated, PCRE2_AUTO_CALLOUT);
    // The first alternative is tried first at every position, so the stop needs no group around.
    quick_ = compile(pattern, concat("(?C)", translated), 0);
}

void Regex::fail_match(int32_t code, size_t offset, const WorkClock& clock) const {
    if (code == PCRE2_ERROR_NOMEMORY) {
        fail(Status::kNoMemory, "tokenizer pattern '", printable(pattern_), "': out of memory");
    }
    std::string_view reason = "found an error";
    switch (code) {
        case PCRE2_ERROR_CALLOUT: reason = "found a search of more time than allowed"; break;
        case PCRE2_ERROR_MATCHLIMIT: reason = "found more steps than the limit of 2^25"; break;
        case PCRE2_ERROR_DEPTHLIMIT: reason = "found deeper nesting than the limit of 2^25"; break;
        case PCRE2_ERROR_HEAPLIMIT: reason = "found more memory than the limit of 64 MiB"; break;
    }
    fail(Status::kInvalidArgument, "tokenizer pattern '", printable(pattern_), "': text offset ",
         offset, ": ", reason, " (code ", code, ", time allowed ", clock.limit().count(), " ms)");
}

/// Looks for one match after another in one text. PCRE2 counts steps, and per position only; a step
/// may look at all bytes that are left. So a match is first tried with so few steps a position that
/// a position is quickly done with, whatever its steps cost; the clock is asked at each. Where that
/// is not enough, a program that asks it in front of every item of the pattern takes over.
class Regex::Search {
public:
    Search(const Regex& regex, std::string_view text, WorkClock& clock)
        : regex_(regex),
          text_(text),
          clock_(clock),
          data_(pcre2_match_data_create(1, nullptr)),
          context_(pcre2_match_context_create(nullptr)) {
        if (data_ == nullptr || context_ == nullptr) {
            regex.fail_match(PCRE2_ERROR_NOMEMORY, 0, clock);
        }
        pcre2_set_depth_limit(context_.get(), kMatchDepth);
        pcre2_set_heap_limit(context_.get(), kMatchHeapKib);
        pcre2_set_callout(context_.get(), &Search::stop, this);
        attempt_ = text.size() + kAttemptUnits;
        quick_steps_ = static_cast<uint32_t>(
            std::min<uint64_t>(kQuickSteps, WorkClock::kUnitsPerLook / attempt_));
    }

    /// The first match from `at` on, as PCRE2's result and the two offsets of range().
    int next(size_t at) {
        // Finding where a match may begin looks at every byte once.
        if (!clock_.spend(kAttemptUnits)) return PCRE2_ERROR_CALLOUT;
        if (quick_steps_ >= kQuickStepsMin) {
            const int found = match(regex_.quick_, at, quick_steps_, attempt_ * quick_steps_);
            if (found >= 0 || found == PCRE2_ERROR_NOMATCH || found == PCRE2_ERROR_CALLOUT) {
                return found;
            }
        }
        return match(regex_.watched_, at, kMatchSteps, attempt_);
    }

    const size_t* range() const { return pcre2_get_ovector_pointer(data_.get()); }

private:
    int match(const Program& program, size_t at, uint32_t steps, uint64_t units) {
        units_per_stop_ = units;
        pcre2_set_match_limit(context_.get(), steps);
        return pcre2_match(static_cast<const pcre2_code*>(program.get()),
                           reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), at,
                           PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
    }

    static int stop(pcre2_callout_block*, void* search) {
        Search& self = *static_cast<Search*>(search);
        return self.clock_.spend(self.units_per_stop_) ? 0 : PCRE2_ERROR_CALLOUT;
    }

    const Regex& regex_;
    std::string_view text_;
    WorkClock& clock_;
    std::unique_ptr<pcre2_match_data, FreeMatchData> data_;
    std::unique_ptr<pcre2_match_context, FreeMatchContext> context_;
    uint64_t attempt_ = 0;         // units of one step, if it looks at everything
    uint64_t units_per_stop_ = 0;  // units until the next stop at most
    uint32_t quick_steps_ = 0;
};

void Regex::find_all(std::string_view text, uint32_t base, WorkClock& clock,
                     std::vector<Piece>& out) const {
    Search search(*this, text, clock);
    size_t at = 0;
    size_t last_end = SIZE_MAX;
    while (at <= text.size()) {
        const int found = search.next(at);
        if (found == PCRE2_ERROR_NOMATCH) return;
        if (found < 0) fail_match(found, size_t{base} + at, clock);
        const size_t begin = search.range()[0];
        const size_t end = search.range()[1];
        const bool empty = begin == end;
        // As the reference's iterator: an empty match right after a match does not count.
        if (!empty || begin != last_end) {
            out.push_back({base + static_cast<uint32_t>(begin), base + static_cast<uint32_t>(end)});
            last_end = end;
        }
        at = end;
        if (!empty) continue;
        at += at < text.size() ? size_t{utf8_sequence(text.substr(at)).bytes} : size_t{1};
    }
}

}  // namespace fathom
