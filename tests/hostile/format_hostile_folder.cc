// Group C of the list of bad inputs, number 24, and split checkpoints that lie: what a folder can
// do to a reader that trusts its names.
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "format/checkpoint.h"
#include "hostile/heap_meter.h"
#include "hostile/temporary_folder.h"
#include "hostile/without_openat2.h"

using namespace fathom;
using fathom::test::error_message;
using fathom::test::HeapMeter;
using fathom::test::safetensors_file;
using fathom::test::TemporaryFolder;
using fathom::test::with_and_without_openat2;

namespace {

constexpr std::string_view kIndex = "model.safetensors.index.json";

std::string shard(std::string_view tensor) {
    return safetensors_file(
        concat("{\"", tensor, "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"), 1);
}

void write_index(const TemporaryFolder& folder, std::string_view weight_map) {
    folder.write(kIndex,
                 concat("{\"metadata\":{\"total_size\":1},\"weight_map\":", weight_map, "}"));
}

/// Message of opening the folder without its random path; then a good checkpoint must load there.
std::string refusal(const TemporaryFolder& folder, Status status = Status::kFormat) {
    const std::string found =
        error_message([&] { const Checkpoint broken(folder.path()); }, status);
    const std::string path = folder.path();
    std::string message;
    size_t done = 0;
    for (size_t at; (at = found.find(path, done)) != std::string::npos; done = at + path.size()) {
        message += concat(std::string_view(found).substr(done, at - done), "F");
    }
    message += std::string_view(found).substr(done);
    folder.write("model.safetensors", shard("good"));
    CHECK(Checkpoint(folder.path()).tensors().size() == 1);
    folder.remove("model.safetensors");
    return message;
}

/// The same for an index whose one tensor 'a' is in a file of this name.
std::string name_refusal(const TemporaryFolder& folder, std::string_view name,
                         Status status = Status::kFormat) {
    write_index(folder, concat("{\"a\":\"", name, "\"}"));
    return refusal(folder, status);
}

constexpr std::string_view kNamed = " (named by weight_map in model.safetensors.index.json)";

}  // namespace

TEST_CASE("hostile C24: weight_map values that are paths", "[hostile]") {
    with_and_without_openat2([] {
        // A downloaded model could read any file of the host, and its errors would show the
        // content.
        const TemporaryFolder folder;
        std::filesystem::create_directory(folder.path("sub"));
        folder.write("sub/s.safetensors", shard("a"));
        for (const std::string_view name : {"../../etc/passwd", "/etc/passwd", "..", ".", "",
                                            "sub/s.safetensors", "./s.safetensors"}) {
            CAPTURE(name);
            CHECK(name_refusal(folder, name) ==
                  concat("F: '", name, "' is not a plain file name inside the folder", kNamed));
        }
        CHECK(name_refusal(folder, "a\\u0000b") ==
              concat("F: 'a\\x00b' is not a plain file name inside the folder", kNamed));
        CHECK(name_refusal(folder, "missing.safetensors", Status::kIo) ==
              concat("F/missing.safetensors: cannot open: ENOENT (errno 2)", kNamed));
        // A name must not be able to write on the terminal that shows the message.
        CHECK(name_refusal(folder, "\\u001b[2Jx", Status::kIo) ==
              concat("F/\\x1b[2Jx: cannot open: ENOENT (errno 2)", kNamed));
        CHECK(name_refusal(folder, std::string(300, 'n'), Status::kIo).find("ENAMETOOLONG") !=
              std::string::npos);
    });
}

