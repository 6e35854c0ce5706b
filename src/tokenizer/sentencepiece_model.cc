#include "tokenizer/sentencepiece_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "tokenizer/tokenizer_json.h"

namespace fathom {
namespace {

constexpr size_t kPieceBytesMax = 4096;

template <typename... Parts>
[[noreturn]] void bad(size_t offset, const Parts&... parts) {
    fail(Status::kFormat, "tokenizer.model: offset ", offset, ": ", parts...);
}

/// The fields of one protobuf message, one after the other. No recursion: the caller reads inner
/// messages with readers of their own, and groups, which could nest, are refused.
class ProtoReader {
public:
    ProtoReader(std::string_view file, size_t begin, size_t end)
        : file_(file), at_(begin), end_(end) {}

    /// Advances to the next field; false at the end of the message.
    bool next() {
        if (at_ == end_) return false;
        const uint64_t key = varint();
        const uint64_t number = key >> 3;
        if (number == 0 || number > UINT32_MAX) bad(at_, "found field number ", number);
        field_ = static_cast<uint32_t>(number);
        wire_ = static_cast<uint32_t>(key & 7);
        offset_ = at_;
        switch (wire_) {
            case 0: value_ = varint(); break;
            case 1: skip(8); break;
            case 2: {
                const uint64_t bytes = varint();
                offset_ = at_;
                skip(bytes);
                break;
            }
            case 5: skip(4); break;
            default: bad(at_, "found wire type ", wire_, ", wanted 0, 1, 2 or 5");
        }
        return true;
    }

    uint32_t field() const { return field_; }
    size_t offset() const { return offset_; }  // of the value

    uint64_t number() const {
        require(0);
        return value_;
    }
    std::string_view bytes() const {
        require(2);
        return file_.substr(offset_, at_ - offset_);
    }
    ProtoReader message() const {
        require(2);
        return ProtoReader(file_, offset_, at_);
    }
    float real() const {
        require(5);
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; ++i) {
            bits |= uint32_t{static_cast<unsigned char>(file_[offset_ + i])} << (8 * i);
        }
        return std::bit_cast<float>(bits);
    }

private:
    uint64_t varint() {
        uint64_t value = 0;
        for (int shift = 0;; shift += 7) {
            if (at_ == end_) bad(at_, "found the end of a message inside a number");
            const uint64_t byte = static_cast<unsigned char>(file_[at_++]);
            if (shift == 63 && byte > 1) bad(at_ - 1, "found a number of more than 64 bits");
            value |= (byte & 127) << shift;
            if (byte < 128) return value;
        }
    }

    void skip(uint64_t bytes) {
        if (bytes > end_ - at_) {
            bad(at_, "found a field of ", bytes, " bytes, only ", end_ - at_, " are left");
        }
        at_ += bytes;
    }

    void require(uint32_t wire) const {
        if (wire_ == wire) return;
        bad(offset_, "field ", field_, ": found wire type ", wire_, ", wanted ", wire);
    }

    std::string_view file_;
    size_t at_;
    size_t end_;
    uint32_t field_ = 0;
    uint32_t wire_ = 0;
    size_t offset_ = 0;
    uint64_t value_ = 0;
};

/// White space cannot spell a role, and models with such symbols need them for ordinary text.
bool is_white(std::string_view text) {
    static constexpr std::string_view kBlank = "\u2581";
    while (!text.empty()) {
        if (text.starts_with(kBlank)) {
            text.remove_prefix(kBlank.size());
        } else if (std::string_view(" \t\r\n").find(text[0]) != std::string_view::npos) {
            text.remove_prefix(1);
        } else {
            return false;
        }
    }
    return true;
}

class ModelReader {
public:
    explicit ModelReader(std::string bytes) { model_.bytes = std::move(bytes); }

    SentencePieceModel run() {
        ProtoReader reader(model_.bytes, 0, model_.bytes.size());
        while (reader.next()) {
            switch (reader.field()) {
                case 1: piece(reader.message()); break;
                case 2: trainer(reader.message()); break;
                case 3:
                case 5: normalizer(reader.message()); break;
                default: break;
            }
        }
        check_pieces();
        return std::move(model_);
    }

private:
    using Type = SentencePieceModel::Type;

    void piece(ProtoReader reader) {
        SentencePieceModel::Piece out;
        const size_t begin = reader.offset();
        size_t type_offset = 0;
        while (reader.next()) {
            if (reader.field() == 1) out.text = reader.bytes();
            if (reader.field() == 2 && !std::isfinite(reader.real())) {
                bad(reader.offset(), "piece ", model_.pieces.size(),
                    ": found a score that is not "
                    "finite");
            }
            if (reader.field() != 3) continue;
            const uint64_t type = reader.number();
            if (type < 1 || type > 6) {
                bad(reader.offset(), "piece ", model_.pieces.size(), ": found type ", type,
                    ", wanted 1 to 6");
            }
            out.type = static_cast<Type>(type);
            type_offset = reader.offset();
        }
        const size_t size = out.text.size();
        if (size == 0 || size > kPieceBytesMax || out.text.find('\0') != out.text.npos) {
            bad(begin, "piece ", model_.pieces.size(), ": found ", size, " bytes, wanted 1 to ",
                kPieceBytesMax, " without NUL");
        }
        if (out.type == Type::kUserDefined && !is_white(out.text)) {
            out.type = Type::kControl;
            char& byte = model_.bytes[type_offset];
            byte = static_cast<char>((byte & 0x80) | static_cast<char>(Type::kControl));
        }
        model_.pieces.push_back(std::move(out));
        if (model_.pieces.size() > kTokenIdMax) {
            bad(begin, "found more than ", kTokenIdMax, " pieces");
        }
    }

    void trainer(ProtoReader reader) {
        while (reader.next()) {
            if (reader.field() != 3) continue;
            const uint64_t type = reader.number();
            is_bpe_ = type == 2;
            if (type == 1 || type == 2) continue;
            fail(Status::kUnsupported, "tokenizer.model: found model type ", type,
                 ", wanted 1 (unigram) or 2 (BPE)");
        }
    }

    void normalizer(ProtoReader reader) {
        while (reader.next()) {
            if (reader.field() != 2 || reader.bytes().empty()) continue;
            check_character_map(reader.bytes());
        }
    }

    void check_pieces() {
        size_t n_unknown = 0;
        std::vector<std::string_view> texts;
        for (const SentencePieceModel::Piece& piece : model_.pieces) {
            n_unknown += piece.type == Type::kUnknown ? 1 : 0;
            if (piece.type == Type::kUnused && is_bpe_) {
                fail(Status::kUnsupported, "tokenizer.model: found the unused piece '",
                     printable(piece.text), "' in a BPE model");
            }
            texts.push_back(piece.text);
        }
        if (n_unknown != 1) {
            fail(Status::kFormat, "tokenizer.model: found ", n_unknown,
                 " unknown pieces, wanted one");
        }
        std::sort(texts.begin(), texts.end());
        const auto twice = std::adjacent_find(texts.begin(), texts.end());
        if (twice == texts.end()) return;
        fail(Status::kFormat, "tokenizer.model: found the piece '", printable(*twice),
             "' twice, wanted once");
    }

    SentencePieceModel model_;
    bool is_bpe_ = false;
};

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string bytes) {
    return ModelReader(std::move(bytes)).run();
}

}  // namespace fathom
