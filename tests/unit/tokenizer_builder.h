#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "format/json_writer.h"
#include "tokenizer/utf8.h"
#include "unit/tokenizer_support.h"

namespace fathom::test {

/// How tokenizer.json spells bytes.
inline std::string spell(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        const auto printable = [](int b) {
            return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        };
        char32_t code = byte;
        if (!printable(byte)) {
            code = 256;
            for (int b = 0; b < byte; ++b) code += printable(b) ? 0u : 1u;
        }
        append_utf8(code, out);
    }
    return out;
}

/// Writes small tokenizer.json texts: 256 bytes with their own ids, then what merges make.
struct TokenizerBuilder {
    std::vector<std::pair<std::string, std::string>> merges;  // raw bytes
    std::vector<std::string> more_vocab;                      // raw bytes, behind the merges
    std::string lacking;                                      // bytes without a token
    std::string pre_tokenizer =
        R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
    std::string added_tokens = "[]";
    std::string normalizer = "null";
    std::string model_fields;  // such as "ignore_merges": true, with a comma behind it

    std::vector<std::string> vocab() const {
        std::vector<std::string> out;
        for (int byte = 0; byte < 256; ++byte) out.emplace_back(1, static_cast<char>(byte));
        const auto add = [&](const std::string& token) {
            if (std::find(out.begin(), out.end(), token) == out.end()) out.push_back(token);
        };
        for (const auto& [left, right] : merges) add(left + right);
        for (const std::string& token : more_vocab) add(token);
        return out;
    }

    std::string json() const {
        JsonWriter vocab_json;
        vocab_json.begin_object();
        const std::vector<std::string> tokens = vocab();
        for (size_t id = 0; id < tokens.size(); ++id) {
            if (id < 256 && lacking.find(tokens[id]) != std::string::npos) continue;
            vocab_json.key(spell(tokens[id])).integer(static_cast<int64_t>(id));
        }
        vocab_json.end_object();
        JsonWriter merges_json;
        merges_json.begin_array();
        for (const auto& [left, right] : merges)
            merges_json.string(spell(left) + " " + spell(right));
        merges_json.end_array();
        return R"({"added_tokens": )" + added_tokens + R"(, "normalizer": )" + normalizer +
               R"(, "pre_tokenizer": )" + pre_tokenizer +
               R"(, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", )" + model_fields +
               R"("vocab": )" + vocab_json.text() + R"(, "merges": )" + merges_json.text() + "}}";
    }

    std::shared_ptr<const Tokenizer> open() const { return open_json(json()); }

    static std::shared_ptr<const Tokenizer> open_json(std::string_view text,
                                                      std::string_view config = {}) {
        const TokenizerFolder folder;
        folder.write("tokenizer.json", text);
        if (!config.empty()) folder.write("tokenizer_config.json", config);
        return open_folder(folder.path());
    }
};

/// An added token as tokenizer.json writes it.
inline std::string added_token(int id, std::string_view content, std::string_view flags = {}) {
    JsonWriter writer;
    writer.string(content);
    std::string out = "{\"id\": " + std::to_string(id) + ", \"content\": " + writer.text();
    for (const char* name : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
        out += std::string(", \"") + name +
               (flags.find(name) == flags.npos ? "\": false" : "\": true");
    }
    return out + "}";
}

}  // namespace fathom::test
