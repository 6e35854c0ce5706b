#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <iterator>
#include <utility>

#include "base/status.h"
#include "tokenizer/hash_table.h"

namespace fathom {
namespace {

// Up to here passes over the pairs beat a heap. A byte without a token becomes three symbols.
constexpr size_t kShortBytes = 128;
// From here on the table of one bucket per rank is worth filling.
constexpr size_t kBucketBytes = 4096;
constexpr uint32_t kNone = UINT32_MAX;

// A slot of the table of merges: a rank below, and above it bits of the pair's hash, so that most
// pairs that do not merge are told by one word. Small enough to stay in the second-level cache.
constexpr uint32_t kRankMask = (1 << 22) - 1;

uint64_t hash_pair(int32_t left, int32_t right) {
    return mix((static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) |
               static_cast<uint32_t>(right));
}

uint32_t slot_tag(int32_t left, int32_t right) {
    return static_cast<uint32_t>(hash_pair(left, right) >> 32) & ~kRankMask;
}

}  // namespace

Bpe::Bpe(const Vocabulary& vocabulary, TokenIndex index, std::vector<BpeMerge> merges,
         bool ignore_merges)
    : vocabulary_(vocabulary), index_(std::move(index)), merges_(std::move(merges)) {
    build_bytes();
    build_merges();
    check_order();
    build_whole(ignore_merges);
}

void Bpe::build_bytes() {
    for (int byte = 0; byte < 256; ++byte) {
        const char c = static_cast<char>(byte);
        byte_tokens_[byte] = index_.find({&c, 1});
        if (!vocabulary_.has(byte_tokens_[byte], Vocabulary::kControl)) continue;
        fail(Status::kFormat, "tokenizer.json: added_tokens: found id ", byte_tokens_[byte],
             ", the only spelling of byte ", byte, ", wanted a token that no text needs");
    }
    static constexpr unsigned char kReplacement[] = {0xEF, 0xBF, 0xBD};
    for (int i = 0; i < 3; ++i) replacement_[i] = byte_tokens_[kReplacement[i]];
    const bool complete = std::find(byte_tokens_, byte_tokens_ + 256, -1) == byte_tokens_ + 256;
    symbols_per_byte_ = complete ? 1 : 3;
}

void Bpe::build_merges() {
    slots_.resize(table_size(merges_.size()), kNoRank);
    for (uint32_t rank = 0; rank < merges_.size(); ++rank) {
        const BpeMerge& merge = merges_[rank];
        // Of a pair that is listed twice the reference keeps the last rank.
        slots_[find_slot(merge.left, merge.right)] = slot_tag(merge.left, merge.right) | rank;
    }
    byte_ranks_.resize(256 * 256, kNoRank);
    for (size_t pair = 0; pair < byte_ranks_.size(); ++pair) {
        const int32_t left = byte_tokens_[pair >> 8];
        const int32_t right = byte_tokens_[pair & 255];
        if (left >= 0 && right >= 0) byte_ranks_[pair] = find_rank(left, right);
    }
}

void Bpe::check_order() {
    std::vector<uint32_t> made(static_cast<size_t>(vocabulary_.size()), 0);  // highest rank + 1
    for (uint32_t rank = 0; rank < merges_.size(); ++rank) {
        made[static_cast<size_t>(merges_[rank].result)] = rank + 1;
    }
    for (const uint32_t slot : slots_) {
        if (slot == kNoRank) continue;
        const uint32_t rank = slot & kRankMask;
        const BpeMerge& merge = merges_[rank];
        const uint32_t needed =
            std::max(made[static_cast<size_t>(merge.left)], made[static_cast<size_t>(merge.right)]);
        if (needed > rank) ordered_ = false;
    }
}

// Not every token is what its own bytes are encoded as: an earlier merge may cut across. Such a
// token must not be found by the short cut for whole pieces, nor may a control token.
void Bpe::build_whole(bool ignore_merges) {
    whole_.assign(static_cast<size_t>(vocabulary_.size()), 0);
    bool any_control = false;
    std::vector<int32_t> ids;
    for (int32_t id = 0; id < vocabulary_.size(); ++id) {
        if (!vocabulary_.has(id, Vocabulary::kMergeable)) continue;
        if (vocabulary_.has(id, Vocabulary::kControl)) {
            any_control = true;
            continue;
        }
        const std::string_view bytes = vocabulary_.bytes[id];
        ids.clear();
        if (!ignore_merges) encode_merging(bytes, ids);
        whole_[static_cast<size_t>(id)] = ignore_merges || (ids.size() == 1 && ids[0] == id);
    }
    if (!any_control) return;
    makers_.assign(static_cast<size_t>(vocabulary_.size()), kNoRank);
    for (uint32_t rank = 0; rank < merges_.size(); ++rank) {
        makers_[static_cast<size_t>(merges_[rank].result)] = rank;
    }
}

// Text may spell a control token that is also an ordinary result of merging. It then comes out as
// the two tokens of that merge, which may be control tokens in turn but are shorter.
void Bpe::split_control_tokens(size_t first, std::vector<int32_t>& ids) const {
    const auto from = ids.begin() + static_cast<std::ptrdiff_t>(first);
    std::vector<int32_t> open(std::make_reverse_iterator(ids.end()),
                              std::make_reverse_iterator(from));  // a stack, first id on top
    ids.erase(from, ids.end());
    while (!open.empty()) {
        const int32_t id = open.back();
        open.pop_back();
        if (!vocabulary_.has(id, Vocabulary::kControl)) {
            ids.push_back(id);
            continue;
        }
        const BpeMerge& merge = merges_[makers_[static_cast<size_t>(id)]];
        open.push_back(merge.right);
        open.push_back(merge.left);
    }
}

inline size_t Bpe::find_slot(int32_t left, int32_t right) const {
    const uint32_t tag = slot_tag(left, right);
    size_t index = static_cast<size_t>(hash_pair(left, right));
    for (;; ++index) {
        index &= slots_.size() - 1;
        const uint32_t slot = slots_[index];
        if (slot == kNoRank) return index;
        if ((slot & ~kRankMask) != tag) continue;
        const BpeMerge& merge = merges_[slot & kRankMask];
        if (merge.left == left && merge.right == right) return index;
    }
}

inline uint32_t Bpe::find_rank(int32_t left, int32_t right) const {
    const uint32_t slot = slots_[find_slot(left, right)];
    return slot == kNoRank ? kNoRank : slot & kRankMask;
}

/// Ranks of the pairs of a piece that is still single bytes.
void Bpe::start_ranks(std::string_view piece, std::span<const int32_t> symbols,
                      uint32_t* ranks) const {
    if (symbols.empty()) return;
    ranks[symbols.size() - 1] = kNoRank;
    if (symbols.size() == piece.size()) {
        const auto* const bytes = reinterpret_cast<const unsigned char*>(piece.data());
        for (size_t i = 0; i + 1 < piece.size(); ++i) {
            ranks[i] = byte_ranks_[(size_t{bytes[i]} << 8) | bytes[i + 1]];
        }
        return;
    }
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        ranks[i] = find_rank(symbols[i], symbols[i + 1]);
    }
}

