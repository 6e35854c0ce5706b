#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace fathom {

/// One line of "merges"; its index is its rank. The bytes of `result` are those of `left` and
/// `right` together.
struct BpeMerge {
    int32_t left;
    int32_t right;
    int32_t result;
};

/// Byte-pair encoding by merge rank, exactly: of all neighbouring pairs the one of the lowest rank
/// is merged first, the leftmost of several, until none is left. Immutable; any thread.
class Bpe {
public:
    /// Fewer merges than this: a rank has 22 bits.
    static constexpr uint32_t kMergesMax = (1 << 22) - 1;

    /// `vocabulary` outlives this object. `ignore_merges`: a piece that is a token is that token,
    /// whatever its merges would give.
    Bpe(const Vocabulary& vocabulary, TokenIndex index, std::vector<BpeMerge> merges,
        bool ignore_merges);

    /// Appends the ids of one piece, never one of a control token. A byte without a token (V2 lacks
    /// those that no UTF-8 contains) is encoded as U+FFFD. O(n log n); O(n) for long pieces where
    /// the merges were trained in order, as those of every published vocabulary are.
    void encode(std::string_view piece, std::vector<int32_t>& out) const;

    int32_t find(std::string_view bytes) const { return index_.find(bytes); }

private:
    static constexpr uint32_t kNoRank = UINT32_MAX;

    class Chain;  // the symbols of a long piece

    void build_bytes();
    void build_merges();
    void check_order();
    void build_whole(bool ignore_merges);
    size_t find_slot(int32_t left, int32_t right) const;
    uint32_t find_rank(int32_t left, int32_t right) const;
    void start_ranks(std::string_view piece, std::span<const int32_t> symbols,
                     uint32_t* ranks) const;
    size_t symbols_of(std::string_view piece, int32_t* symbols) const;
    void encode_merging(std::string_view piece, std::vector<int32_t>& out) const;
    void encode_short(std::string_view piece, std::vector<int32_t>& out) const;
    size_t merge_pass(size_t first, std::span<int32_t> symbols, uint32_t* ranks) const;
    void encode_heap(std::string_view piece, std::vector<int32_t>& out) const;
    void encode_buckets(std::string_view piece, std::vector<int32_t>& out) const;
    void split_control_tokens(size_t first, std::vector<int32_t>& ids) const;

    const Vocabulary& vocabulary_;
    TokenIndex index_;
    std::vector<BpeMerge> merges_;
    std::vector<uint32_t> slots_;       // ranks by pair: open addressing, a power of two
    std::vector<uint32_t> byte_ranks_;  // [256 * 256] of two neighbouring bytes
    std::vector<uint8_t> whole_;  // [id] a piece with these bytes is encoded as this one token
    std::vector<uint32_t>
        makers_;                // [id] rank of its merge; empty unless merges make control tokens
    int32_t byte_tokens_[256];  // -1 where there is none
    int32_t replacement_[3];    // the bytes of U+FFFD
    size_t symbols_per_byte_ = 1;  // at most: 3 where a byte has no token
    bool ordered_ = true;          // a merge never makes a pair of lower rank than its own
};

}  // namespace fathom