TEST_CASE("hostile C24: links out of the folder, FIFO, device, directory", "[hostile]") {
    with_and_without_openat2([] {
        // Opening a FIFO blocks for ever, and /dev/zero never ends.
        const TemporaryFolder outside;
        outside.write("s.safetensors", shard("a"));
        const TemporaryFolder folder;
        const std::string out =
            concat("F/s: cannot open: the link leads out of the folder", kNamed);
        folder.link("s", outside.path("s.safetensors"));
        CHECK(name_refusal(folder, "s") == out);
        folder.link("s", "../" + std::filesystem::path(outside.path()).filename().string() +
                             "/s.safetensors");
        CHECK(name_refusal(folder, "s") == out);
        folder.link("s", "/dev/zero");
        CHECK(name_refusal(folder, "s") == out);
        folder.link("s", "/proc/self/exe");
        CHECK(name_refusal(folder, "s") == out);
        folder.link("s", "s");
        CHECK(name_refusal(folder, "s") == out);
        folder.link("s", "nowhere");
        CHECK(name_refusal(folder, "s", Status::kIo) ==
              concat("F/s: cannot open: ENOENT (errno 2)", kNamed));
        folder.remove("s");

        const std::string special = concat("F/s: not a regular file", kNamed);
        REQUIRE(mkfifo(folder.path("s").c_str(), 0600) == 0);
        CHECK(name_refusal(folder, "s") == special);
        folder.remove("s");
        std::filesystem::create_directory(folder.path("s"));
        CHECK(name_refusal(folder, "s") == special);
        folder.remove("s");
        // Only root can make a device; elsewhere the link above has to do.
        if (mknod(folder.path("s").c_str(), S_IFCHR | 0600, makedev(1, 5)) == 0) {
            const std::string message = name_refusal(folder, "s", Status::kFormat);
            CHECK(message == special);
            folder.remove("s");
        }

        // A link that stays in the folder is how download caches share files.
        folder.write("real", shard("a"));
        folder.link("s", "real");
        write_index(folder, R"({"a":"s"})");
        CHECK(Checkpoint(folder.path()).tensors().size() == 1);
    });
}

TEST_CASE("hostile C24: the same for the files that are found by their own name", "[hostile]") {
    with_and_without_openat2([] {
        // config.json and model.safetensors come from the same untrusted archive.
        const TemporaryFolder folder;
        folder.link("model.safetensors", "/etc/passwd");
        CHECK(refusal(folder) ==
              "F/model.safetensors: cannot open: the link leads out of the folder");
        REQUIRE(mkfifo(folder.path("model.safetensors").c_str(), 0600) == 0);
        CHECK(refusal(folder) == "F/model.safetensors: not a regular file");
        folder.link("config.json", "/dev/zero");
        CHECK(error_message([&] { const Checkpoint broken(folder.path()); }) ==
              folder.path("config.json") + ": cannot open: the link leads out of the folder");
        folder.remove("config.json");
        folder.link(kIndex, "/etc/passwd");
        CHECK(refusal(folder) ==
              concat("F/", kIndex, ": cannot open: the link leads out of the folder"));
    });
}

