#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/resource.h>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "format/checkpoint.h"
#include "hostile/temporary_folder.h"

using namespace fathom;
using fathom::test::error_message;
using fathom::test::safetensors_file;
using fathom::test::TemporaryFolder;

namespace {

SafetensorsHeader parse(std::string_view header, uint64_t data_bytes,
                        const SafetensorsLimits& limits = {}) {
    return parse_safetensors_header(std::string(header), data_bytes, limits, "m.safetensors");
}

/// A shard with one F32 tensor of `n` elements; the bytes count up from 0.
std::string shard(std::string_view tensor, int n) {
    return safetensors_file(concat("{\"", tensor, "\":{\"dtype\":\"F32\",\"shape\":[", n,
                                   "],\"data_offsets\":[0,", 4 * n, "]}}"),
                            static_cast<uint64_t>(4 * n));
}

/// a in shard 1, b in shard 2.
void write_two_shards(const TemporaryFolder& folder) {
    folder.write("config.json", R"({"model_type":"deepseek_v3","hidden_size":64})");
    folder.write("model-00001-of-00002.safetensors", shard("a", 2));
    folder.write("model-00002-of-00002.safetensors", shard("b", 3));
    folder.write(
        "model.safetensors.index.json",
        R"({"metadata":{"total_size":999999999999},"weight_map":)"
        R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
}

std::vector<uint8_t> read_all(const Checkpoint& checkpoint, const TensorInfo& info) {
    std::vector<uint8_t> bytes(info.bytes);
    checkpoint.read(info, std::as_writable_bytes(std::span(bytes)));
    return bytes;
}

}  // namespace

TEST_CASE("safetensors: every published dtype is known by name and size") {
    // A checkpoint that carries one tensor we do not need in such a type would not load.
    const std::pair<std::string_view, uint64_t> types[] = {
        {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
        {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
        {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
        {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
        {"I64", 64},        {"U64", 64}};
    int n_readable = 0;
    for (const auto& [name, bits] : types) {
        CAPTURE(name);
        const std::string header = concat("{\"x\":{\"dtype\":\"", name,
                                          "\",\"shape\":[4,2],\"data_offsets\":[0,", bits, "]}}");
        const SafetensorsHeader parsed = parse(header, bits);
        REQUIRE(parsed.tensors.size() == 1);
        CHECK(parsed.tensors[0].bytes == bits);
        CHECK(stored_type_name(parsed.tensors[0].dtype) == name);
        if (const auto readable = readable_type(parsed.tensors[0].dtype)) {
            CHECK(dtype_name(*readable) == name);
            CHECK(static_cast<uint64_t>(dtype_bytes(*readable)) * 8 == bits);
            ++n_readable;
        }
    }
    CHECK(n_readable == 4);
}

TEST_CASE("safetensors: scalars, empty tensors, metadata and any order of ranges") {
    // Published files have all of these; refusing one refuses the model.
    const SafetensorsHeader parsed =
        parse(R"({"__metadata__":{"format":"pt"},)"
              R"("b":{"dtype":"F32","shape":[],"data_offsets":[3,7]},)"
              R"("e":{"dtype":"F32","shape":[9223372036854775807,0,7],"data_offsets":[3,3]},)"
              R"("a":{"dtype":"U8","shape":[3],"data_offsets":[0,3],"extra":1}}    )",
              7);
    REQUIRE(parsed.tensors.size() == 3);
    CHECK(parsed.tensors[0].name == "b");
    CHECK(parsed.tensors[0].shape.empty());
    CHECK(parsed.tensors[0].bytes == 4);
    CHECK(parsed.tensors[2].shape == std::vector<int64_t>{3});
    CHECK(parsed.tensors[1].bytes == 0);
    // Offsets are from the start of the file: 8 bytes of length and the header precede the data.
    CHECK(parsed.tensors[0].offset - parsed.tensors[2].offset == 3);
    CHECK(parse("{}", 0).tensors.empty());
}

TEST_CASE("safetensors: both sides of the limits on tensors and dimensions") {
    // A limit that is off by one refuses a good file or lets a bad one through.
    SafetensorsLimits limits;
    limits.tensors = 2;
    const std::string entry = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    const std::string two = concat("\"a\":", entry, ",\"b\":", entry);
    CHECK(parse(concat("{", two, "}"), 0, limits).tensors.size() == 2);
    CHECK(error_message([&] {
              parse(concat("{", two, ",\"c\":", entry, ",\"d\":", entry, "}"), 0, limits);
          }).find("header names 4 tensors, the limit is 2") != std::string::npos);
    CHECK_NOTHROW(
        parse(R"({"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,2],"data_offsets":[0,2]}})", 2));
    CHECK(error_message([] {
              parse(R"({"x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,2]}})", 2);
          }) == "m.safetensors: header: x.shape: found array of 9, wanted at most 8 dimensions");
    const std::string name(1024, 'n');
    CHECK_NOTHROW(parse(concat("{\"", name, "\":", entry, "}"), 0));
    CHECK(error_message([&] {
              parse(concat("{\"", name, "n\":", entry, "}"), 0);
          }).find("name of 1025 bytes, wanted 1 to 1024") != std::string::npos);
}