size_t Bpe::symbols_of(std::string_view piece, int32_t* symbols) const {
    size_t count = 0;
    for (const char c : piece) {
        const int32_t id = byte_tokens_[static_cast<unsigned char>(c)];
        if (id >= 0) {
            symbols[count++] = id;
            continue;
        }
        // A vocabulary without the bytes of U+FFFD has nothing to stand for the byte.
        for (const int32_t part : replacement_) {
            if (part >= 0) symbols[count++] = part;
        }
    }
    return count;
}

void Bpe::encode(std::string_view piece, std::vector<int32_t>& out) const {
    const int32_t whole = index_.find(piece);
    if (whole >= 0 && whole_[static_cast<size_t>(whole)] != 0) {
        out.push_back(whole);
        return;
    }
    const size_t first = out.size();
    encode_merging(piece, out);
    if (!makers_.empty()) split_control_tokens(first, out);
}

void Bpe::encode_merging(std::string_view piece, std::vector<int32_t>& out) const {
    if (piece.size() <= kShortBytes) {
        encode_short(piece, out);
    } else if (piece.size() >= kBucketBytes && ordered_) {
        encode_buckets(piece, out);
    } else {
        encode_heap(piece, out);
    }
}

// Merges the pairs of the lowest rank, the first of which is at `first`, from left to right and
// closes the gaps; the new count. With merges in order that is the same as one at a time, because
// what a pass makes ranks behind it. ranks[i] is that of the pair (i, i + 1), kNoRank at the end.
inline size_t Bpe::merge_pass(size_t first, std::span<int32_t> symbols, uint32_t* ranks) const {
    const uint32_t lowest = ranks[first];
    const int32_t result = merges_[lowest].result;
    const size_t count = symbols.size();
    size_t kept = first;
    size_t i = first;
    bool stop = false;
    const auto link = [&] {
        if (kept > 0) ranks[kept - 1] = find_rank(symbols[kept - 1], symbols[kept]);
    };
    while (i < count) {
        symbols[kept] = result;
        link();
        ++kept;
        i += 2;
        if (i >= count) break;
        stop = !ordered_;
        if (ranks[i] == lowest && !stop) continue;
        symbols[kept] = symbols[i];
        link();
        for (++kept, ++i; i < count && (ranks[i] != lowest || stop); ++kept, ++i) {
            symbols[kept] = symbols[i];
            ranks[kept - 1] = ranks[i - 1];
        }
    }
    ranks[kept - 1] = kNoRank;
    return kept;
}