TEST_CASE("hostile C24: sparse files of 10 GB", "[hostile]") {
    with_and_without_openat2([] {
        // Reading one whole would exhaust memory; its claimed size costs its author nothing.
        const TemporaryFolder folder;
        const uint64_t huge = 10'000'000'000;
        const HeapMeter meter;
        folder.write("model.safetensors", "");
        folder.resize("model.safetensors", huge);
        CHECK(refusal(folder) == "F/model.safetensors: byte 8: header begins with '', wanted '{'");
        folder.write(kIndex, "{");
        folder.resize(kIndex, huge);
        CHECK(refusal(folder) ==
              concat("F/", kIndex, ": file has 10000000000 bytes, the limit is 67108864"));
        folder.remove(kIndex);
        folder.write("config.json", "{");
        folder.resize("config.json", huge);
        folder.write("model.safetensors", shard("a"));
        CHECK(error_message([&] {
                  const Checkpoint broken(folder.path());
              }).ends_with("config.json: file has 10000000000 bytes, the limit is 4194304"));
        folder.write("config.json", "{}");
        CHECK(Checkpoint(folder.path()).tensors().size() == 1);
        // A whole tensor of holes is a good file, and opening it reads only the header.
        const std::string header =
            R"({"a":{"dtype":"U8","shape":[9999999000],"data_offsets":[0,9999999000]}})";
        folder.write("model.safetensors", safetensors_file(header, 0));
        folder.resize("model.safetensors", 8 + header.size() + 9'999'999'000);
        const Checkpoint checkpoint(folder.path());
        std::byte last[2] = {std::byte{1}, std::byte{1}};
        checkpoint.read(*checkpoint.find("a"), 9'999'998'998, last);
        CHECK(last[1] == std::byte{0});
        CHECK(meter.peak_bytes() < (uint64_t{1} << 20));
    });
}

TEST_CASE("hostile C: an index that disagrees with its shards", "[hostile]") {
    // A shard of another model, or a shard too few, would load as a model that answers nonsense.
    const TemporaryFolder folder;
    folder.write("s1", shard("a"));
    folder.write("s2", shard("b"));
    write_index(folder, R"({"a":"s1","b":"s2"})");
    CHECK(Checkpoint(folder.path()).tensors().size() == 2);

    write_index(folder, R"({"a":"s1","b":"s2","c":"s2"})");
    CHECK(refusal(folder) ==
          concat("F/", kIndex, ": weight_map: tensor 'c' is in no shard, wanted it in s2"));
    write_index(folder, R"({"a":"s2","b":"s1"})");
    CHECK(refusal(folder) == concat("F/s1: tensor 'a': ", kIndex, " wants it in s2"));
    folder.write("s2", safetensors_file(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                        R"("z":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                                        2));
    write_index(folder, R"({"a":"s1","b":"s2"})");
    CHECK(refusal(folder) == concat("F/s2: tensor 'z': is not in weight_map of ", kIndex));
    folder.write("s2", shard("a"));
    CHECK(refusal(folder) == "F/s2: tensor 'a': is also in s1");
    // The same shard under two names, as a link makes it.
    folder.link("s2", "s1");
    CHECK(refusal(folder) == "F/s2: tensor 'a': is also in s1");
    folder.write("s2", shard("b").substr(0, 20));
    CHECK(refusal(folder).starts_with("F/s2: byte 0: header length "));
}

TEST_CASE("hostile C: an index that is no index, and a folder without weights", "[hostile]") {
    // A user who points at the wrong folder would not learn what is missing.
    const TemporaryFolder folder;
    CHECK(refusal(folder) == concat("F: no weights: found neither model.safetensors nor ", kIndex,
                                    ", and 0 other .safetensors files"));
    folder.write("x.safetensors", shard("a"));
    CHECK(refusal(folder).ends_with("and 1 other .safetensors files"));
    const std::string at = concat("F/", kIndex, ": ");
    write_index(folder, "{}");
    CHECK(refusal(folder) == at + "weight_map: found object of 0, wanted at least one tensor");
    write_index(folder, "[]");
    CHECK(refusal(folder) == at + "weight_map: found array of 0, wanted object");
    write_index(folder, R"({"a":7})");
    CHECK(refusal(folder) == at + "weight_map.a: found number 7, wanted string");
    write_index(folder, R"({"a":"s","a":"t"})");
    CHECK(refusal(folder).find("key \"a\" appears twice") != std::string::npos);
    folder.write(kIndex, "{}");
    CHECK(refusal(folder) == at + "'weight_map' is missing");
    folder.write(kIndex, "[");
    CHECK(refusal(folder).starts_with(at + "byte 1: "));
    CHECK(error_message([] { const Checkpoint none("/nonexistent-folder"); }, Status::kIo)
              .starts_with("/nonexistent-folder: "));

    CheckpointLimits limits;
    limits.shards = 1;
    folder.write("s1", shard("a"));
    folder.write("s2", shard("b"));
    write_index(folder, R"({"a":"s1","b":"s2"})");
    CHECK(error_message([&] {
              const Checkpoint many(folder.path(), limits);
          }).ends_with("weight_map names 2 files, the limit is 1"));
    limits.shards = 2;
    limits.shard.tensors = 1;
    CHECK(error_message([&] {
              const Checkpoint many(folder.path(), limits);
          }).ends_with("s2: brings the checkpoint to 2 tensors, the limit is 1"));
    limits.shard.tensors = 2;
    CHECK(Checkpoint(folder.path(), limits).tensors().size() == 2);
    CHECK(error_message([&] { Checkpoint(folder.path()).config(); }, Status::kIo)
              .ends_with("config.json: cannot open: ENOENT (errno 2)"));
}
