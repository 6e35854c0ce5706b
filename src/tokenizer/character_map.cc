#include <cstring>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "tokenizer/sentencepiece_model.h"

namespace fathom {
namespace {

constexpr size_t kPrefixesMax = 32;        // results that the library has room for
constexpr size_t kReplacementBytes = 128;  // 18 characters are the longest of Unicode's own

template <typename... Parts>
[[noreturn]] void bad(const Parts&... parts) {
    fail(Status::kFormat, "tokenizer.model: character map: ", parts...);
}

/// One unit of the double array (darts-clone): bits 0 to 7 and 31 label, 8 leaf, 9 to 30 offset;
/// a leaf's value in bits 0 to 30.
struct Unit {
    uint32_t bits;
    bool has_leaf() const { return ((bits >> 8) & 1) != 0; }
    uint32_t value() const { return bits & ((1u << 31) - 1); }
    uint32_t label() const { return bits & ((1u << 31) | 0xFF); }
    uint32_t offset() const { return (bits >> 10) << ((bits & (1u << 9)) >> 6); }
};

/// Walks every path that a text could take, with a stack of its own, and counts the results on it.
class TrieCheck {
public:
    TrieCheck(std::string_view units, std::string_view texts)
        : units_(units), texts_(texts), prefixes_(units.size() / 4, kNew) {}

    void run() {
        enter(unit(0).offset());
        while (!path_.empty()) {
            Step& step = path_.back();
            if (step.label == 256) {
                leave();
                continue;
            }
            const uint32_t label = step.label++;
            const uint32_t position = step.base ^ label;
            const Unit child = unit(position);
            if (child.label() != label) continue;
            const uint32_t base = position ^ child.offset();
            const uint8_t leaf = child.has_leaf() ? check_leaf(base) : uint8_t{0};
            step.leaf = leaf;
            if (prefixes_at(base) == kOpen) bad("found a path that leads back to itself");
            if (prefixes_at(base) == kNew) {
                enter(base);
            } else {
                add(step, prefixes_at(base));
            }
        }
    }

private:
    static constexpr uint8_t kNew = 255;
    static constexpr uint8_t kOpen = 254;

    /// A node on the path from the root: children are at base ^ label.
    struct Step {
        uint32_t base;
        uint32_t label;    // next to look at
        uint8_t leaf;      // 1 if the child at hand ends a key
        uint8_t prefixes;  // most results below, so far
    };

    Unit unit(uint32_t position) const {
        Unit out;
        std::memcpy(&out.bits, units_.data() + size_t{position} * 4, 4);
        return out;
    }

    uint8_t& prefixes_at(uint32_t base) {
        // The library looks at base ^ c for every byte c of a text before it knows the label.
        if ((size_t{base} | 255) >= prefixes_.size()) {
            bad("found offset ", base, ", wanted less than ", prefixes_.size(),
                " with all children");
        }
        return prefixes_[base];
    }

    void enter(uint32_t base) {
        prefixes_at(base) = kOpen;
        path_.push_back({base, 0, 0, 0});
    }

    void leave() {
        const Step done = path_.back();
        path_.pop_back();
        prefixes_[done.base] = done.prefixes;
        if (!path_.empty()) add(path_.back(), done.prefixes);
    }

    void add(Step& step, uint8_t below) {
        const size_t prefixes = size_t{step.leaf} + below;
        if (prefixes > kPrefixesMax) bad("found more than 32 keys that begin each other");
        if (prefixes > step.prefixes) step.prefixes = static_cast<uint8_t>(prefixes);
    }

    uint8_t check_leaf(uint32_t base) {
        prefixes_at(base);
        const size_t value = unit(base).value();
        if (value >= texts_.size()) {
            bad("found a replacement at ", value, " of ", texts_.size(), " bytes");
        }
        const size_t bytes = texts_.find('\0', value) - value;
        if (bytes > kReplacementBytes) {
            bad("found a replacement of ", bytes, " bytes, wanted at most ", kReplacementBytes);
        }
        return 1;
    }

    std::string_view units_;
    std::string_view texts_;
    std::vector<uint8_t> prefixes_;  // [base] most results below, or kNew or kOpen
    std::vector<Step> path_;
};

}  // namespace

void check_character_map(std::string_view blob) {
    uint32_t trie_bytes = 0;
    if (blob.size() < sizeof trie_bytes) bad("found ", blob.size(), " bytes, wanted 4 or more");
    std::memcpy(&trie_bytes, blob.data(), sizeof trie_bytes);
    blob.remove_prefix(sizeof trie_bytes);
    if (trie_bytes < 1024 || trie_bytes % 1024 != 0 || trie_bytes >= blob.size()) {
        bad("found a trie of ", trie_bytes, " of ", blob.size(),
            " bytes, wanted a multiple of 1024 and text behind it");
    }
    if (blob.back() != '\0') bad("found no NUL at its end");
    TrieCheck(blob.substr(0, trie_bytes), blob.substr(trie_bytes)).run();
}

}  // namespace fathom
