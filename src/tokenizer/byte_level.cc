#include "tokenizer/byte_level.h"

#include <utility>

#include "tokenizer/utf8.h"

namespace fathom {
namespace {

std::vector<AddedToken> select(const std::vector<AddedToken>& added, bool normalized) {
    std::vector<AddedToken> out;
    for (const AddedToken& token : added) {
        if (token.normalized == normalized) out.push_back(token);
    }
    return out;
}

}  // namespace

ByteLevelEncoder::ByteLevelEncoder(const Vocabulary& vocabulary, TokenizerJson parts)
    : vocabulary_(vocabulary),
      raw_added_(select(parts.added, false)),
      normal_forms_(std::move(parts.normal_forms)),
      pretokenizer_(std::move(parts.steps)),
      bpe_(vocabulary, std::move(*parts.index), std::move(parts.merges), parts.ignore_merges) {
    std::vector<AddedToken> tokens = select(parts.added, true);
    for (AddedToken& token : tokens) token.content = normalized(token.content);
    normalized_added_ = AddedTokens(std::move(tokens));
}

/// Ill-formed bytes pass unchanged and separate what is normalised.
std::string ByteLevelEncoder::normalized(std::string_view text) const {
    std::string out;
    while (!text.empty()) {
        const size_t valid = utf8_valid_prefix(text);
        std::string stretch(text.substr(0, valid));
        for (const NormalForm form : normal_forms_) stretch = normalize(stretch, form);
        out.append(stretch);
        text.remove_prefix(valid);
        if (text.empty()) break;
        const size_t bytes = utf8_sequence(text).bytes;
        out.append(text.substr(0, bytes));
        text.remove_prefix(bytes);
    }
    return out;
}

void ByteLevelEncoder::encode(std::string_view text, bool parse_special,
                              std::vector<int32_t>& out) const {
    PretokenizedText scratch;
    if (!parse_special) return encode_stretch(text, nullptr, scratch, out);
    std::vector<AddedSplit> parts;
    raw_added_.split(text, parts);
    for (const AddedSplit& part : parts) {
        if (part.id >= 0) {
            out.push_back(part.id);
        } else {
            encode_stretch(part.text, &normalized_added_, scratch, out);
        }
    }
}

/// Text between the tokens that are matched before the normaliser.
void ByteLevelEncoder::encode_stretch(std::string_view text, const AddedTokens* added,
                                      PretokenizedText& scratch,
                                      std::vector<int32_t>& out) const {
    std::string storage;
    if (!normal_forms_.empty()) {
        storage = normalized(text);
        text = storage;
    }
    std::vector<AddedSplit> parts;
    if (added != nullptr) {
        added->split(text, parts);
    } else {
        parts.push_back({text, -1});
    }
    for (const AddedSplit& part : parts) {
        if (part.id >= 0) {
            out.push_back(part.id);
        } else {
            encode_text(part.text, scratch, out);
        }
    }
}

// The reference never sees ill-formed UTF-8. Here a run of ill-formed bytes is a piece of its own
// and a border for its neighbours, so that every pre-tokenizer works on whole characters.
void ByteLevelEncoder::encode_text(std::string_view text, PretokenizedText& scratch,
                                   std::vector<int32_t>& out) const {
    while (!text.empty()) {
        const size_t valid = utf8_valid_prefix(text);
        pretokenizer_.run(text.substr(0, valid), scratch);
        for (const Piece piece : scratch.pieces) {
            bpe_.encode(scratch.text.substr(piece.begin, piece.end - piece.begin), out);
        }
        text.remove_prefix(valid);
        size_t ill_formed = 0;
        while (ill_formed < text.size()) {
            const Utf8Sequence sequence = utf8_sequence(text.substr(ill_formed));
            if (sequence.kind == Utf8Sequence::Kind::kWhole) break;
            ill_formed += sequence.bytes;
        }
        if (ill_formed == 0) continue;
        bpe_.encode(text.substr(0, ill_formed), out);
        text.remove_prefix(ill_formed);
    }
}

// The reference joins the bytes of all tokens, added ones included, and replaces what is no UTF-8.
void ByteLevelEncoder::decode(std::span<const int32_t> ids, bool skip_special,
                              std::string& out) const {
    std::string bytes;
    for (const int32_t id : ids) {
        if (skip_special && vocabulary_.has(id, Vocabulary::kSpecial)) continue;
        bytes.append(vocabulary_.bytes[id]);
    }
    append_lossy_utf8(bytes, out);
}

}  // namespace fathom
