// Any bytes: encoding never yields a control id, the bytes come back, and the ids are those of the
// plainest byte-pair encoding.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/bpe.h"
#include "tokenizer/deepseek_scanner.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

using namespace fathom;

namespace {

using Pair = std::pair<int32_t, int32_t>;

/// A vocabulary of the 256 bytes and a few hundred merges, made by a fixed rule.
struct Model {
    Vocabulary vocabulary;
    std::vector<BpeMerge> merges;
    std::map<Pair, uint32_t> ranks;

    Model() {
        std::vector<std::string> tokens;
        for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
        uint32_t state = 1;
        const auto next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
        while (merges.size() < 300) {
            // Mostly letters, blanks and the bytes of ideographs, and what was made before.
            const auto pick = [&]() -> int32_t {
                const uint32_t choice = next() % 4;
                if (choice == 0) return static_cast<int32_t>(next() % tokens.size());
                static constexpr std::string_view kCommon = "etaoin  \n\xE6\xBC\xA2";
                if (choice == 1) return static_cast<unsigned char>(kCommon[next() % 12]);
                const size_t made = tokens.size() - 256;
                return made == 0 ? 'e' : static_cast<int32_t>(256 + next() % made);
            };
            const int32_t left = pick();
            const int32_t right = pick();
            const std::string both =
                tokens[static_cast<size_t>(left)] + tokens[static_cast<size_t>(right)];
            bool known = both.size() > 16;
            for (const std::string& token : tokens) known |= token == both;
            if (known) continue;
            ranks[{left, right}] = static_cast<uint32_t>(merges.size());
            merges.push_back({left, right, static_cast<int32_t>(tokens.size())});
            tokens.push_back(both);
        }
        for (const std::string& token : tokens) {
            vocabulary.bytes.push_back(token);
            vocabulary.flags.push_back(Vocabulary::kMergeable);
        }
        // One result of merging is a control token as well.
        vocabulary.flags[300] |= Vocabulary::kControl;
    }
};

std::vector<int32_t> oracle(const Model& model, std::string_view piece) {
    std::vector<int32_t> ids;
    for (const char c : piece) ids.push_back(static_cast<unsigned char>(c));
    for (;;) {
        size_t best = ids.size();
        uint32_t best_rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < ids.size(); ++i) {
            const auto found = model.ranks.find({ids[i], ids[i + 1]});
            if (found == model.ranks.end() || found->second >= best_rank) continue;
            best_rank = found->second;
            best = i;
        }
        if (best == ids.size()) break;
        ids[best] = model.merges[best_rank].result;
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    return ids;
}

void require(bool holds) {
    if (!holds) __builtin_trap();
}

void check_scanner(const Scanner& scanner, std::string_view text) {
    std::vector<Piece> pieces;
    scanner.scan(text, pieces);
    uint32_t end = 0;
    for (const Piece piece : pieces) {
        require(piece.begin == end && piece.end > piece.begin);
        end = piece.end;
        // A piece begins and ends between characters.
        require((static_cast<unsigned char>(text[piece.begin]) & 0xC0) != 0x80);
    }
    require(end == text.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
    static const Model* const model = new Model();
    static const Bpe* const bpe =
        new Bpe(model->vocabulary, TokenIndex(model->vocabulary), model->merges, false);
    static const DeepSeekV3Scanner* const v3 = new DeepSeekV3Scanner();
    static const DeepSeekV2Scanner* const v2 = new DeepSeekV2Scanner();
    const std::string_view text(reinterpret_cast<const char*>(data), bytes);

    const std::string_view valid = text.substr(0, utf8_valid_prefix(text));
    if (!valid.empty()) {
        check_scanner(*v3, valid);
        check_scanner(*v2, valid);
    }
    if (text.empty()) return 0;
    std::vector<int32_t> ids;
    bpe->encode(text, ids);
    std::string joined;
    for (const int32_t id : ids) {
        require(!model->vocabulary.has(id, Vocabulary::kControl));
        joined += model->vocabulary.bytes[id];
    }
    require(joined == text);
    if (text.size() <= 200) {
        std::vector<int32_t> wanted;
        for (const int32_t id : oracle(*model, text)) {
            if (id == 300) {
                wanted.push_back(model->merges[300 - 256].left);
                wanted.push_back(model->merges[300 - 256].right);
            } else {
                wanted.push_back(id);
            }
        }
        require(ids == wanted);
    }
    return 0;
}