TEST_CASE("checkpoint: a single file") {
    // The demo model and every small model are of this form.
    const TemporaryFolder folder;
    folder.write("config.json", R"({"hidden_size":64})");
    folder.write("model.safetensors", shard("w", 4));
    const Checkpoint checkpoint(folder.path());
    REQUIRE(checkpoint.tensors().size() == 1);
    CHECK(checkpoint.tensor_bytes() == 16);
    CHECK(checkpoint.config().root().at("hidden_size").as_int64() == 64);
    const TensorInfo* w = checkpoint.find("w");
    REQUIRE(w != nullptr);
    CHECK(checkpoint.find("v") == nullptr);
    CHECK(checkpoint.find("x") == nullptr);
    CHECK(checkpoint.where(*w) == folder.path("model.safetensors") + ": tensor 'w'");
    CHECK(read_all(checkpoint, *w)[15] == 15);
    CHECK(checkpoint.directory().contains("config.json"));
}

TEST_CASE("checkpoint: shards by index, and the single file wins over an index") {
    // All large releases are sharded; metadata.total_size lies here and must not matter.
    const TemporaryFolder folder;
    write_two_shards(folder);
    {
        const Checkpoint checkpoint(folder.path());
        REQUIRE(checkpoint.tensors().size() == 2);
        CHECK(checkpoint.tensor_bytes() == 20);
        CHECK(read_all(checkpoint, *checkpoint.find("a")).back() == 7);
        CHECK(read_all(checkpoint, *checkpoint.find("b")).back() == 11);
        CHECK(checkpoint.where(*checkpoint.find("b")) ==
              folder.path("model-00002-of-00002.safetensors") + ": tensor 'b'");
    }
    folder.write("model.safetensors", shard("single", 1));
    const Checkpoint checkpoint(folder.path());
    CHECK(checkpoint.tensors().size() == 1);
    CHECK(checkpoint.find("single") != nullptr);
}

TEST_CASE("checkpoint: reading ranges, and both sides of their limits") {
    // A slice of an expert would come from its neighbour.
    const TemporaryFolder folder;
    folder.write("model.safetensors", shard("w", 4));
    const Checkpoint checkpoint(folder.path());
    const TensorInfo& w = *checkpoint.find("w");
    std::byte out[5];
    checkpoint.read(w, 11, out);
    CHECK(out[0] == std::byte{11});
    CHECK(out[4] == std::byte{15});
    checkpoint.read(w, 16, std::span<std::byte>());
    const auto message = [&](uint64_t offset, size_t bytes) {
        return error_message([&] { checkpoint.read(w, offset, std::span(out, bytes)); },
                             Status::kInvalidArgument);
    };
    CHECK(message(12, 5).ends_with("tensor 'w': reading 5 bytes at 12, the tensor has 16"));
    CHECK_FALSE(message(UINT64_MAX, 2).empty());
    CHECK_FALSE(message(17, 0).empty());
    CHECK(error_message([&] { checkpoint.read(w, out); }, Status::kInvalidArgument)
              .ends_with("reading 5 bytes, the tensor has 16"));
}

