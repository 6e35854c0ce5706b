#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fathom {

inline constexpr uint64_t kSentencePieceFileBytesMax = uint64_t{64} << 20;

/// A tokenizer.model after our own reading of it. The library that runs it trusts its input further
/// than a guest can: it follows offsets of the character map unchecked, recurses on pieces marked
/// unused and lets text spell user-defined symbols.
struct SentencePieceModel {
    enum class Type : uint8_t {
        kNormal = 1,
        kUnknown = 2,
        kControl = 3,
        kUserDefined = 4,
        kUnused = 5,
        kByte = 6,
    };
    struct Piece {
        std::string text;
        Type type = Type::kNormal;
    };

    /// What the library is to load: user-defined symbols that could spell a role are control
    /// symbols here, so that only encode() with parse_special finds them.
    std::string bytes;
    std::vector<Piece> pieces;  // by id
};

/// Throws Error(kFormat) that names file offset, field and what is wrong; Error(kUnsupported) for
/// models other than unigram and BPE.
SentencePieceModel read_sentencepiece_model(std::string bytes);

/// Checks a compiled character map: the walk of the library through its double array stays inside,
/// ends, finds at most 32 prefixes, and all results are short strings inside the map.
void check_character_map(std::string_view blob);

}  // namespace fathom
