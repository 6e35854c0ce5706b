#include "tokenizer/deepseek_scanner.h"

#include <algorithm>

#include "tokenizer/utf8.h"

namespace fathom {
namespace {

using Byte = unsigned char;

Piece piece_between(const Byte* base, const Byte* begin, const Byte* end) {
    return {static_cast<uint32_t>(begin - base), static_cast<uint32_t>(end - base)};
}

bool is_isolating_regex(const PretokenizerStep& step, std::string_view pattern) {
    return step.kind == PretokenizerStep::Kind::kRegex && step.pattern == pattern &&
           step.behavior == PretokenizerStep::Behavior::kIsolated && !step.invert;
}

bool is_plain_byte_level(const PretokenizerStep& step) {
    return step.kind == PretokenizerStep::Kind::kByteLevel && !step.add_prefix_space &&
           !step.use_regex;
}

// ---- The V3 family ------------------------------------------------------------------------------

constexpr std::string_view kV3Numbers = R"(\p{N}{1,3})";
constexpr std::string_view kV3Ideographs = "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+";
constexpr std::string_view kV3Words = R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)"
                                      "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
                                      "| ?[\\p{P}\\p{S}]+[\r\n]*"
                                      R"(|\s*[)"
                                      "\r\n"
                                      R"(]+|\s+(?!\S)|\s+)";

enum V3Kind : uint8_t {
    kOther,  // control, format, private, unassigned
    kLetter,
    kMark,
    kSymbol,   // punctuation and symbols
    kSpace,    // U+0020 alone
    kNewline,  // CR and LF
    kWhite,    // any other White_Space
    kNumber,   // these are cut out by earlier steps: for the words the text ends before them
    kIdeograph,
    kIdeographSymbol,  // the middle dot between katakana and its like
    kIdeographOther,
    kEnd,
};

uint8_t v3_kind(char32_t c, const void*) {
    if (c == ' ') return kSpace;
    if (c == '\r' || c == '\n') return kNewline;
    if (is_white_space(c)) return kWhite;
    const char kind = category_class(c);
    if (kind == 'N') return kNumber;
    const bool ideograph = (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
    switch (kind) {
        case 'L': return ideograph ? kIdeograph : kLetter;
        case 'M': return ideograph ? kIdeograph : kMark;
        case 'P':
        case 'S': return ideograph ? kIdeographSymbol : kSymbol;
        default: return ideograph ? kIdeographOther : kOther;
    }
}

bool is_ascii_letter(Byte byte) { return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'; }
bool is_word(uint8_t kind) { return kind == kLetter || kind == kMark; }
bool is_ideograph(uint8_t kind) { return kind == kIdeograph; }
bool ends_words(uint8_t kind) { return kind >= kNumber; }

}  // namespace

DeepSeekV3Scanner::DeepSeekV3Scanner() : kinds_(v3_kind, nullptr) {}

bool DeepSeekV3Scanner::recognises(const std::vector<PretokenizerStep>& steps) {
    return steps.size() == 4 && is_isolating_regex(steps[0], kV3Numbers) &&
           is_isolating_regex(steps[1], kV3Ideographs) && is_isolating_regex(steps[2], kV3Words) &&
           is_plain_byte_level(steps[3]);
}

uint8_t DeepSeekV3Scanner::kind_at(const Byte* at, const Byte* end) const {
    return at == end ? uint8_t{kEnd} : kinds_[utf8_next(at)];
}

template <typename Wanted>
const Byte* DeepSeekV3Scanner::run(const Byte* at, const Byte* end, Wanted wanted) const {
    while (at != end) {
        const Byte* const begin = at;
        if (!wanted(kinds_[utf8_next(at)])) return begin;
    }
    return at;
}

// Where white space begins and neither a word nor symbols can take its first character:
// `\s*[\r\n]+|\s+(?!\S)|\s+`. The look-ahead gives the last character back unless the text (or the
// stretch between numbers and ideographs) ends here.
const Byte* DeepSeekV3Scanner::match_space(const Byte* at, const Byte* end) const {
    const Byte* const begin = at;
    const Byte* after_newline = nullptr;
    const Byte* last = at;
    uint8_t kind = kEnd;
    while (at != end) {
        const Byte* const here = at;
        kind = kinds_[utf8_next(at)];
        if (kind != kSpace && kind != kNewline && kind != kWhite) {
            at = here;
            break;
        }
        last = here;
        if (kind == kNewline) after_newline = at;
    }
    if (after_newline != nullptr) return after_newline;
    const bool ends_stretch = at == end || ends_words(kind);
    return ends_stretch || last == begin ? at : last;
}

/// End of the match that begins at `at`, or `at` where no alternative matches.
const Byte* DeepSeekV3Scanner::match(const Byte* at, const Byte* end) const {
    const Byte* const begin = at;
    const uint8_t kind = kinds_[utf8_next(at)];
    switch (kind) {
        case kNumber:
            for (int digits = 1; digits < 3 && kind_at(at, end) == kNumber; ++digits) utf8_next(at);
            return at;
        case kIdeograph: return run(at, end, is_ideograph);
        case kIdeographSymbol: return run(at, end, [](uint8_t k) { return k == kIdeographSymbol; });
        case kIdeographOther:
            // The one character that a word may take along; alone it matches nothing.
            return kind_at(at, end) == kIdeograph ? run(at, end, is_ideograph) : begin;
        case kLetter:
        case kMark: return run(at, end, is_word);
        case kNewline: return match_space(begin, end);
        default: break;
    }
    if (kind == kSymbol && *begin < 0x80 && at != end && is_ascii_letter(*at)) {
        while (at != end && is_ascii_letter(*at)) ++at;
        return at;
    }
    const uint8_t next = kind_at(at, end);
    if (kind != kSymbol && is_word(next)) return run(at, end, is_word);
    if (kind == kSymbol || (kind == kSpace && next == kSymbol)) {
        at = run(at, end, [](uint8_t k) { return k == kSymbol; });
        while (at != end && (*at == '\r' || *at == '\n')) ++at;
        return at;
    }
    return kind == kOther ? begin : match_space(begin, end);
}

void DeepSeekV3Scanner::scan(std::string_view text, std::vector<Piece>& out) const {
    const Byte* const base = reinterpret_cast<const Byte*>(text.data());
    const Byte* const end = base + text.size();
    const Byte* gap = base;  // begin of what no alternative has matched yet
    bool gap_in_ideographs = false;
    const Byte* at = base;
    while (at != end) {
        const Byte* const stop = match(at, end);
        if (stop == at) {
            const bool in_ideographs = kind_at(at, end) == kIdeographOther;
            if (gap != at && in_ideographs != gap_in_ideographs) {
                out.push_back(piece_between(base, gap, at));
                gap = at;
            }
            gap_in_ideographs = in_ideographs;
            utf8_next(at);
            continue;
        }
        if (gap != at) out.push_back(piece_between(base, gap, at));
        out.push_back(piece_between(base, at, stop));
        at = gap = stop;
    }
    if (gap != end) out.push_back(piece_between(base, gap, end));
}

// ---- The V2 family ------------------------------------------------------------------------------

namespace {

struct CharRange {
    char32_t first;
    char32_t last;
};

// The letters of the second step, in the order in which the pattern lists them: the pattern text is
// made from this table when a tokenizer.json is compared with it.
constexpr CharRange kV2Letters[] = {
    {0x41, 0x5A},       {0x61, 0x7A},       {0xB5, 0xB5},       {0xC0, 0xD6},
    {0xD8, 0xF6},       {0xF8, 0x1BA},      {0x1BC, 0x1BF},     {0x1C4, 0x293},
    {0x295, 0x2AF},     {0x370, 0x373},     {0x376, 0x376},     {0x377, 0x377},
    {0x37B, 0x37D},     {0x37F, 0x37F},     {0x386, 0x386},     {0x388, 0x38A},
    {0x38C, 0x38C},     {0x38E, 0x3A1},     {0x3A3, 0x3F5},     {0x3F7, 0x481},
    {0x48A, 0x52F},     {0x531, 0x556},     {0x10A0, 0x10C5},   {0x13A0, 0x13F5},
    {0x13F8, 0x13FD},   {0x1C90, 0x1CBA},   {0x1CBD, 0x1CBF},   {0x1D00, 0x1D2B},
    {0x1D6B, 0x1D77},   {0x1D79, 0x1D9A},   {0x1E00, 0x1F15},   {0x1F18, 0x1F1D},
    {0x1F20, 0x1F45},   {0x1F48, 0x1F4D},   {0x1F50, 0x1F57},   {0x1F59, 0x1F59},
    {0x1F5B, 0x1F5B},   {0x1F5D, 0x1F5D},   {0x1F5F, 0x1F7D},   {0x1F80, 0x1FB4},
    {0x1FB6, 0x1FBC},   {0x1FBE, 0x1FBE},   {0x1FC2, 0x1FC4},   {0x1FC6, 0x1FCC},
    {0x1FD0, 0x1FD3},   {0x1FD6, 0x1FDB},   {0x1FE0, 0x1FEC},   {0x1FF2, 0x1FF4},
    {0x1FF6, 0x1FFC},   {0x2102, 0x2102},   {0x2107, 0x2107},   {0x210A, 0x2113},
    {0x2115, 0x2115},   {0x2119, 0x211D},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212A, 0x212D},   {0x212F, 0x2134},   {0x2139, 0x2139},
    {0x213C, 0x213F},   {0x2145, 0x2149},   {0x214E, 0x214E},   {0x2183, 0x2183},
    {0x2184, 0x2184},   {0x2C00, 0x2C7B},   {0x2C7E, 0x2CE4},   {0x2CEB, 0x2CEE},
    {0x2CF2, 0x2CF2},   {0x2CF3, 0x2CF3},   {0xA640, 0xA66D},   {0xA680, 0xA69B},
    {0xA722, 0xA76F},   {0xA771, 0xA787},   {0xA78B, 0xA78E},   {0xAB70, 0xABBF},
    {0xFB00, 0xFB06},   {0xFB13, 0xFB17},   {0xFF21, 0xFF3A},   {0xFF41, 0xFF5A},
    {0x10400, 0x1044F}, {0x104B0, 0x104D3}, {0x104D8, 0x104FB}, {0x10C80, 0x10CB2},
    {0x10CC0, 0x10CF2}, {0x118A0, 0x118DF}, {0x1E900, 0x1E943},
};
constexpr CharRange kV2Symbols[] = {
    {'!', '/'}, {':', '~'}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}, {0x2018, 0x201F}, {0x3000, 0x3002},
};
constexpr CharRange kV2Ideographs[] = {{0x4E00, 0x9FA5}, {0x0800, 0x4E00}, {0xAC00, 0xD7FF}};

template <size_t N>
std::string class_pattern(std::string_view before, const CharRange (&ranges)[N]) {
    std::string out(before);
    out.push_back('[');
    for (const CharRange& range : ranges) {
        append_utf8(range.first, out);
        if (range.last == range.first) continue;
        out.push_back('-');
        append_utf8(range.last, out);
    }
    out.append("]+");
    return out;
}

template <size_t N>
bool is_in(const CharRange (&ranges)[N], char32_t c) {
    return std::any_of(std::begin(ranges), std::end(ranges),
                       [c](const CharRange& range) { return c >= range.first && c <= range.last; });
}

enum V2Flag : uint8_t {
    kV2White = 1,
    kV2Letter = 2,
    kV2Symbol = 4,
    kV2Ideograph = 8,
    kV2Numeric = 16,
};

uint8_t v2_flags(char32_t c, const void*) {
    int flags = 0;
    if (is_white_space(c)) flags |= kV2White;
    if (is_in(kV2Letters, c)) flags |= kV2Letter;
    if (is_in(kV2Symbols, c)) flags |= kV2Symbol;
    if (is_in(kV2Ideographs, c)) flags |= kV2Ideograph;
    if (is_numeric(c)) flags |= kV2Numeric;
    return static_cast<uint8_t>(flags);
}

/// The steps of the chain, each handing its pieces, matched or not, to the next. Each is linear in
/// its piece and they nest to a fixed depth, so the whole is linear in the text.
class V2Chain {
public:
    V2Chain(const CharTable& flags, const Byte* base, std::vector<Piece>& out)
        : flags_(flags), base_(base), out_(out) {}