TEST_CASE("checkpoint: the fingerprint changes with config, headers and sizes") {
    // A prefix cache on disk would be taken for that of another model.
    const TemporaryFolder folder;
    write_two_shards(folder);
    const uint64_t first = Checkpoint(folder.path()).fingerprint();
    CHECK(Checkpoint(folder.path()).fingerprint() == first);
    folder.write("config.json", R"({"model_type":"deepseek_v3","hidden_size":65})");
    const uint64_t other_config = Checkpoint(folder.path()).fingerprint();
    CHECK(other_config != first);
    folder.write("model-00001-of-00002.safetensors", shard("a", 5));
    CHECK(Checkpoint(folder.path()).fingerprint() != other_config);
}

TEST_CASE("checkpoint: many shards with few descriptors, from several threads") {
    // A host with RLIMIT_NOFILE=16 could not load a sharded model, or got another shard's bytes.
    const TemporaryFolder folder;
    constexpr int kShards = 24;
    std::string map;
    for (int i = 0; i < kShards; ++i) {
        const std::string name = concat("s", i, ".safetensors");
        std::string file = shard(concat("t", i), 1);
        file.back() = static_cast<char>(i);
        folder.write(name, file);
        map += concat(i == 0 ? "" : ",", "\"t", i, "\":\"", name, "\"");
    }
    folder.write("model.safetensors.index.json", concat("{\"weight_map\":{", map, "}}"));

    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit few{16, before.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
    std::vector<int> wrong(3, -1);
    std::string problem;
    try {
        const Checkpoint checkpoint(folder.path());
        std::vector<std::thread> threads;
        for (int t = 0; t < 3; ++t) {
            threads.emplace_back([&checkpoint, &wrong, t] {
                int bad = 0;
                for (int i = 0; i < 4 * kShards; ++i) {
                    const int s = i * (t + 5) % kShards;
                    std::byte bytes[4];
                    checkpoint.read(*checkpoint.find(concat("t", s)), bytes);
                    bad += bytes[3] != static_cast<std::byte>(s);
                }
                wrong[static_cast<size_t>(t)] = bad;
            });
        }
        for (std::thread& thread : threads) thread.join();
    } catch (const Error& error) {
        problem = error.message();
    }
    REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(problem.empty());
    CHECK(wrong == std::vector<int>{0, 0, 0});
}

TEST_CASE("checkpoint: a file that changes after opening is an error, not other bytes") {
    // Number 37: a truncated or replaced shard would feed garbage weights.
    const TemporaryFolder folder;
    folder.write("model.safetensors", shard("w", 4));
    std::byte out[16];
    {
        const Checkpoint checkpoint(folder.path());
        folder.write("model.safetensors", shard("w", 5));
        CHECK(error_message([&] { checkpoint.read(*checkpoint.find("w"), out); }, Status::kIo)
                  .find("when its header was checked") != std::string::npos);
        folder.remove("model.safetensors");
        CHECK(error_message([&] { checkpoint.read(*checkpoint.find("w"), out); }, Status::kIo)
                  .find("cannot open") != std::string::npos);
    }
    folder.write("model.safetensors", shard("w", 4));
    const Checkpoint checkpoint(folder.path());
    checkpoint.read(*checkpoint.find("w"), out);
    const uint64_t end = checkpoint.find("w")->offset + 5;
    folder.resize("model.safetensors", end);
    CHECK(error_message([&] { checkpoint.read(*checkpoint.find("w"), out); }, Status::kIo)
              .find(concat("file ends at byte ", end)) != std::string::npos);
}
