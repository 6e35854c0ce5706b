#include "tokenizer/sentencepiece.h"

#include <exception>
#include <new>
#include <utility>

#include <sentencepiece_processor.h>

#include "base/status.h"
#include "base/text.h"
#include "tokenizer/utf8.h"

namespace fathom {

class SentencePieceEncoder::Library {
public:
    explicit Library(std::string_view model) {
        check(processor_.LoadFromSerializedProto({model.data(), model.size()}), Status::kFormat,
              "tokenizer.model");
    }

    void encode(std::string_view text, std::vector<int>& ids) const {
        check(processor_.Encode({text.data(), text.size()}, &ids), Status::kInvalidArgument,
              "text to encode");
    }

    void decode(const std::vector<int>& ids, std::string& text) const {
        check(processor_.Decode(ids, &text), Status::kInvalidArgument, "token ids");
    }

    const sentencepiece::SentencePieceProcessor& processor() const { return processor_; }

private:
    static void check(const sentencepiece::util::Status& result, Status status,
                      std::string_view what) {
        if (result.ok()) return;
        fail(status, what, ": SentencePiece: ", printable(result.error_message(), 300));
    }

    sentencepiece::SentencePieceProcessor processor_;
};

namespace {

constexpr std::string_view kBlank = "\u2581";  // how a piece writes a space

std::string with_spaces(std::string_view piece) {
    std::string out;
    while (!piece.empty()) {
        const size_t blank = piece.find(kBlank);
        out.append(piece.substr(0, blank));
        if (blank == piece.npos) break;
        out.push_back(' ');
        piece.remove_prefix(blank + kBlank.size());
    }
    return out;
}

std::string with_blanks(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == ' ') {
            out.append(kBlank);
        } else {
            out.push_back(c);
        }
    }
    return out;
}

/// "<0x0A>" is how a piece writes a byte; the library has checked the form.
char byte_of(std::string_view piece) {
    int value = 0;
    for (const char c : piece.substr(3, 2)) {
        value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return static_cast<char>(value);
}

}  // namespace

SentencePieceEncoder::SentencePieceEncoder(SentencePieceModel model) {
    try {
        library_ = std::make_unique<Library>(model.bytes);
    } catch (const Error&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& failure) {
        fail(Status::kFormat, "tokenizer.model: SentencePiece: ", printable(failure.what(), 300));
    }
    make_vocabulary(model);
}

SentencePieceEncoder::~SentencePieceEncoder() = default;

void SentencePieceEncoder::make_vocabulary(const SentencePieceModel& model) {
    using Type = SentencePieceModel::Type;
    auto vocabulary = std::make_unique<Vocabulary>();
    std::vector<AddedToken> added;
    for (size_t id = 0; id < model.pieces.size(); ++id) {
        const SentencePieceModel::Piece& piece = model.pieces[id];
        const bool control = piece.type == Type::kControl;
        std::string bytes = with_spaces(piece.text);
        if (piece.type == Type::kByte) bytes = byte_of(piece.text);
        if (piece.type == Type::kUnknown) bytes = " \u2047 ";
        if (control) bytes = piece.text;
        vocabulary->bytes.push_back(bytes);
        vocabulary->flags.push_back(control ? Vocabulary::kControl | Vocabulary::kSpecial
                                            : Vocabulary::kMergeable);
        control_.push_back(control ? 1 : 0);
        spelling_.push_back(control ? piece.text : std::string());
        if (!control) continue;
        AddedToken token;
        token.id = static_cast<int32_t>(id);
        token.content = piece.text;
        added.push_back(std::move(token));
    }
    added_ = AddedTokens(std::move(added));
    vocabulary_ = std::move(vocabulary);
}

void SentencePieceEncoder::encode(std::string_view text, bool parse_special,
                                  std::vector<int32_t>& out) const {
    if (!parse_special) return encode_text(text, out);
    std::vector<AddedSplit> parts;
    added_.split(text, parts);
    for (const AddedSplit& part : parts) {
        if (part.id >= 0) {
            out.push_back(part.id);
        } else {
            encode_text(part.text, out);
        }
    }
}

void SentencePieceEncoder::encode_text(std::string_view text, std::vector<int32_t>& out) const {
    std::vector<int> ids;
    library_->encode(text, ids);
    out.insert(out.end(), ids.begin(), ids.end());
}

void SentencePieceEncoder::decode(std::span<const int32_t> ids, bool skip_special,
                                  std::string& out) const {
    std::vector<int> run;
    std::string text;
    const auto flush = [&] {
        if (run.empty()) return;
        library_->decode(run, text);
        append_lossy_utf8(text, out);
        run.clear();
    };
    for (const int32_t id : ids) {
        if (control_[static_cast<size_t>(id)] == 0) {
            run.push_back(id);
        } else if (!skip_special) {
            flush();
            append_lossy_utf8(spelling_[static_cast<size_t>(id)], out);
        }
    }
    flush();
}

int32_t SentencePieceEncoder::find(std::string_view bytes) const {
    const sentencepiece::SentencePieceProcessor& processor = library_->processor();
    const int id = processor.PieceToId(with_blanks(bytes));
    return processor.IsUnknown(id) || processor.IsControl(id) ? -1 : id;
}

int32_t SentencePieceEncoder::bos_id() const { return library_->processor().bos_id(); }
int32_t SentencePieceEncoder::eos_id() const { return library_->processor().eos_id(); }
int32_t SentencePieceEncoder::pad_id() const { return library_->processor().pad_id(); }

}  // namespace fathom
