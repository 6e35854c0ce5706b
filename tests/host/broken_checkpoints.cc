#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include <nlohmann/json.hpp>

#include "abi/library_handles.h"
#include "host/broken_folders.h"

// Groups A and C of the list of bad inputs: safetensors, index, config.json and what these say.
namespace host {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirstShard = "model-00001-of-00003.safetensors";

std::string little_endian(uint64_t number) {
    std::string bytes(8, '\0');
    for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(number >> (8 * i));
    return bytes;
}

std::string safetensors(std::string_view header, size_t data_bytes) {
    return little_endian(header.size()) + std::string(header) + std::string(data_bytes, 'x');
}

/// One tensor "x" of a byte.
std::string one(const std::string& shape, const std::string& offsets,
                const std::string& type = "\"U8\"") {
    return R"({"x":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
}

/// The folder's weights are this one file.
BrokenFolder weights_are(std::string name, std::string bytes) {
    return {std::move(name), FATHOM_FORMAT, FATHOM_FORMAT, FATHOM_OK,
            [bytes = std::move(bytes)](const Folder& folder) {
                folder.remove(kIndex);
                folder.write("model.safetensors", bytes);
            }};
}

BrokenFolder header_is(std::string name, const std::string& header, size_t data_bytes) {
    return weights_are(std::move(name), safetensors(header, data_bytes));
}

/// A checkpoint whose files are broken; its tokenizer is not.
BrokenFolder broken(std::string name, int32_t status, std::function<void(const Folder&)> action) {
    return {std::move(name), status, status, FATHOM_OK, std::move(action)};
}

}  // namespace

