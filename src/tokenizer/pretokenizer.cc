#include "tokenizer/pretokenizer.h"

#include <cstring>
#include <utility>

#include "base/status.h"
#include "tokenizer/deepseek_scanner.h"
#include "tokenizer/pcre.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace fathom {
namespace {

using Kind = PretokenizerStep::Kind;
using Behavior = PretokenizerStep::Behavior;

constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// What a piece costs beside its bytes, in the units of WorkClock.
constexpr uint64_t kPieceUnits = 64;

/// Part of a piece, and whether the pattern matched it.
struct Part {
    Piece piece;
    bool matched;
};

void find_literal(std::string_view text, Piece piece, std::string_view literal,
                  std::vector<Part>& parts) {
    uint32_t gap = piece.begin;
    while (!literal.empty()) {
        // Linear in both lengths, which std::string_view::find() is not.
        const void* const found =
            memmem(text.data() + gap, piece.end - gap, literal.data(), literal.size());
        if (found == nullptr) break;
        const uint32_t begin =
            static_cast<uint32_t>(static_cast<const char*>(found) - text.data());
        const uint32_t end = begin + static_cast<uint32_t>(literal.size());
        if (gap != begin) parts.push_back({{gap, begin}, false});
        parts.push_back({{begin, end}, true});
        gap = end;
    }
    if (gap != piece.end) parts.push_back({{gap, piece.end}, false});
}

void find_digits(std::string_view text, Piece piece, std::vector<Part>& parts) {
    const auto* const base = reinterpret_cast<const unsigned char*>(text.data());
    const unsigned char* at = base + piece.begin;
    uint32_t gap = piece.begin;
    while (at != base + piece.end) {
        const uint32_t begin = static_cast<uint32_t>(at - base);
        if (!is_numeric(utf8_next(at))) continue;
        const uint32_t end = static_cast<uint32_t>(at - base);
        if (gap != begin) parts.push_back({{gap, begin}, false});
        parts.push_back({{begin, end}, true});
        gap = end;
    }
    if (gap != piece.end) parts.push_back({{gap, piece.end}, false});
}

// The five behaviours as the reference defines them: folds over the parts from the left, or from
// the right for kMergedWithNext. Parts are appended to `out`.
void merge_next(const std::vector<Part>& parts, std::vector<Piece>& out) {
    const size_t first = out.size();
    bool previous_matched = false;
    for (size_t i = parts.size(); i-- > 0;) {
        if (parts[i].matched && !previous_matched && out.size() > first) {
            out.back().begin = parts[i].piece.begin;
        } else {
            out.push_back(parts[i].piece);
        }
        previous_matched = parts[i].matched;
    }
    for (size_t low = first, high = out.size(); low + 1 < high; ++low) {
        std::swap(out[low], out[--high]);
    }
}

void merge(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& out) {
    if (behavior == Behavior::kMergedWithNext) return merge_next(parts, out);
    const size_t first = out.size();
    bool previous_matched = false;
    for (const Part& part : parts) {
        bool joins = false;
        if (behavior == Behavior::kContiguous) joins = part.matched == previous_matched;
        if (behavior == Behavior::kMergedWithPrevious) joins = part.matched && !previous_matched;
        previous_matched = part.matched;
        if (behavior == Behavior::kRemoved && part.matched) continue;
        if (joins && out.size() > first) {
            out.back().end = part.piece.end;
        } else {
            out.push_back(part.piece);
        }
    }
}

/// ByteLevel's add_prefix_space: a space before every piece that does not begin with one.
void prefix_spaces(PretokenizedText& out) {
    std::string spaced;
    spaced.reserve(out.text.size() + out.pieces.size());
    for (Piece& piece : out.pieces) {
        const std::string_view content = out.text.substr(piece.begin, piece.end - piece.begin);
        const uint32_t begin = static_cast<uint32_t>(spaced.size());
        if (!content.starts_with(' ')) spaced.push_back(' ');
        spaced.append(content);
        piece = {begin, static_cast<uint32_t>(spaced.size())};
    }
    out.storage = std::move(spaced);
    out.text = out.storage;
}

}  // namespace

Pretokenizer::Pretokenizer(std::vector<PretokenizerStep> steps)
    : steps_(std::move(steps)), scanner_(deepseek_scanner(steps_)) {
    regexes_.resize(steps_.size());
    if (scanner_ != nullptr) return;
    for (size_t i = 0; i < steps_.size(); ++i) {
        const PretokenizerStep& step = steps_[i];
        if (step.kind == Kind::kRegex) regexes_[i] = std::make_unique<Regex>(step.pattern);
        if (step.kind == Kind::kByteLevel && step.use_regex) {
            regexes_[i] = std::make_unique<Regex>(kByteLevelPattern);
        }
    }
}

Pretokenizer::~Pretokenizer() = default;

void Pretokenizer::run(std::string_view text, PretokenizedText& out) const {
    out.text = text;
    out.pieces.clear();
    if (text.empty()) return;
    if (scanner_ != nullptr) return scanner_->scan(text, out.pieces);
    out.pieces.push_back({0, static_cast<uint32_t>(text.size())});
    for (size_t i = 0; i < steps_.size(); ++i) run_step(i, out);
}

void Pretokenizer::run_step(size_t index, PretokenizedText& out) const {
    const PretokenizerStep& step = steps_[index];
    Behavior behavior = step.behavior;
    if (step.kind == Kind::kByteLevel) {
        if (step.add_prefix_space) prefix_spaces(out);
        if (!step.use_regex) return;
        behavior = Behavior::kIsolated;
    } else if (step.kind == Kind::kDigits) {
        behavior = step.individual_digits ? Behavior::kIsolated : Behavior::kContiguous;
    }
    std::vector<Piece> pieces;
    std::vector<Piece> matches;
    std::vector<Part> parts;
    for (const Piece piece : out.pieces) {
        // Steps may be many: each looks at all text anew.
        if (!out.clock.spend(uint64_t{piece.end - piece.begin} + kPieceUnits)) {
            fail(Status::kInvalidArgument, "pre_tokenizer of tokenizer.json: step ", index,
                 ", text offset ", piece.begin,
                 ": found steps of more time than allowed (time allowed ",
                 out.clock.limit().count(), " ms)");
        }
        parts.clear();
        if (step.kind == Kind::kLiteral) {
            find_literal(out.text, piece, step.pattern, parts);
        } else if (step.kind == Kind::kDigits) {
            find_digits(out.text, piece, parts);
        } else {
            matches.clear();
            const std::string_view content = out.text.substr(piece.begin, piece.end - piece.begin);
            regexes_[index]->find_all(content, piece.begin, out.clock, matches);
            uint32_t gap = piece.begin;
            for (const Piece match : matches) {
                if (gap != match.begin) parts.push_back({{gap, match.begin}, false});
                // An empty match separates its neighbours and is no part itself.
                if (match.begin != match.end) parts.push_back({match, true});
                gap = match.end;
            }
            if (gap != piece.end) parts.push_back({{gap, piece.end}, false});
        }
        if (step.invert && step.kind != Kind::kDigits) {
            for (Part& part : parts) part.matched = !part.matched;
        }
        merge(parts, behavior, pieces);
    }
    out.pieces = std::move(pieces);
}

}  // namespace fathom