void Bpe::encode_short(std::string_view piece, std::vector<int32_t>& out) const {
    int32_t symbols[kShortBytes * 3];
    uint32_t ranks[kShortBytes * 3];  // of the pair (i, i + 1)
    size_t count = symbols_of(piece, symbols);
    start_ranks(piece, {symbols, count}, ranks);
    while (count > 1) {
        size_t first = 0;
        for (size_t i = 1; i + 1 < count; ++i) first = ranks[i] < ranks[first] ? i : first;
        if (ranks[first] == kNoRank) break;
        count = merge_pass(first, {symbols, count}, ranks);
    }
    out.insert(out.end(), symbols, symbols + count);
}

/// The symbols of a long piece as a list, with the rank of the pair that begins at each.
class Bpe::Chain {
public:
    Chain(const Bpe& bpe, std::string_view piece) : bpe_(bpe) {
        symbols_.resize(piece.size() * bpe.symbols_per_byte_);
        const size_t count = bpe.symbols_of(piece, symbols_.data());
        symbols_.resize(count);
        next_.resize(count);
        previous_.resize(count);
        ranks_.resize(count);
        for (uint32_t i = 0; i < count; ++i) {
            next_[i] = i + 1 < count ? i + 1 : kNone;
            previous_[i] = i - 1;  // kNone for the first
        }
        bpe.start_ranks(piece, symbols_, ranks_.data());
    }

    uint32_t size() const { return static_cast<uint32_t>(symbols_.size()); }
    uint32_t rank(uint32_t at) const { return ranks_[at]; }
    uint32_t previous(uint32_t at) const { return previous_[at]; }

    /// Merges the pair that begins at `at`; the ranks at `at` and previous(at) change.
    void merge(uint32_t at) {
        const uint32_t removed = next_[at];
        symbols_[at] = bpe_.merges_[ranks_[at]].result;
        next_[at] = next_[removed];
        if (next_[at] != kNone) previous_[next_[at]] = at;
        ranks_[removed] = kNoRank;
        update(at);
        if (previous_[at] != kNone) update(previous_[at]);
    }