    void lines(const Byte* at, const Byte* end) {
        const Byte* gap = at;
        for (; at != end; ++at) {
            if (*at != '\r' && *at != '\n') continue;
            if (gap != at) letters(gap, at);
            emit(at, at + 1);
            gap = at + 1;
        }
        if (gap != end) letters(gap, end);
    }

private:
    /// `\s?[class]+` isolated: `piece(begin, end, ascii)` receives matches and what lies between.
    template <typename Next>
    void spaced_runs(uint8_t wanted, const Byte* at, const Byte* end, Next piece) {
        const Byte* gap = at;
        while (at != end) {
            const Byte* const begin = at;
            uint8_t flags = flags_[utf8_next(at)];
            if ((flags & wanted) == 0) {
                if ((flags & kV2White) == 0 || at == end) continue;
                const Byte* second = at;
                if ((flags_[utf8_next(second)] & wanted) == 0) continue;
                at = second;
            }
            Byte bits = *begin;
            while (at != end) {
                const Byte* const here = at;
                if ((flags_[utf8_next(at)] & wanted) == 0) {
                    at = here;
                    break;
                }
                bits |= *here;
            }
            if (gap != begin) piece(gap, begin, false);
            piece(begin, at, bits < 0x80 && (begin + 1 == at || begin[1] < 0x80));
            gap = at;
        }
        if (gap != end) piece(gap, end, false);
    }

