#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/status.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/tokenizer_json.h"

namespace fathom {
namespace {

constexpr uint64_t kConfigBytesMax = uint64_t{16} << 20;

// The names that every DeepSeek release gives these tokens, where no config file says so.
constexpr std::string_view kBos = "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>";
constexpr std::string_view kEos = "<\uFF5Cend\u2581of\u2581sentence\uFF5C>";

}  // namespace

Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::open(const Directory& folder) {
    const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
    if (folder.contains("tokenizer.json")) {
        tokenizer->read_json(folder.open("tokenizer.json").read_all(kTokenizerFileBytesMax));
    } else if (folder.contains("tokenizer.model")) {
        tokenizer->read_model(folder.open("tokenizer.model").read_all(kSentencePieceFileBytesMax));
    } else {
        fail(Status::kUnsupported, folder.path(),
             ": found neither tokenizer.json nor tokenizer.model");
    }
    tokenizer->index_control_tokens();
    tokenizer->read_config(folder);
    return tokenizer;
}

void Tokenizer::read_json(std::string text) {
    fingerprint_ = hash64(std::as_bytes(std::span(text.data(), text.size())));
    const JsonDocument document =
        JsonDocument::parse_owned(std::move(text), JsonLimits{}, "tokenizer.json");
    TokenizerJson parts = read_tokenizer_json(document.root());
    vocabulary_ = std::move(parts.vocabulary);
    encoder_ = std::make_unique<ByteLevelEncoder>(*vocabulary_, std::move(parts));
}

void Tokenizer::read_model(std::string bytes) {
    fingerprint_ = hash64(std::as_bytes(std::span(bytes.data(), bytes.size())));
    auto encoder =
        std::make_unique<SentencePieceEncoder>(read_sentencepiece_model(std::move(bytes)));
    vocabulary_ = encoder->take_vocabulary();
    bos_id_ = encoder->bos_id();
    eos_id_ = encoder->eos_id();
    pad_id_ = encoder->pad_id();
    encoder_ = std::move(encoder);
}

void Tokenizer::index_control_tokens() {
    for (int32_t id = 0; id < size(); ++id) {
        if (is_control(id)) control_ids_.push_back(id);
    }
    std::sort(control_ids_.begin(), control_ids_.end(), [this](int32_t a, int32_t b) {
        return vocabulary_->bytes[a] < vocabulary_->bytes[b];
    });
}

void Tokenizer::read_config(const Directory& folder) {
    TokenizerConfig config{.add_bos = true};  // what DeepSeek's class does where no file says
    if (folder.contains("tokenizer_config.json")) {
        const JsonDocument document = JsonDocument::parse_owned(
            folder.open("tokenizer_config.json").read_all(kConfigBytesMax), JsonLimits{},
            "tokenizer_config.json");
        config = read_tokenizer_config(document.root());
    }
    const auto id_of = [this](std::string_view name, std::string_view otherwise) {
        return find_token(name.empty() ? otherwise : name);
    };
    if (bos_id_ < 0) bos_id_ = id_of(config.bos_token, kBos);
    if (eos_id_ < 0) eos_id_ = id_of(config.eos_token, kEos);
    if (pad_id_ < 0 && !config.pad_token.empty()) pad_id_ = find_token(config.pad_token);
    add_bos_ = config.add_bos && bos_id_ >= 0;
    chat_template_ = std::move(config.chat_template);
    if (chat_template_.empty() && folder.contains("chat_template.jinja")) {
        chat_template_ = folder.open("chat_template.jinja").read_all(kConfigBytesMax);
    }
}

void Tokenizer::encode(std::string_view text, bool parse_special, std::vector<int32_t>& out) const {
    if (text.size() > kTextBytesMax) {
        fail(Status::kInvalidArgument, "text to encode: found ", text.size(),
             " bytes, wanted at most ", kTextBytesMax);
    }
    encoder_->encode(text, parse_special, out);
}

void Tokenizer::decode(std::span<const int32_t> ids, bool skip_special, std::string& out) const {
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] >= 0 && ids[i] < size()) continue;
        fail(Status::kInvalidArgument, "token ids: position ", i, ": found ", ids[i],
             ", wanted 0 to ", size() - 1);
    }
    encoder_->decode(ids, skip_special, out);
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
    if (id < 0 || id >= size()) {
        fail(Status::kInvalidArgument, "token id: found ", id, ", wanted 0 to ", size() - 1);
    }
    return vocabulary_->bytes[id];
}

int32_t Tokenizer::find_token(std::string_view content) const {
    if (content.empty()) return -1;
    const auto found = std::lower_bound(
        control_ids_.begin(), control_ids_.end(), content,
        [this](int32_t id, std::string_view wanted) { return vocabulary_->bytes[id] < wanted; });
    if (found != control_ids_.end() && vocabulary_->bytes[*found] == content) return *found;
    return encoder_->find(content);
}

}  // namespace fathom