    void append_to(std::vector<int32_t>& out) const {
        for (uint32_t at = symbols_.empty() ? kNone : 0; at != kNone; at = next_[at]) {
            out.push_back(symbols_[at]);
        }
    }

private:
    void update(uint32_t at) {
        const uint32_t right = next_[at];
        ranks_[at] = right == kNone ? kNoRank : bpe_.find_rank(symbols_[at], symbols_[right]);
    }

    const Bpe& bpe_;
    std::vector<int32_t> symbols_;
    std::vector<uint32_t> next_;      // kNone after the last
    std::vector<uint32_t> previous_;  // kNone before the first
    std::vector<uint32_t> ranks_;     // kNoRank where no merge exists, and of merged symbols
};

// Entries are rank << 32 | position, so that the smallest is the leftmost of the lowest rank. An
// entry whose pair has changed since is recognised by its rank.
void Bpe::encode_heap(std::string_view piece, std::vector<int32_t>& out) const {
    Chain chain(*this, piece);
    std::vector<uint64_t> heap;
    const auto entry = [&](uint32_t at) { return (uint64_t{chain.rank(at)} << 32) | at; };
    for (uint32_t at = 0; at < chain.size(); ++at) {
        if (chain.rank(at) != kNoRank) heap.push_back(entry(at));
    }
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    const auto push = [&](uint32_t at) {
        if (at == kNone || chain.rank(at) == kNoRank) return;
        heap.push_back(entry(at));
        std::push_heap(heap.begin(), heap.end(), std::greater<>());
    };
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), std::greater<>());
        const uint64_t best = heap.back();
        heap.pop_back();
        const uint32_t at = static_cast<uint32_t>(best);
        if (chain.rank(at) != best >> 32) continue;
        chain.merge(at);
        push(at);
        push(chain.previous(at));
    }
    chain.append_to(out);
}

// With merges in order no pair ever appears below the rank at hand, so one walk up the ranks with
// a list of positions for each replaces the heap: a mebibyte of one letter in linear time.
void Bpe::encode_buckets(std::string_view piece, std::vector<int32_t>& out) const {
    struct Entry {
        uint32_t at;
        uint32_t next;
    };
    Chain chain(*this, piece);
    std::vector<uint32_t> heads(merges_.size(), kNone);       // [rank], newest entry first
    std::vector<uint64_t> occupied(merges_.size() / 64 + 1);  // a bit per rank
    std::vector<Entry> entries;
    entries.reserve(chain.size());
    const auto push = [&](uint32_t at) {
        if (at == kNone || chain.rank(at) == kNoRank) return;
        const uint32_t rank = chain.rank(at);
        entries.push_back({at, heads[rank]});
        heads[rank] = static_cast<uint32_t>(entries.size() - 1);
        occupied[rank / 64] |= uint64_t{1} << (rank % 64);
    };
    for (uint32_t at = 0; at < chain.size(); ++at) push(at);

    std::vector<uint32_t> positions;
    for (size_t word = 0; word < occupied.size(); ++word) {
        while (occupied[word] != 0) {
            const int bit = std::countr_zero(occupied[word]);
            occupied[word] &= occupied[word] - 1;
            const uint32_t rank = static_cast<uint32_t>(word * 64 + static_cast<size_t>(bit));
            positions.clear();
            for (uint32_t i = heads[rank]; i != kNone; i = entries[i].next) {
                positions.push_back(entries[i].at);
            }
            std::reverse(positions.begin(), positions.end());
            // Entries of several origins come in several runs. The order matters where a symbol
            // pairs with itself.
            if (!std::is_sorted(positions.begin(), positions.end())) {
                std::sort(positions.begin(), positions.end());
            }
            for (const uint32_t at : positions) {
                if (chain.rank(at) != rank) continue;
                chain.merge(at);
                push(at);
                push(chain.previous(at));
            }
        }
    }
    chain.append_to(out);
}

}  // namespace fathom