    void letters(const Byte* begin, const Byte* end) {
        spaced_runs(kV2Letter, begin, end, [this](const Byte* b, const Byte* e, bool ascii) {
            // The third class holds the ASCII letters too, so it takes such a piece whole again,
            // and no later step can cut it.
            if (ascii) {
                emit(b, e);
            } else {
                symbols(b, e);
            }
        });
    }

    void symbols(const Byte* begin, const Byte* end) {
        spaced_runs(kV2Symbol, begin, end,
                    [this](const Byte* b, const Byte* e, bool) { trailing_space(b, e); });
    }

    /// `\s+$`; no newline is left inside a piece, so `$` is the end of the piece.
    void trailing_space(const Byte* begin, const Byte* end) {
        const Byte* cut = end;
        while (cut != begin) {
            const Byte* last = cut - 1;
            while ((*last & 0xC0) == 0x80) --last;
            const Byte* const here = last;
            if ((flags_[utf8_next(last)] & kV2White) == 0) break;
            cut = here;
        }
        if (cut != begin) ideographs(begin, cut);
        if (cut != end) ideographs(cut, end);
    }

    void ideographs(const Byte* at, const Byte* end) {
        const Byte* gap = at;
        uint8_t gap_kind = 0;
        while (at != end) {
            const Byte* const here = at;
            const uint8_t kind = flags_[utf8_next(at)] & kV2Ideograph;
            if (here != gap && kind != gap_kind) {
                digits(gap, here);
                gap = here;
            }
            gap_kind = kind;
        }
        digits(gap, end);
    }

