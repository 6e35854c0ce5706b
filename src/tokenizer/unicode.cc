#include "tokenizer/unicode.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <utf8proc.h>

#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"

namespace fathom {
namespace {

struct Range {
    char32_t first;
    char32_t last;
    char category[3];
};

// Characters assigned by Unicode 15.0, 15.1 and 16.0. utf8proc 2.8 knows 15.0 and PCRE2 10.42 knows
// 14.0; with a newer library these entries merely repeat what it says.
constexpr Range kYounger[] = {
    {0x00897, 0x00897, "Mn"}, {0x00CF3, 0x00CF3, "Mc"}, {0x00ECE, 0x00ECE, "Mn"},
    {0x01B4E, 0x01B4F, "Po"}, {0x01B7F, 0x01B7F, "Po"}, {0x01C89, 0x01C89, "Lu"},
    {0x01C8A, 0x01C8A, "Ll"}, {0x02427, 0x02429, "So"}, {0x02FFC, 0x02FFF, "So"},
    {0x031E4, 0x031E5, "So"}, {0x031EF, 0x031EF, "So"}, {0x0A7CB, 0x0A7CC, "Lu"},
    {0x0A7CD, 0x0A7CD, "Ll"}, {0x0A7DA, 0x0A7DA, "Lu"}, {0x0A7DB, 0x0A7DB, "Ll"},
    {0x0A7DC, 0x0A7DC, "Lu"}, {0x105C0, 0x105F3, "Lo"}, {0x10D40, 0x10D49, "Nd"},
    {0x10D4A, 0x10D4D, "Lo"}, {0x10D4E, 0x10D4E, "Lm"}, {0x10D4F, 0x10D4F, "Lo"},
    {0x10D50, 0x10D65, "Lu"}, {0x10D69, 0x10D6D, "Mn"}, {0x10D6E, 0x10D6E, "Pd"},
    {0x10D6F, 0x10D6F, "Lm"}, {0x10D70, 0x10D85, "Ll"}, {0x10D8E, 0x10D8F, "Sm"},
    {0x10EC2, 0x10EC4, "Lo"}, {0x10EFC, 0x10EFF, "Mn"}, {0x1123F, 0x11240, "Lo"},
    {0x11241, 0x11241, "Mn"}, {0x11380, 0x11389, "Lo"}, {0x1138B, 0x1138B, "Lo"},
    {0x1138E, 0x1138E, "Lo"}, {0x11390, 0x113B5, "Lo"}, {0x113B7, 0x113B7, "Lo"},
    {0x113B8, 0x113BA, "Mc"}, {0x113BB, 0x113C0, "Mn"}, {0x113C2, 0x113C2, "Mc"},
    {0x113C5, 0x113C5, "Mc"}, {0x113C7, 0x113CA, "Mc"}, {0x113CC, 0x113CD, "Mc"},
    {0x113CE, 0x113CE, "Mn"}, {0x113CF, 0x113CF, "Mc"}, {0x113D0, 0x113D0, "Mn"},
    {0x113D1, 0x113D1, "Lo"}, {0x113D2, 0x113D2, "Mn"}, {0x113D3, 0x113D3, "Lo"},
    {0x113D4, 0x113D5, "Po"}, {0x113D7, 0x113D8, "Po"}, {0x113E1, 0x113E2, "Mn"},
    {0x116D0, 0x116E3, "Nd"}, {0x11B00, 0x11B09, "Po"}, {0x11BC0, 0x11BE0, "Lo"},
    {0x11BE1, 0x11BE1, "Po"}, {0x11BF0, 0x11BF9, "Nd"}, {0x11F00, 0x11F01, "Mn"},
    {0x11F02, 0x11F02, "Lo"}, {0x11F03, 0x11F03, "Mc"}, {0x11F04, 0x11F10, "Lo"},
    {0x11F12, 0x11F33, "Lo"}, {0x11F34, 0x11F35, "Mc"}, {0x11F36, 0x11F3A, "Mn"},
    {0x11F3E, 0x11F3F, "Mc"}, {0x11F40, 0x11F40, "Mn"}, {0x11F41, 0x11F41, "Mc"},
    {0x11F42, 0x11F42, "Mn"}, {0x11F43, 0x11F4F, "Po"}, {0x11F50, 0x11F59, "Nd"},
    {0x11F5A, 0x11F5A, "Mn"}, {0x1342F, 0x1342F, "Lo"}, {0x13439, 0x1343F, "Cf"},
    {0x13440, 0x13440, "Mn"}, {0x13441, 0x13446, "Lo"}, {0x13447, 0x13455, "Mn"},
    {0x13460, 0x143FA, "Lo"}, {0x16100, 0x1611D, "Lo"}, {0x1611E, 0x16129, "Mn"},
    {0x1612A, 0x1612C, "Mc"}, {0x1612D, 0x1612F, "Mn"}, {0x16130, 0x16139, "Nd"},
    {0x16D40, 0x16D42, "Lm"}, {0x16D43, 0x16D6A, "Lo"}, {0x16D6B, 0x16D6C, "Lm"},
    {0x16D6D, 0x16D6F, "Po"}, {0x16D70, 0x16D79, "Nd"}, {0x18CFF, 0x18CFF, "Lo"},
    {0x1B132, 0x1B132, "Lo"}, {0x1B155, 0x1B155, "Lo"}, {0x1CC00, 0x1CCEF, "So"},
    {0x1CCF0, 0x1CCF9, "Nd"}, {0x1CD00, 0x1CEB3, "So"}, {0x1D2C0, 0x1D2D3, "No"},
    {0x1DF25, 0x1DF2A, "Ll"}, {0x1E030, 0x1E06D, "Lm"}, {0x1E08F, 0x1E08F, "Mn"},
    {0x1E4D0, 0x1E4EA, "Lo"}, {0x1E4EB, 0x1E4EB, "Lm"}, {0x1E4EC, 0x1E4EF, "Mn"},
    {0x1E4F0, 0x1E4F9, "Nd"}, {0x1E5D0, 0x1E5ED, "Lo"}, {0x1E5EE, 0x1E5EF, "Mn"},
    {0x1E5F0, 0x1E5F0, "Lo"}, {0x1E5F1, 0x1E5FA, "Nd"}, {0x1E5FF, 0x1E5FF, "Po"},
    {0x1F6DC, 0x1F6DC, "So"}, {0x1F774, 0x1F776, "So"}, {0x1F77B, 0x1F77F, "So"},
    {0x1F7D9, 0x1F7D9, "So"}, {0x1F8B2, 0x1F8BB, "So"}, {0x1F8C0, 0x1F8C1, "So"},
    {0x1FA75, 0x1FA77, "So"}, {0x1FA87, 0x1FA89, "So"}, {0x1FA8F, 0x1FA8F, "So"},
    {0x1FAAD, 0x1FAAF, "So"}, {0x1FABB, 0x1FABF, "So"}, {0x1FAC6, 0x1FAC6, "So"},
    {0x1FACE, 0x1FACF, "So"}, {0x1FADA, 0x1FADC, "So"}, {0x1FADF, 0x1FADF, "So"},
    {0x1FAE8, 0x1FAE9, "So"}, {0x1FAF7, 0x1FAF8, "So"}, {0x1FBCB, 0x1FBEF, "So"},
    {0x2B739, 0x2B739, "Lo"}, {0x2EBF0, 0x2EE5D, "Lo"}, {0x31350, 0x323AF, "Lo"},
};

const Range* find_younger(char32_t c) {
    const Range* const found =
        std::lower_bound(std::begin(kYounger), std::end(kYounger), c,
                         [](const Range& range, char32_t value) { return range.last < value; });
    return found != std::end(kYounger) && found->first <= c ? found : nullptr;
}

/// Other_Alphabetic that is neither a letter nor a mark: circled and squared Latin letters.
bool is_enclosed_letter(char32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace

char category_class(char32_t c) {
    const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (category == UTF8PROC_CATEGORY_CN) {
        const Range* const younger = find_younger(c);
        return younger != nullptr ? younger->category[0] : 'C';
    }
    // In the order of utf8proc's enumeration.
    static constexpr char kClasses[] = "CLLLLLMMMNNNPPPPPPPSSSSZZZCCCC";
    return kClasses[category];
}

bool is_white_space(char32_t c) {
    if (c <= 0xFF) return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xA0;
    return category_class(c) == 'Z';
}

bool is_word_character(char32_t c) {
    const char kind = category_class(c);
    if (kind == 'L' || kind == 'M') return true;
    const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (kind == 'N') return category != UTF8PROC_CATEGORY_NO;
    return category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D || is_enclosed_letter(c);
}

bool is_numeric(char32_t c) {
    if (c < 0x80) return c >= '0' && c <= '9';
    if (category_class(c) == 'N') return true;
    return (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
}

std::string younger_ranges(std::string_view name) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    const auto append_escape = [](std::string& out, char32_t c) {
        out.append("\\x{");
        for (int shift = 16; shift >= 0; shift -= 4) out.push_back(kHex[(c >> shift) & 15]);
        out.push_back('}');
    };
    std::string out;
    for (const Range& range : kYounger) {
        if (!std::string_view(range.category).starts_with(name)) continue;
        append_escape(out, range.first);
        if (range.last == range.first) continue;
        out.push_back('-');
        append_escape(out, range.last);
    }
    return out;
}

std::string normalize(std::string_view text, NormalForm form) {
    int options = UTF8PROC_STABLE;
    const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
    options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) options |= UTF8PROC_COMPAT;
    utf8proc_uint8_t* mapped = nullptr;
    const utf8proc_ssize_t bytes =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                     static_cast<utf8proc_option_t>(options));
    if (bytes == UTF8PROC_ERROR_NOMEM) fail(Status::kNoMemory, "normalizer: out of memory");
    if (bytes < 0) {
        fail(Status::kInvalidArgument, "normalizer: text of ", text.size(),
             " bytes: ", utf8proc_errmsg(bytes));
    }
    std::string out(reinterpret_cast<const char*>(mapped), static_cast<size_t>(bytes));
    std::free(mapped);
    return out;
}

CharTable::CharTable(Classify classify, const void* context) {
    std::array<uint8_t, 256> page;
    for (size_t number = 0; number < pages_.size(); ++number) {
        // Between the ideographs of plane 3 and the tags of plane 14, and after these, no character
        // is assigned but private ones: one page serves for all, which is most of the time saved.
        const bool vacant = number >= 0x324 && number != 0xE00 && number != 0xE01;
        if (vacant && number > 0x324) {
            pages_[number] = pages_[number == 0xE02 ? 0x324 : number - 1];
            continue;
        }
        for (size_t i = 0; i < page.size(); ++i) {
            page[i] = classify(static_cast<char32_t>((number << 8) | i), context);
        }
        size_t stored = 0;
        while (stored < bytes_.size() &&
               std::memcmp(bytes_.data() + stored, page.data(), page.size()) != 0) {
            stored += page.size();
        }
        if (stored == bytes_.size()) bytes_.insert(bytes_.end(), page.begin(), page.end());
        pages_[number] = static_cast<uint16_t>(stored >> 8);
    }
}

}  // namespace fathom
