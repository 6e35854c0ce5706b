// Any bytes either are refused with an error, or are a tokenizer whose tables agree: every merge
// joins the bytes of its parts, every piece of a text is encoded and comes back.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "format/json.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_json.h"

using namespace fathom;

namespace {

constexpr std::string_view kText = "Hello,  w\xC3\xB6rld 123\n\n<x> \xE6\xBC\xA2\xE5\xAD\x97\xFF";

void require(bool holds) {
    if (!holds) __builtin_trap();
}

void check(TokenizerJson parts) {
    const std::unique_ptr<const Vocabulary> vocabulary = std::move(parts.vocabulary);
    for (const BpeMerge& merge : parts.merges) {
        const std::string joined = std::string(vocabulary->bytes[merge.left]) +
                                   std::string(vocabulary->bytes[merge.right]);
        require(vocabulary->bytes[merge.result] == joined);
    }
    for (const AddedToken& token : parts.added) {
        require(vocabulary->has(token.id, Vocabulary::kControl));
    }
    const ByteLevelEncoder encoder(*vocabulary, std::move(parts));
    for (const bool special : {false, true}) {
        std::vector<int32_t> ids;
        encoder.encode(kText, special, ids);
        for (const int32_t id : ids) {
            require(id >= 0 && id < vocabulary->size());
            require(special || !vocabulary->has(id, Vocabulary::kControl));
        }
        std::string text;
        encoder.decode(ids, false, text);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
    try {
        const JsonDocument document = JsonDocument::parse(
            {reinterpret_cast<const char*>(data), bytes}, JsonLimits{}, "tokenizer.json");
        check(read_tokenizer_json(document.root()));
    } catch (const Error&) {
        // Refused: what most inputs deserve.
    }
    try {
        const JsonDocument document = JsonDocument::parse(
            {reinterpret_cast<const char*>(data), bytes}, JsonLimits{}, "tokenizer_config.json");
        read_tokenizer_config(document.root());
    } catch (const Error&) {
        // The same.
    }
    return 0;
}
