#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "tokenizer/utf8.h"

namespace fathom {
namespace {

/// The alphabet in which byte-level vocabularies spell bytes: printable Latin-1 stands for itself,
/// the other bytes for U+0100 onwards.
class ByteAlphabet {
public:
    ByteAlphabet() {
        bytes_.fill(-1);
        char32_t next = 256;
        for (int byte = 0; byte < 256; ++byte) {
            const bool printable =
                (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            bytes_[printable ? static_cast<size_t>(byte) : next++] = static_cast<int16_t>(byte);
        }
    }

    /// Appends the bytes that `spelling` (well-formed UTF-8) stands for. False, and nothing
    /// appended, if it is outside the alphabet.
    bool decode(std::string_view spelling, std::string& out) const {
        const size_t begin = out.size();
        const auto* at = reinterpret_cast<const unsigned char*>(spelling.data());
        const auto* const end = at + spelling.size();
        while (at != end) {
            const char32_t c = utf8_next(at);
            if (c >= bytes_.size() || bytes_[c] < 0) {
                out.resize(begin);
                return false;
            }
            out.push_back(static_cast<char>(bytes_[c]));
        }
        return true;
    }

private:
    std::array<int16_t, 0x144> bytes_;
};

constexpr size_t kNormalFormsMax = 8;

/// The elements of a component that may be null, one element or nested "Sequence"s, in order.
std::vector<JsonValue> flatten(const JsonValue& component, std::string_view list_key) {
    std::vector<JsonValue> out;
    std::vector<JsonValue> open{component};  // a stack, last element first
    while (!open.empty()) {
        const JsonValue value = open.back();
        open.pop_back();
        if (value.is_null()) continue;
        if (value.at("type").as_string() != "Sequence") {
            out.push_back(value);
            continue;
        }
        const size_t first = open.size();
        for (const JsonValue element : value.at(list_key).elements()) open.push_back(element);
        std::reverse(open.begin() + static_cast<std::ptrdiff_t>(first), open.end());
    }
    return out;
}

bool flag(const JsonValue& object, std::string_view key, bool otherwise) {
    const std::optional<JsonValue> value = object.find(key);
    return value && !value->is_null() ? value->as_bool() : otherwise;
}

[[noreturn]] void unsupported(const JsonValue& value, std::string_view wanted) {
    fail(Status::kUnsupported, "tokenizer.json: ", value.path(), ": found ",
         value.is_string() ? printable(value.as_string()) : std::string("another value"),
         ", wanted ", wanted);
}

PretokenizerStep::Behavior read_behavior(const JsonValue& value) {
    using Behavior = PretokenizerStep::Behavior;
    const std::string_view name = value.as_string();
    if (name == "Isolated") return Behavior::kIsolated;
    if (name == "Removed") return Behavior::kRemoved;
    if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
    if (name == "MergedWithNext") return Behavior::kMergedWithNext;
    if (name == "Contiguous") return Behavior::kContiguous;
    value.refuse("Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

PretokenizerStep read_step(const JsonValue& value) {
    PretokenizerStep step;
    const JsonValue type = value.at("type");
    if (type.as_string() == "Split") {
        const JsonValue pattern = value.at("pattern");
        const std::optional<JsonValue> regex = pattern.find("Regex");
        step.kind = regex ? PretokenizerStep::Kind::kRegex : PretokenizerStep::Kind::kLiteral;
        step.pattern = regex ? regex->as_string() : pattern.at("String").as_string();
        step.behavior = read_behavior(value.at("behavior"));
        step.invert = flag(value, "invert", false);
    } else if (type.as_string() == "Digits") {
        step.kind = PretokenizerStep::Kind::kDigits;
        step.individual_digits = flag(value, "individual_digits", false);
    } else if (type.as_string() == "ByteLevel") {
        step.add_prefix_space = flag(value, "add_prefix_space", true);
        step.use_regex = flag(value, "use_regex", true);
    } else {
        unsupported(type, "Split, Digits, ByteLevel or Sequence");
    }
    return step;
}

std::vector<PretokenizerStep> read_steps(const JsonValue& root) {
    std::vector<PretokenizerStep> steps;
    const JsonValue component = root.at("pre_tokenizer");
    for (const JsonValue value : flatten(component, "pretokenizers")) {
        if (!steps.empty() && steps.back().kind == PretokenizerStep::Kind::kByteLevel) {
            unsupported(component.at("type"), "no step after ByteLevel");
        }
        steps.push_back(read_step(value));
    }
    if (steps.empty() || steps.back().kind != PretokenizerStep::Kind::kByteLevel) {
        unsupported(component, "a chain that ends in ByteLevel");
    }
    return steps;
}

std::vector<NormalForm> read_normal_forms(const JsonValue& root) {
    std::vector<NormalForm> forms;
    const std::optional<JsonValue> component = root.find("normalizer");
    if (!component) return forms;
    for (const JsonValue value : flatten(*component, "normalizers")) {
        // Each looks at all text anew, and more than one is rare.
        if (forms.size() == kNormalFormsMax) unsupported(*component, "at most 8 normalizers");
        const JsonValue type = value.at("type");
        const std::string_view name = type.as_string();
        if (name == "NFC") {
            forms.push_back(NormalForm::kNfc);
        } else if (name == "NFD") {
            forms.push_back(NormalForm::kNfd);
        } else if (name == "NFKC") {
            forms.push_back(NormalForm::kNfkc);
        } else if (name == "NFKD") {
            forms.push_back(NormalForm::kNfkd);
        } else {
            unsupported(type, "NFC, NFD, NFKC, NFKD or Sequence");
        }
    }
    return forms;
}

void check_model(const JsonValue& model) {
    const std::optional<JsonValue> type = model.find("type");
    if (type && type->as_string() != "BPE") unsupported(*type, "BPE");
    for (const char* const key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        const std::optional<JsonValue> value = model.find(key);
        if (value && !value->is_null() && !value->as_string().empty()) {
            unsupported(*value, "null or an empty string");
        }
    }
    const std::optional<JsonValue> dropout = model.find("dropout");
    if (dropout && !dropout->is_null() && dropout->as_double() != 0) {
        unsupported(*dropout, "null: encoding must not be random");
    }
    if (flag(model, "byte_fallback", false)) {
        unsupported(model.at("byte_fallback"), "false: only byte-level vocabularies");
    }
}

void check_decoder(const JsonValue& root) {
    const std::optional<JsonValue> component = root.find("decoder");
    if (!component) return;
    for (const JsonValue value : flatten(*component, "decoders")) {
        const JsonValue type = value.at("type");
        if (type.as_string() != "ByteLevel") unsupported(type, "ByteLevel");
    }
}

int32_t read_id(const JsonValue& value) {
    const int64_t id = value.as_int64();
    if (id < 0 || id > kTokenIdMax) value.refuse(concat("an id from 0 to ", kTokenIdMax));
    return static_cast<int32_t>(id);
}

void check_content(const JsonValue& value, std::string_view content) {
    if (content.empty() || content.size() > kTokenBytesMax) {
        fail(Status::kFormat, "tokenizer.json: ", value.path(), ": found a token of ",
             content.size(), " bytes, wanted 1 to ", kTokenBytesMax);
    }
}

std::vector<AddedToken> read_added(const JsonValue& root) {
    std::vector<AddedToken> added;
    const std::optional<JsonValue> list = root.find("added_tokens");
    if (!list || list->is_null()) return added;
    if (list->size() > kAddedTokensMax) {
        fail(Status::kFormat, "tokenizer.json: added_tokens: found ", list->size(),
             ", wanted at most ", kAddedTokensMax);
    }
    for (const JsonValue value : list->elements()) {
        AddedToken token;
        token.id = read_id(value.at("id"));
        const JsonValue content = value.at("content");
        token.content = content.as_string();
        check_content(content, token.content);
        token.single_word = flag(value, "single_word", false);
        token.lstrip = flag(value, "lstrip", false);
        token.rstrip = flag(value, "rstrip", false);
        token.special = flag(value, "special", false);
        token.normalized = flag(value, "normalized", !token.special);
        added.push_back(std::move(token));
    }
    return added;
}

struct Spellings {
    std::vector<std::string_view> of_id;  // empty where no file defines the id
    std::vector<uint8_t> in_vocab;        // [id] defined by vocab, not only by added_tokens
};

void read_vocab(const JsonValue& vocab, Spellings& spellings) {
    const auto at = [](int32_t id) { return static_cast<size_t>(id); };
    for (const JsonMember member : vocab.members()) {
        const int32_t id = read_id(member.value);
        check_content(member.value, member.key);
        if (at(id) >= spellings.of_id.size()) {
            spellings.of_id.resize(at(id) + 1);
            spellings.in_vocab.resize(at(id) + 1);
        }
        if (spellings.in_vocab[at(id)] != 0) {
            fail(Status::kFormat, "tokenizer.json: ", member.value.path(), ": found id ", id,
                 ", which '", printable(spellings.of_id[at(id)]), "' has, wanted a free one");
        }
        spellings.of_id[at(id)] = member.key;
        spellings.in_vocab[at(id)] = 1;
    }
}

// An added token may repeat an entry of the vocabulary but neither take another's id nor give a
// content a second one.
void read_added_spellings(const std::vector<AddedToken>& added, Spellings& spellings) {
    std::vector<std::string_view> contents;
    for (const AddedToken& token : added) {
        const size_t id = static_cast<size_t>(token.id);
        if (id >= spellings.of_id.size()) {
            spellings.of_id.resize(id + 1);
            spellings.in_vocab.resize(id + 1);
        }
        std::string_view& slot = spellings.of_id[id];
        if (!slot.empty() && slot != token.content) {
            fail(Status::kFormat, "tokenizer.json: added_tokens: '", printable(token.content),
                 "': found id ", token.id, ", which '", printable(slot),
                 "' has, wanted a free one");
        }
        slot = token.content;
        contents.push_back(token.content);
    }
    std::sort(contents.begin(), contents.end());
    const auto twice = std::adjacent_find(contents.begin(), contents.end());
    if (twice == contents.end()) return;
    fail(Status::kFormat, "tokenizer.json: added_tokens: found '", printable(*twice),
         "' twice, wanted once");
}

Vocabulary read_vocabulary(const JsonValue& vocab, const std::vector<AddedToken>& added) {
    Spellings spellings;
    read_vocab(vocab, spellings);
    read_added_spellings(added, spellings);
    Vocabulary vocabulary;
    size_t bytes = 0;
    for (const std::string_view spelling : spellings.of_id) bytes += spelling.size();
    vocabulary.bytes.reserve(spellings.of_id.size(), bytes);
    vocabulary.flags.resize(spellings.of_id.size());
    const ByteAlphabet alphabet;
    std::string buffer;
    for (size_t id = 0; id < spellings.of_id.size(); ++id) {
        const std::string_view spelling = spellings.of_id[id];
        buffer.clear();
        // What the alphabet does not contain decodes to its own UTF-8, and no text encodes to it.
        const bool spelled = alphabet.decode(spelling, buffer);
        vocabulary.bytes.push_back(spelled ? std::string_view(buffer) : spelling);
        if (spelled && spellings.in_vocab[id] != 0) vocabulary.flags[id] = Vocabulary::kMergeable;
    }
    for (const AddedToken& token : added) {
        uint8_t& flags = vocabulary.flags[static_cast<size_t>(token.id)];
        flags |= Vocabulary::kControl;
        if (token.special) flags |= Vocabulary::kSpecial;
    }
    return vocabulary;
}

/// The two spellings of a merge: "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> merge_parts(const JsonValue& value) {
    if (value.is_array()) {
        if (value.size() != 2) value.refuse("two tokens");
        auto element = value.elements().begin();
        const std::string_view left = (*element).as_string();
        ++element;
        return {left, (*element).as_string()};
    }
    const std::string_view text = value.as_string();
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
        value.refuse("two tokens with one space between them");
    }
    return {text.substr(0, space), text.substr(space + 1)};
}

std::vector<BpeMerge> read_merges(const JsonValue& list, const TokenIndex& index) {
    if (list.size() > Bpe::kMergesMax) {
        list.refuse(concat("at most ", Bpe::kMergesMax, " merges"));
    }
    std::vector<BpeMerge> merges;
    merges.reserve(list.size());
    const ByteAlphabet alphabet;
    std::string bytes;
    for (const JsonValue value : list.elements()) {
        const auto [left, right] = merge_parts(value);
        bytes.clear();
        BpeMerge merge{-1, -1, -1};
        if (alphabet.decode(left, bytes)) {
            merge.left = index.find(bytes);
            const size_t left_bytes = bytes.size();
            if (alphabet.decode(right, bytes)) {
                merge.right = index.find(std::string_view(bytes).substr(left_bytes));
                merge.result = index.find(bytes);
            }
        }
        if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
            value.refuse("two tokens of vocab whose concatenation is in vocab too");
        }
        merges.push_back(merge);
    }
    return merges;
}

// The reference gives an added token the id that vocab has for its content, whatever the file says,
// and moves all that follow. Such a file means different ids to different readers.
void check_added_ids(const std::vector<AddedToken>& added, const TokenIndex& index) {
    const ByteAlphabet alphabet;
    std::string bytes;
    for (const AddedToken& token : added) {
        bytes.clear();
        if (!alphabet.decode(token.content, bytes)) continue;
        const int32_t id = index.find(bytes);
        if (id < 0 || id == token.id) continue;
        fail(Status::kFormat, "tokenizer.json: added_tokens: '", printable(token.content),
             "': found id ", token.id, ", wanted ", id, " as in vocab");
    }
}

std::string read_token_name(const JsonValue& root, std::string_view key) {
    const std::optional<JsonValue> value = root.find(key);
    if (!value || value->is_null()) return {};
    // Written by transformers as the content or as the whole added token.
    return std::string(value->is_object() ? value->at("content").as_string() : value->as_string());
}

std::string read_template(const JsonValue& root) {
    const std::optional<JsonValue> value = root.find("chat_template");
    if (!value || value->is_null()) return {};
    if (!value->is_array()) return std::string(value->as_string());
    // Several templates by name; the others are for tool use and retrieval.
    for (const JsonValue entry : value->elements()) {
        if (entry.at("name").as_string() == "default") {
            return std::string(entry.at("template").as_string());
        }
    }
    return {};
}

}  // namespace

TokenizerJson read_tokenizer_json(const JsonValue& root) {
    const JsonValue model = root.at("model");
    check_model(model);
    check_decoder(root);
    TokenizerJson out;
    out.steps = read_steps(root);
    out.normal_forms = read_normal_forms(root);
    out.ignore_merges = flag(model, "ignore_merges", false);
    out.added = read_added(root);
    out.vocabulary = std::make_unique<Vocabulary>(read_vocabulary(model.at("vocab"), out.added));
    out.index.emplace(*out.vocabulary);
    check_added_ids(out.added, *out.index);
    out.merges = read_merges(model.at("merges"), *out.index);
    return out;
}

TokenizerConfig read_tokenizer_config(const JsonValue& root) {
    TokenizerConfig config;
    config.bos_token = read_token_name(root, "bos_token");
    config.eos_token = read_token_name(root, "eos_token");
    config.pad_token = read_token_name(root, "pad_token");
    config.chat_template = read_template(root);
    // transformers' Llama classes, under which every DeepSeek tokenizer is published, add BOS
    // unless told otherwise; the generic class does not.
    const std::optional<JsonValue> name = root.find("tokenizer_class");
    const bool llama = name && name->is_string() && name->as_string().starts_with("LlamaTokenizer");
    config.add_bos = flag(root, "add_bos_token", llama);
    return config;
}

}  // namespace fathom