    void digits(const Byte* at, const Byte* end) {
        const Byte* gap = at;
        while (at != end) {
            const Byte* const here = at;
            if ((flags_[utf8_next(at)] & kV2Numeric) == 0) continue;
            if (gap != here) emit(gap, here);
            emit(here, at);
            gap = at;
        }
        if (gap != end) emit(gap, end);
    }

    void emit(const Byte* begin, const Byte* end) {
        out_.push_back(piece_between(base_, begin, end));
    }

    const CharTable& flags_;
    const Byte* const base_;
    std::vector<Piece>& out_;
};

}  // namespace

DeepSeekV2Scanner::DeepSeekV2Scanner() : flags_(v2_flags, nullptr) {}

bool DeepSeekV2Scanner::recognises(const std::vector<PretokenizerStep>& steps) {
    return steps.size() == 7 && is_isolating_regex(steps[0], "[\r\n]") &&
           is_isolating_regex(steps[1], class_pattern("\\s?", kV2Letters)) &&
           is_isolating_regex(steps[2], class_pattern("\\s?", kV2Symbols)) &&
           is_isolating_regex(steps[3], "\\s+$") &&
           is_isolating_regex(steps[4], class_pattern("", kV2Ideographs)) &&
           steps[5].kind == PretokenizerStep::Kind::kDigits && steps[5].individual_digits &&
           is_plain_byte_level(steps[6]);
}

void DeepSeekV2Scanner::scan(std::string_view text, std::vector<Piece>& out) const {
    const Byte* const base = reinterpret_cast<const Byte*>(text.data());
    V2Chain(flags_, base, out).lines(base, base + text.size());
}

std::unique_ptr<const Scanner> deepseek_scanner(const std::vector<PretokenizerStep>& steps) {
    if (DeepSeekV3Scanner::recognises(steps)) return std::make_unique<DeepSeekV3Scanner>();
    if (DeepSeekV2Scanner::recognises(steps)) return std::make_unique<DeepSeekV2Scanner>();
    return nullptr;
}

}  // namespace fathom
