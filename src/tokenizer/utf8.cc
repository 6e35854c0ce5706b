#include "tokenizer/utf8.h"

#include <cstring>

namespace fathom {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Lead {
    uint8_t bytes;        // of the whole character, 0 for a byte that starts none
    uint8_t second_low;   // bounds of the second byte: they exclude overlong forms,
    uint8_t second_high;  // surrogates and values above U+10FFFF
};

constexpr Lead classify_lead(unsigned char byte) {
    if (byte < 0x80) return {1, 0, 0};
    if (byte < 0xC2) return {0, 0, 0};
    if (byte < 0xE0) return {2, 0x80, 0xBF};
    if (byte == 0xE0) return {3, 0xA0, 0xBF};
    if (byte == 0xED) return {3, 0x80, 0x9F};
    if (byte < 0xF0) return {3, 0x80, 0xBF};
    if (byte == 0xF0) return {4, 0x90, 0xBF};
    if (byte < 0xF4) return {4, 0x80, 0xBF};
    if (byte == 0xF4) return {4, 0x80, 0x8F};
    return {0, 0, 0};
}

}  // namespace

Utf8Sequence utf8_sequence(std::string_view text) {
    using Kind = Utf8Sequence::Kind;
    const Lead lead = classify_lead(static_cast<unsigned char>(text[0]));
    if (lead.bytes == 0) return {Kind::kIllFormed, 1};
    for (uint8_t i = 1; i < lead.bytes; ++i) {
        if (i == text.size()) return {Kind::kIncomplete, i};
        const unsigned char byte = static_cast<unsigned char>(text[i]);
        const unsigned char low = i == 1 ? lead.second_low : 0x80;
        const unsigned char high = i == 1 ? lead.second_high : 0xBF;
        if (byte < low || byte > high) return {Kind::kIllFormed, i};
    }
    return {Kind::kWhole, lead.bytes};
}

size_t utf8_valid_prefix(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        while (text.size() - at >= 8) {
            uint64_t word;
            std::memcpy(&word, text.data() + at, sizeof word);
            if ((word & 0x8080808080808080u) != 0) break;
            at += 8;
        }
        if (at == text.size()) break;
        const Utf8Sequence sequence = utf8_sequence(text.substr(at));
        if (sequence.kind != Utf8Sequence::Kind::kWhole) break;
        at += sequence.bytes;
    }
    return at;
}

void append_utf8(char32_t c, std::string& out) {
    const auto tail = [&](char32_t bits) {
        out.push_back(static_cast<char>(0x80 | (bits & 0x3F)));
    };
    if (c < 0x80) {
        out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
        out.push_back(static_cast<char>(0xC0 | (c >> 6)));
        tail(c);
    } else if (c < 0x10000) {
        out.push_back(static_cast<char>(0xE0 | (c >> 12)));
        tail(c >> 6);
        tail(c);
    } else {
        out.push_back(static_cast<char>(0xF0 | (c >> 18)));
        tail(c >> 12);
        tail(c >> 6);
        tail(c);
    }
}

void append_lossy_utf8(std::string_view bytes, std::string& out) {
    while (!bytes.empty()) {
        const size_t valid = utf8_valid_prefix(bytes);
        out.append(bytes.substr(0, valid));
        bytes.remove_prefix(valid);
        if (bytes.empty()) return;
        out.append(kReplacement);
        bytes.remove_prefix(utf8_sequence(bytes).bytes);
    }
}

void Utf8Assembler::push(std::string_view bytes, std::string& out) {
    // Only while a character is open do bytes pass one by one through the small buffer.
    while (pending_bytes_ != 0 && !bytes.empty()) {
        pending_[pending_bytes_++] = bytes.front();
        const Utf8Sequence sequence = utf8_sequence({pending_, pending_bytes_});
        if (sequence.kind == Utf8Sequence::Kind::kIllFormed) {
            // The new byte does not continue the character: it is looked at again on its own.
            out.append(kReplacement);
            pending_bytes_ = 0;
            continue;
        }
        bytes.remove_prefix(1);
        if (sequence.kind == Utf8Sequence::Kind::kWhole) {
            out.append(pending_, pending_bytes_);
            pending_bytes_ = 0;
        }
    }
    while (!bytes.empty()) {
        const size_t valid = utf8_valid_prefix(bytes);
        out.append(bytes.substr(0, valid));
        bytes.remove_prefix(valid);
        if (bytes.empty()) return;
        const Utf8Sequence sequence = utf8_sequence(bytes);
        if (sequence.kind == Utf8Sequence::Kind::kIncomplete) {
            std::memcpy(pending_, bytes.data(), sequence.bytes);
            pending_bytes_ = sequence.bytes;
            return;
        }
        out.append(kReplacement);
        bytes.remove_prefix(sequence.bytes);
    }
}

void Utf8Assembler::finish(std::string& out) {
    if (pending_bytes_ != 0) out.append(kReplacement);
    pending_bytes_ = 0;
}

}  // namespace fathom
