#include <sys/stat.h>

#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "abi/library_handles.h"
#include "host/broken_folders.h"

// Numbers 24 to 27 of the list of bad inputs: tokenizer.json, its neighbours, tokenizer.model.
namespace host {

namespace {

using Json = nlohmann::ordered_json;

BrokenFolder broken(std::string name, std::function<void(const Folder&)> action,
                    int32_t status = FATHOM_FORMAT) {
    return {std::move(name), status, status, status, std::move(action)};
}

/// The tokenizer.json that `change` makes of the demo model's.
BrokenFolder json_with(std::string name, std::function<void(Json&)> change) {
    return broken(std::move(name), [change = std::move(change)](const Folder& folder) {
        Json json = Json::parse(folder.read("tokenizer.json"));
        change(json);
        folder.write("tokenizer.json", json.dump());
    });
}

BrokenFolder id_is(const char* id) {
    return json_with(std::string("C25 id ") + id, [=](Json& json) {
        json["model"]["vocab"]["never seen"] = Json::parse(id);
    });
}

BrokenFolder added(std::string name, Json token) {
    return json_with(std::move(name), [token = std::move(token)](Json& json) {
        json["added_tokens"].push_back(token);
    });
}

// ---- A writer of SentencePiece models, field by field.

std::string varint(uint64_t value) {
    std::string out;
    while (value > 127) {
        out.push_back(static_cast<char>((value & 127) | 128));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
    return out;
}

std::string chunk(uint32_t field, std::string_view bytes) {
    return varint((field << 3) | 2) + varint(bytes.size()) + std::string(bytes);
}

std::string piece(std::string_view text, uint64_t type = 1, float score = -1) {
    std::string bits(4, '\0');
    std::memcpy(bits.data(), &score, 4);
    return chunk(1, chunk(1, text) + varint((2 << 3) | 5) + bits + varint(3 << 3) + varint(type));
}

const std::string& good_pieces() {
    static const std::string pieces = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) +
                                      piece("\u2581") + piece("a") + piece("b") +
                                      piece("\u2581a");
    return pieces;
}

BrokenFolder model_is(std::string name, std::string bytes, int32_t status = FATHOM_FORMAT) {
    return broken(
        std::move(name),
        [bytes = std::move(bytes)](const Folder& folder) {
            write_sentencepiece_folder(folder, bytes);
        },
        status);
}

}  // namespace

void write_sentencepiece_folder(const Folder& folder, std::string_view model) {
    folder.remove("tokenizer.json");
    folder.remove("tokenizer_config.json");
    folder.write("tokenizer.model", model);
}

std::string good_sentencepiece_model() { return good_pieces(); }

std::vector<BrokenFolder> broken_tokenizers() {
    const auto text_is = [](const char* name, const char* file, std::string text) {
        return broken(name, [=](const Folder& folder) { folder.write(file, text); });
    };
    std::vector<BrokenFolder> all = {
        text_is("C21 a million brackets in tokenizer.json", "tokenizer.json",
                std::string(1'000'000, '[')),
        text_is("C23 tokenizer.json is not UTF-8", "tokenizer.json", "{\"model\":\"\xff\"}"),
        text_is("C25 tokenizer.json is empty", "tokenizer.json", ""),
        text_is("C21 tokenizer_config.json", "tokenizer_config.json",
                std::string(1'000'000, '[')),
        json_with("C25 token of no bytes", [](Json& json) { json["model"]["vocab"][""] = 5000; }),
        json_with("C25 token of a mebibyte",
                  [](Json& json) {
                      json["model"]["vocab"][std::string(1 << 20, 'x')] = 5000;
                  }),
        json_with("C25 merge of a missing token",
                  [](Json& json) { json["model"]["merges"].push_back("never seen"); }),
        added("C25 added token over another", {{"id", 0}, {"content", "never seen"}}),
        added("C25 added token without an id", {{"content", "never seen"}}),
        added("C25 added token of no bytes", {{"id", 5000}, {"content", ""}}),
        broken("C24 tokenizer.json is a link out",
               [](const Folder& folder) { folder.link("tokenizer.json", "/etc/passwd"); }),
        broken("C24 tokenizer.json is a FIFO",
               [](const Folder& folder) {
                   folder.remove("tokenizer.json");
                   REQUIRE(mkfifo(folder.path("tokenizer.json").c_str(), 0600) == 0);
               }),
        broken("C24 tokenizer.json of 10 GB",
               [](const Folder& folder) {
                   folder.write_sparse("tokenizer.json", "{", 10'000'000'000);
               }),
        broken("C24 tokenizer_config.json is a link out",
               [](const Folder& folder) { folder.link("tokenizer_config.json", "/dev/zero"); }),
    };
    for (const char* id : {"-1", "2097152", "9223372036854775807", "1.5", "\"5\"", "null", "5"}) {
        all.push_back(id_is(id));
    }
    return all;
}

std::vector<BrokenFolder> broken_sentencepiece_models() {
    const std::string& good = good_pieces();
    return {
        model_is("D26 number of 11 bytes", good + std::string(11, '\xFF')),
        model_is("D26 length behind the end", good + "\x0A\x7F" "abc"),
        model_is("D26 length of 2^62", good + "\x0A" + varint(uint64_t{1} << 62)),
        model_is("D26 groups in groups", good + std::string(10'000, '\x0B')),
        model_is("D26 wire type 7", good + varint((20u << 3) | 7)),
        model_is("D26 empty file", ""),
        model_is("D27 a piece twice", good + piece("a")),
        model_is("D27 no unknown piece", piece("a") + piece("b")),
        model_is("D27 two unknown pieces", good + piece("<other>", 2)),
        model_is("D27 score is NaN", good + piece("n", 1, std::nanf(""))),
        model_is("D27 piece of no bytes", good + piece("")),
        model_is("D27 map without its table", good + chunk(3, chunk(2, "abc"))),
        model_is("D27 map beyond its end", good + chunk(3, chunk(2, std::string(4, '\xFF')))),
        model_is("D27 a model of words", good + chunk(2, varint(3 << 3) + varint(3)),
                 FATHOM_UNSUPPORTED),
    };
}

}  // namespace host
