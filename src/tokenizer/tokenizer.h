#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "tokenizer/text_encoder.h"
#include "tokenizer/vocabulary.h"

namespace fathom {

/// Text to token ids and back, as the files of a checkpoint folder define it. Immutable after
/// open(); any number of threads may use one object at once, without locks.
class Tokenizer {
public:
    /// Longest text of one encode() call. A tokenizer needs up to 40 bytes for each.
    static constexpr uint64_t kTextBytesMax = uint64_t{256} << 20;

    /// Reads tokenizer.json, or where there is none tokenizer.model (SentencePiece), and what
    /// tokenizer_config.json and chat_template.jinja add. Throws Error: kFormat for files that
    /// contradict themselves, kUnsupported for kinds that this library lacks, kIo.
    static std::shared_ptr<const Tokenizer> open(const Directory& folder);

    ~Tokenizer();
    Tokenizer(const Tokenizer&) = delete;
    Tokenizer& operator=(const Tokenizer&) = delete;

    /// Appends the ids of `text`, which may be any bytes; no BOS is added. With `parse_special`
    /// spelled-out added tokens become their ids. Without, which is how untrusted text is encoded,
    /// no id comes out for which is_control() holds. Ill-formed UTF-8 is encoded byte by byte.
    void encode(std::string_view text, bool parse_special, std::vector<int32_t>& out) const;

    /// Appends the text of `ids`: whole UTF-8, with U+FFFD for bytes that are none, as the
    /// reference decoders do. `skip_special` leaves out tokens that the files mark as special,
    /// which excludes most of DeepSeek's role tokens. Throws Error(kInvalidArgument) that names
    /// the position of an id outside [0, size()).
    void decode(std::span<const int32_t> ids, bool skip_special, std::string& out) const;

    /// Bytes of one token, for streams: often a part of a character. Empty for ids without a
    /// token. Throws Error(kInvalidArgument) outside [0, size()).
    std::string_view token_bytes(int32_t id) const;

    /// Ids run from 0 to size() - 1, added tokens included. A model may have more rows.
    int32_t size() const { return vocabulary_->size(); }

    /// Id of the token with exactly these bytes, added tokens first; -1 if there is none.
    int32_t find_token(std::string_view content) const;

    /// Whether `id` is an added or control token of any kind; false outside the range.
    bool is_control(int32_t id) const { return vocabulary_->has(id, Vocabulary::kControl); }
    bool is_special(int32_t id) const { return vocabulary_->has(id, Vocabulary::kSpecial); }

    /// -1 where the files name none.
    int32_t bos_id() const { return bos_id_; }
    int32_t eos_id() const { return eos_id_; }
    int32_t pad_id() const { return pad_id_; }
    /// Whether plain text is to be preceded by BOS. Dialects print BOS themselves.
    bool add_bos() const { return add_bos_; }

    /// Equal for equal files; for caches, not a signature.
    uint64_t fingerprint() const { return fingerprint_; }

    /// The Jinja source, empty if there is none. Never interpreted: src/dialect recognises it.
    std::string_view chat_template() const { return chat_template_; }

private:
    Tokenizer() = default;
    void read_json(std::string text);
    void read_model(std::string bytes);
    void read_config(const Directory& folder);
    void index_control_tokens();

    std::unique_ptr<const Vocabulary> vocabulary_;
    std::unique_ptr<const TextEncoder> encoder_;
    std::vector<int32_t> control_ids_;  // sorted by bytes
    int32_t bos_id_ = -1;
    int32_t eos_id_ = -1;
    int32_t pad_id_ = -1;
    bool add_bos_ = false;
    uint64_t fingerprint_ = 0;
    std::string chat_template_;
};

}  // namespace fathom
