// Any bytes either are refused with an error, or are a model that the library can load, encode and
// decode with. The second half of the input is the text.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tokenizer/sentencepiece.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/utf8.h"

using namespace fathom;

namespace {

void require(bool holds) {
    if (!holds) __builtin_trap();
}

void run(std::string model, std::string_view text) {
    SentencePieceEncoder encoder(read_sentencepiece_model(std::move(model)));
    const std::unique_ptr<const Vocabulary> vocabulary = encoder.take_vocabulary();
    for (const bool special : {false, true}) {
        std::vector<int32_t> ids;
        encoder.encode(text, special, ids);
        for (const int32_t id : ids) {
            require(id >= 0 && id < vocabulary->size());
            require(special || !vocabulary->has(id, Vocabulary::kControl));
        }
        std::string decoded;
        encoder.decode(ids, false, decoded);
        require(utf8_valid_prefix(decoded) == decoded.size());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
    const std::string_view input(reinterpret_cast<const char*>(data), bytes);
    const size_t half = bytes / 2;
    for (const size_t cut : {half, bytes}) {
        try {
            run(std::string(input.substr(0, cut)), cut == bytes ? "a b c" : input.substr(cut));
        } catch (const Error&) {
            // Refused.
        }
    }
    return 0;
}