std::vector<BrokenFolder> broken_safetensors() {
    const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
    std::string dimensions = "[1";
    for (int i = 1; i < 10'000; ++i) dimensions += ",1";
    return {
        weights_are("A1 empty file", ""),
        weights_are("A1 seven bytes", "1234567"),
        weights_are("A1 eight bytes", little_endian(2)),
        weights_are("A2 header of 2^64-1 bytes", little_endian(UINT64_MAX) + "{}"),
        weights_are("A2 header of 2^63 bytes", little_endian(uint64_t{1} << 63) + "{}"),
        weights_are("A2 header longer than the file", little_endian(100'000'000) + "{}"),
        header_is("A3 not UTF-8", "{\"\xff\":" + entry + "}", 1),
        header_is("A3 NUL in a name", "{\"a\\u0000b\":" + entry + "}", 1),
        header_is("A3 byte order mark", "\xef\xbb\xbf{\"x\":" + entry + "}", 1),
        header_is("A3 garbage behind", "{\"x\":" + entry + "}PK", 1),
        header_is("A4 a name twice", "{\"x\":" + entry + ",\"x\":" + entry + "}", 1),
        header_is("A4 a field twice",
                  R"({"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
        header_is("A5 begin behind end", one("[1]", "[2,1]"), 2),
        header_is("A5 end behind the data", one("[3]", "[0,3]"), 2),
        header_is("A5 offset of 2^53+1", one("[1]", "[0,9007199254740993]"), 1),
        header_is("A5 negative offset", one("[1]", "[-1,0]"), 1),
        header_is("A5 offset 1e0", one("[1]", "[0,1e0]"), 1),
        header_is("A5 offset as text", one("[1]", "[0,\"1\"]"), 1),
        header_is("A6 overlap", "{\"x\":" + entry + ",\"y\":" + entry + "}", 1),
        header_is("A6 hole", one("[1]", "[1,2]"), 2),
        header_is("A6 last byte", one("[1]", "[0,1]"), 2),
        header_is("A7 2^64 elements", one("[4294967296,4294967296]", "[0,0]"), 0),
        header_is("A7 shape of another size", one("[2,3]", "[0,5]"), 5),
        header_is("A7 half a byte", one("[3]", "[0,4]", "\"F4\""), 4),
        header_is("A8 10,000 dimensions", one(dimensions + "]", "[0,1]"), 1),
        header_is("A8 unknown type", one("[1]", "[0,1]", "\"F7\""), 1),
        header_is("A9 a good file without the model's tensors", one("[1]", "[0,1]"), 1),
    };
}

std::vector<BrokenFolder> broken_links_and_indices() {
    const auto shard_is = [](const std::string& shard) {
        return [shard](const Folder& folder) {
            Json index = Json::parse(folder.read(kIndex));
            for (auto& [tensor, name] : index["weight_map"].items()) name = shard;
            folder.write(kIndex, index.dump());
        };
    };
    const auto linked = [](const char* name, const char* target) {
        return [=](const Folder& folder) { folder.link(name, target); };
    };
    const auto made_fifo = [](const char* name) {
        return [=](const Folder& folder) {
            folder.remove(name);
            REQUIRE(mkfifo(folder.path(name).c_str(), 0600) == 0);
        };
    };
    const auto sparse = [](const char* name, const char* beginning) {
        return [=](const Folder& folder) { folder.write_sparse(name, beginning, 10'000'000'000); };
    };
    return {
        broken("C24 path out of the folder", FATHOM_FORMAT, shard_is("../../etc/passwd")),
        broken("C24 absolute path", FATHOM_FORMAT, shard_is("/etc/passwd")),
        broken("C24 no such shard", FATHOM_IO, shard_is("missing.safetensors")),
        broken("C24 shard is a link out", FATHOM_FORMAT, linked(kFirstShard, "/dev/zero")),
        broken("C24 index is a link out", FATHOM_FORMAT, linked(kIndex, "/etc/passwd")),
        broken("C24 config is a link out", FATHOM_FORMAT, linked("config.json", "/dev/zero")),
        broken("C24 shard is a FIFO", FATHOM_FORMAT, made_fifo(kFirstShard)),
        broken("C24 config is a FIFO", FATHOM_FORMAT, made_fifo("config.json")),
        broken("C24 shard is a folder", FATHOM_FORMAT,
               [](const Folder& folder) {
                   folder.remove(kFirstShard);
                   std::filesystem::create_directory(folder.path(kFirstShard));
               }),
        broken("C24 config of 10 GB", FATHOM_FORMAT, sparse("config.json", "{")),
        broken("C24 index of 10 GB", FATHOM_FORMAT, sparse(kIndex, "{")),
        broken("C24 shard of 10 GB", FATHOM_FORMAT, sparse(kFirstShard, "")),
        broken("C index without a map", FATHOM_FORMAT,
               [](const Folder& folder) { folder.write(kIndex, "{}"); }),
        broken("C index names another shard", FATHOM_FORMAT, shard_is(kFirstShard)),
        broken("C shard is missing", FATHOM_IO,
               [](const Folder& folder) { folder.remove(kFirstShard); }),
        broken("C shard is cut", FATHOM_FORMAT,
               [](const Folder& folder) {
                   folder.write(kFirstShard, folder.read(kFirstShard).substr(0, 200'000));
               }),
        broken("C no weights", FATHOM_FORMAT,
               [](const Folder& folder) {
                   for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
                       const std::string name = file.path().filename();
                       if (name.starts_with("model")) folder.remove(name);
                   }
               }),
        {"C no folder at all", FATHOM_IO, FATHOM_IO, FATHOM_IO,
         [](const Folder& folder) { std::filesystem::remove_all(folder.path()); }},
    };
}

std::vector<BrokenFolder> broken_configs() {
    const auto config_is = [](const char* name, std::string text) {
        return broken(name, FATHOM_FORMAT, [text = std::move(text)](const Folder& folder) {
            folder.write("config.json", text);
        });
    };
    const auto field_is = [](const char* key, const char* value, int32_t status) {
        return broken(std::string("config ") + key + " " + std::string(value).substr(0, 30), status,
                      [=](const Folder& folder) {
                          // The value goes in as text: not all of them are JSON.
                          Json config = Json::parse(folder.read("config.json"));
                          config.erase(key);
                          std::string text = config.dump();
                          text.insert(1, std::string("\"") + key + "\":" + value + ",");
                          folder.write("config.json", text);
                      });
    };
    static const std::string million_digits(1'000'000, '9');
    return {
        config_is("C21 a million brackets", std::string(1'000'000, '[')),
        config_is("C23 not UTF-8", "{\"model_type\":\"\xff\"}"),
        config_is("C23 NUL", std::string("{\0}", 3)),
        config_is("C empty config", ""),
        config_is("C config is a list", "[]"),
        broken("C no config", FATHOM_IO,
               [](const Folder& folder) { folder.remove("config.json"); }),
        field_is("hidden_size", "1e400", FATHOM_FORMAT),
        field_is("hidden_size", "-0", FATHOM_FORMAT),
        field_is("hidden_size", million_digits.c_str(), FATHOM_FORMAT),
        field_is("hidden_size", "\"\\ud800\"", FATHOM_FORMAT),
        field_is("hidden_size", "2147483648", FATHOM_FORMAT),
        field_is("num_hidden_layers", "0", FATHOM_FORMAT),
        field_is("num_hidden_layers", "3", FATHOM_FORMAT),
        field_is("kv_lora_rank", "0", FATHOM_FORMAT),
        field_is("num_experts_per_tok", "10", FATHOM_FORMAT),
        field_is("n_group", "2", FATHOM_FORMAT),
        field_is("vocab_size", "128", FATHOM_FORMAT),
        field_is("rope_theta", "0", FATHOM_FORMAT),
        field_is("model_type", "\"llama\"", FATHOM_UNSUPPORTED),
    };
}

namespace {

/// Lets `change` edit the header and the data of the shard that has this tensor.
void edit_header(const Folder& folder, const std::string& tensor,
                 const std::function<void(Json& header, std::string& data)>& change) {
    const Json index = Json::parse(folder.read(kIndex));
    const std::string shard = index.at("weight_map").at(tensor);
    const std::string bytes = folder.read(shard);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    Json header = Json::parse(bytes.substr(8, header_bytes));
    std::string data = bytes.substr(8 + header_bytes);
    change(header, data);
    const std::string text = header.dump();
    folder.write(shard, little_endian(text.size()) + text + data);
}

/// Writes one number into the data of a tensor.
template <typename Number>
BrokenFolder value_is(const char* name, const char* tensor, Number value) {
    // The headers are right, so only loading can tell.
    return {name, FATHOM_FORMAT, FATHOM_OK, FATHOM_OK, [=](const Folder& folder) {
                edit_header(folder, tensor, [&](Json& header, std::string& data) {
                    const uint64_t at = header.at(tensor).at("data_offsets").at(0);
                    std::memcpy(data.data() + at, &value, sizeof value);
                });
            }};
}

}  // namespace

std::vector<BrokenFolder> broken_tensors() {
    constexpr const char* kNorm = "model.norm.weight";
    constexpr const char* kWeight = "model.layers.1.self_attn.o_proj.weight";
    constexpr const char* kScale = "model.layers.1.self_attn.o_proj.weight_scale_inv";
    const auto renamed = [](const char* name, const char* tensor) {
        return broken(name, FATHOM_FORMAT, [=](const Folder& folder) {
            edit_header(folder, tensor, [&](Json& header, std::string&) {
                header["another"] = header[tensor];
                header.erase(tensor);
            });
            Json index = Json::parse(folder.read(kIndex));
            index["weight_map"]["another"] = index["weight_map"][tensor];
            index["weight_map"].erase(tensor);
            folder.write(kIndex, index.dump());
        });
    };
    const auto reshaped = [](const char* name, const char* tensor) {
        return broken(name, FATHOM_FORMAT, [=](const Folder& folder) {
            edit_header(folder, tensor, [&](Json& header, std::string&) {
                header[tensor]["shape"].push_back(1);
            });
        });
    };
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr uint16_t kBf16Infinity = 0x7f80;
    return {
        renamed("tensor is missing", kNorm),
        renamed("scales are missing", kScale),
        reshaped("tensor of another shape", kNorm),
        reshaped("scales of another shape", kScale),
        broken("tensor of another type", FATHOM_UNSUPPORTED,
               [=](const Folder& folder) {
                   edit_header(folder, kWeight, [&](Json& header, std::string&) {
                       header[kWeight]["dtype"] = "I8";
                   });
               }),
        value_is("scale is NaN", kScale, std::nanf("")),
        value_is("scale is infinite", kScale, kInfinity),
        value_is("scale is zero", kScale, 0.0F),
        value_is("norm is infinite", kNorm, kBf16Infinity),
    };
}

}  // namespace host
