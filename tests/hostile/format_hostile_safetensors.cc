// Group A of the list of bad inputs: safetensors. Each file goes through a whole checkpoint, the
// way that a model is loaded, and a good one is loaded after it.
#include <ctime>
#include <cstdint>
#include <string>
#include <string_view>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "format/checkpoint.h"
#include "hostile/heap_meter.h"
#include "hostile/temporary_folder.h"

using namespace fathom;
using fathom::test::error_message;
using fathom::test::HeapMeter;
using fathom::test::safetensors_file;
using fathom::test::TemporaryFolder;

namespace {

constexpr std::string_view kGood = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                   R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}})";

/// What loading this file says; afterwards a good file must load in the same folder.
std::string refusal(std::string_view file) {
    const TemporaryFolder folder;
    folder.write("model.safetensors", file);
    std::string message = error_message([&] { const Checkpoint broken(folder.path()); });
    // The folder's name is random; the rest of the message is not.
    const std::string place = folder.path("model.safetensors");
    CHECK(message.starts_with(place));
    message.erase(0, std::min(message.size(), place.size() + 2));
    folder.write("model.safetensors", safetensors_file(kGood, 12));
    CHECK(Checkpoint(folder.path()).tensors().size() == 2);
    return message;
}

std::string header_refusal(std::string_view header, uint64_t data_bytes) {
    return refusal(safetensors_file(header, data_bytes));
}

/// One tensor 'x' of U8 with these fields.
std::string one(std::string_view shape, std::string_view offsets, std::string_view dtype = "U8") {
    return concat("{\"x\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                  ",\"data_offsets\":", offsets, "}}");
}

std::string with_length(uint64_t length, std::string_view rest) {
    std::string file = safetensors_file("", 0);
    for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i));
    return file.append(rest);
}

}  // namespace

TEST_CASE("hostile A1: files of 0, 1, 7 and 8 bytes", "[hostile]") {
    // A truncated download would be read beyond its end.
    CHECK(refusal("") == "file of 0 bytes, wanted at least the 8 of a header length");
    CHECK(refusal("x") == "file of 1 bytes, wanted at least the 8 of a header length");
    CHECK(refusal("1234567") == "file of 7 bytes, wanted at least the 8 of a header length");
    CHECK(refusal(with_length(0, "")) == "byte 8: header begins with '', wanted '{'");
    CHECK(refusal(with_length(2, "")) == "byte 0: header length 2, but the file has only 8 bytes");
}

TEST_CASE("hostile A2: header length larger than the file or the limit", "[hostile]") {
    // A length of 2^63 would be allocated.
    const HeapMeter meter;
    CHECK(refusal(with_length(UINT64_MAX, "{}")) ==
          "byte 0: header length 18446744073709551615, the limit is 100000000");
    CHECK(refusal(with_length(uint64_t{1} << 63, "{}")) ==
          "byte 0: header length 9223372036854775808, the limit is 100000000");
    CHECK(refusal(with_length(100'000'001, "{}")) ==
          "byte 0: header length 100000001, the limit is 100000000");
    CHECK(refusal(with_length(100'000'000, "{}")) ==
          "byte 0: header length 100000000, but the file has only 10 bytes");
    CHECK(refusal(with_length(3, "{}")) ==
          "byte 0: header length 3, but the file has only 10 bytes");
    CHECK(meter.peak_bytes() < (uint64_t{1} << 20));
}

TEST_CASE("hostile A3: header that is not UTF-8, has NUL, BOM, spaces or garbage", "[hostile]") {
    // Two readers could see two files in one: names differ, or a ZIP hides behind the tensors.
    const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
    CHECK(header_refusal(concat("{\"\xff\":", entry, "}"), 1) ==
          "header: byte 2: '\\xff\":{' is not UTF-8");
    CHECK(header_refusal(concat("{\"\xed\xa0\x80\":", entry, "}"), 1).starts_with("header: byte "));
    CHECK(header_refusal(concat("{\"a\\u0000b\":", entry, "}"), 1) ==
          "tensor 'a\\x00b': name of 3 bytes, wanted 1 to 1024 without NUL");
    CHECK(header_refusal(concat("{\"\":", entry, "}"), 1) ==
          "tensor '': name of 0 bytes, wanted 1 to 1024 without NUL");
    CHECK(header_refusal(concat(std::string_view("{\"a\0b\":", 7), entry, "}"), 1) ==
          "header: byte 3: Missing a closing quotation mark in string.");
    CHECK(header_refusal(concat("\xef\xbb\xbf{\"x\":", entry, "}"), 1) ==
          "byte 8: header begins with '\\xef\\xbb\\xbf{\"x\":', wanted '{'");
    CHECK(header_refusal(concat("  {\"x\":", entry, "}"), 1) ==
          "byte 8: header begins with '  {\"x\":{', wanted '{'");
    CHECK(header_refusal(concat("[", entry, "]"), 1).starts_with("byte 8: header begins with '["));
    CHECK(header_refusal(concat("{\"x\":", entry, "}PK"), 1) ==
          concat("header: byte ", 6 + entry.size(),
                 ": The document root must not be followed by other values."));
    CHECK(header_refusal(concat("{\"x\":", entry, "}", std::string_view("\0\0", 2)), 1) ==
          concat("header: byte ", 6 + entry.size(), ": a NUL byte after the document"));
    // A ZIP or PDF that is appended to the file is data that no tensor covers.
    const std::string zip = safetensors_file(one("[1]", "[0,1]"), 1) + "PK\5\6";
    CHECK(refusal(zip) == concat("the last tensor ends at byte ", zip.size() - 4,
                                 ", the file at byte ", zip.size(),
                                 ", wanted no bytes after the tensors"));
}

TEST_CASE("hostile A4: duplicate tensor name or field", "[hostile]") {
    // The checked entry and the used entry would differ.
    const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
    CHECK(header_refusal(concat("{\"x\":", entry, ",\"x\":", entry, "}"), 1)
              .find("key \"x\" appears twice in one object") != std::string::npos);
    CHECK(
        header_refusal(R"({"x":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,1]}})", 1)
            .find("key \"dtype\" appears twice in one object") != std::string::npos);
    CHECK(header_refusal(R"({"x":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1)
              .find("key \"shape\" appears twice in one object") != std::string::npos);
    CHECK(header_refusal(R"({"x":{"dtype":"U8","shape":[1]}})", 1) ==
          "header: x: 'data_offsets' is missing");
}

TEST_CASE("hostile A5: offsets outside the data or not exact integers", "[hostile]") {
    // A tensor would be read from beyond the file, or from where a rounded double points.
    CHECK(header_refusal(one("[1]", "[2,1]"), 2) ==
          "tensor 'x': data_offsets [2, 1], wanted begin before end");
    CHECK(header_refusal(one("[3]", "[0,3]"), 2) ==
          "header: x.data_offsets[1]: found number 3, wanted an offset within the 2 bytes of data");
    CHECK(header_refusal(one("[1]", "[0,9007199254740993]"), 1) ==
          "header: x.data_offsets[1]: found number 9007199254740993, wanted an offset within the 1 "
          "bytes of data");
    CHECK(
        header_refusal(one("[1]", "[0,18446744073709551616]"), 1) ==
        "header: x.data_offsets[1]: found number 18446744073709551616, wanted integer of 64 bits");
    CHECK(header_refusal(one("[1]", "[-1,0]"), 1) ==
          "header: x.data_offsets[0]: found number -1, wanted an offset of 0 or more");
    CHECK(
        header_refusal(one("[1]", "[0,1e0]"), 1) ==
        "header: x.data_offsets[1]: found number 1e0, wanted integer without fraction or exponent");
    CHECK(header_refusal(one("[1]", "[0,\"1\"]"), 1) ==
          "header: x.data_offsets[1]: found string \"1\", wanted integer");
    CHECK(header_refusal(one("[1]", "[0]"), 1) ==
          "header: x.data_offsets: found array of 1, wanted array of begin and end");
    CHECK(header_refusal(one("[1]", "[0,1,1]"), 1) ==
          "header: x.data_offsets: found array of 3, wanted array of begin and end");
    CHECK(header_refusal(one("[1]", "{\"a\":0,\"b\":1}"), 1) ==
          "header: x.data_offsets: found object of 2, wanted array of begin and end");
}

TEST_CASE("hostile A6: ranges that overlap, leave a hole or miss the end", "[hostile]") {
    // Bytes that two tensors share or none covers are a second meaning of the file.
    const auto two = [](std::string_view first, std::string_view second) {
        return concat("{\"p\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":", first,
                      "},\"q\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":", second, "}}");
    };
    const std::string good = two("[2,4]", "[0,2]");
    const uint64_t data = 8 + good.size();
    CHECK(header_refusal(two("[1,3]", "[0,2]"), 3) ==
          concat("tensor 'p': starts at byte ", data + 1,
                 " of the file, inside tensor 'q', which "
                 "ends at byte ",
                 data + 2));
    CHECK(header_refusal(two("[0,2]", "[0,2]"), 2) ==
          concat("tensor 'q': starts at byte ", data,
                 " of the file, inside tensor 'p', which ends "
                 "at byte ",
                 data + 2));
    CHECK(header_refusal(two("[3,5]", "[0,2]"), 5) ==
          concat("tensor 'p': starts at byte ", data + 3,
                 " of the file, but no tensor covers the "
                 "bytes from ",
                 data + 2));
    CHECK(header_refusal(two("[1,3]", "[3,5]"), 5) ==
          concat("tensor 'p': starts at byte ", data + 1,
                 " of the file, but no tensor covers the "
                 "bytes from ",
                 data));
    CHECK(header_refusal(good, 5) == concat("the last tensor ends at byte ", data + 4,
                                            ", the file at byte ", data + 5,
                                            ", wanted no bytes after the tensors"));
    CHECK(
        header_refusal("{}", 1) ==
        "the last tensor ends at byte 10, the file at byte 11, wanted no bytes after the tensors");
}

TEST_CASE("hostile A7: shape that wraps, disagrees with its range or splits a byte", "[hostile]") {
    // A product that wraps to a small number would pass and be used as a large one.
    CHECK(header_refusal(one("[4294967296,4294967296]", "[0,0]"), 0) ==
          "tensor 'x': shape [4294967296, 4294967296] of U8 has a size beyond 64 bits");
    CHECK(header_refusal(one("[9223372036854775807,2]", "[0,1]"), 1) ==
          "tensor 'x': shape [9223372036854775807, 2] of U8 has a size beyond 64 bits");
    CHECK(header_refusal(one("[2305843009213693952]", "[0,1]"), 1) ==
          "tensor 'x': shape [2305843009213693952] of U8 has a size beyond 64 bits");
    CHECK(header_refusal(one("[2,3]", "[0,5]"), 5) ==
          "tensor 'x': data_offsets [0, 5] span 5 bytes, shape [2, 3] of U8 needs 6");
    CHECK(header_refusal(one("[3]", "[0,4]", "F4"), 4) ==
          "tensor 'x': shape [3] of F4 is 12 bits, wanted a whole number of bytes");
    CHECK(header_refusal(one("[2]", "[0,2]", "F6_E2M3"), 2) ==
          "tensor 'x': shape [2] of F6_E2M3 is 12 bits, wanted a whole number of bytes");
    CHECK(header_refusal(one("[-1]", "[0,1]"), 1) ==
          "header: x.shape[0]: found number -1, wanted a dimension of 0 or more");
    CHECK(header_refusal(one("[1.0]", "[0,1]"), 1) ==
          "header: x.shape[0]: found number 1.0, wanted integer without fraction or exponent");
    CHECK(header_refusal(one("{}", "[0,1]"), 1) ==
          "header: x.shape: found object of 0, wanted array");
}

TEST_CASE("hostile A8: 100,000 tensors, 10,000 dimensions, unknown dtype", "[hostile]") {
    // A header could cost time or memory out of proportion, or name a type nobody can size.
    std::string header = "{";
    for (int i = 0; i < 100'000; ++i) {
        header +=
            concat(i == 0 ? "" : ",", "\"model.layers.", i,
                   "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[", i, ",", i + 1, "]}");
    }
    header += "}";
    const TemporaryFolder folder;
    folder.write("model.safetensors", safetensors_file(header, 100'000));
    CHECK(Checkpoint(folder.path()).tensors().size() == 100'000);

    std::string shape = "[1";
    for (int i = 1; i < 10'000; ++i) shape += ",1";
    CHECK(header_refusal(one(shape + "]", "[0,1]"), 1) ==
          "header: x.shape: found array of 10000, wanted at most 8 dimensions");
    CHECK(header_refusal(one("[1]", "[0,1]", "F7"), 1) ==
          "header: x.dtype: found string \"F7\", wanted a dtype of the safetensors format");
    CHECK(header_refusal(one("[1]", "[0,1]", "u8"), 1).starts_with("header: x.dtype: found"));
    CHECK(header_refusal(R"({"x":7})", 1) == "header: x: found number 7, wanted object");
    CHECK(header_refusal(R"({"__metadata__":{"a":1}})", 0) ==
          "header: __metadata__.a: found number 1, wanted string");
    CHECK(header_refusal(R"({"__metadata__":[]})", 0) ==
          "header: __metadata__: found array of 0, wanted object");
}

TEST_CASE("hostile A9: offsets that are unaligned for their dtype", "[hostile]") {
    // An F32 at an odd offset would fault if it were used in place; it is copied.
    const std::string header = R"({"odd":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                               R"("x":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
    std::string file = safetensors_file(header, 1);
    file.append(std::string_view("\0\0\xc0\x3f", 4));
    const TemporaryFolder folder;
    folder.write("model.safetensors", file);
    const Checkpoint checkpoint(folder.path());
    float value = 0;
    checkpoint.read(*checkpoint.find("x"), std::as_writable_bytes(std::span(&value, 1)));
    CHECK(value == 1.5f);
}

TEST_CASE("hostile A: heap and time in proportion to the header", "[hostile]") {
    // A small file must not be able to exhaust the host: 4 times its size + 16 MiB, 1 s per 10 MB.
    std::string many = "{";
    for (int i = 0; i < 200'000; ++i) {
        many += concat(i == 0 ? "" : ",", "\"", i,
                       "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}");
    }
    many += "}";
    std::string metadata = "{\"__metadata__\":{";
    for (int i = 0; i < 500'000; ++i) metadata += concat(i == 0 ? "" : ",", "\"", i, "\":\"\"");
    metadata += "}}";
    for (const std::string& header :
         {many, metadata, std::string(4 << 20, '{'), "{\"" + std::string(4 << 20, 'x') + "\":1}"}) {
        const std::string file = safetensors_file(header, 0);
        const TemporaryFolder folder;
        folder.write("model.safetensors", file);
        const HeapMeter meter;
        const std::clock_t start = std::clock();
        try {
            const Checkpoint checkpoint(folder.path());
            CHECK(checkpoint.tensors().size() <= 200'000);
        } catch (const Error& error) {
            CHECK(error.message().size() < 1000);
        }
        const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
        INFO("header of " << header.size() << " bytes, heap " << meter.peak_bytes() << ", "
                          << seconds << " s");
        CHECK(meter.peak_bytes() <= 4 * file.size() + (uint64_t{16} << 20));
        // Of the processor's time, because other programs take the clock's; a sanitizer is slow.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        constexpr double kSlack = 10;
#else
        constexpr double kSlack = 4;
#endif
        CHECK(seconds <= kSlack * (0.1 + static_cast<double>(file.size()) / 10e6));
    }
}

TEST_CASE("hostile A: every allocation fails once", "[hostile]") {
    // Running out of memory while loading would end the host or leak.
    const TemporaryFolder folder;
    folder.write("config.json", "{}");
    folder.write("s1", safetensors_file(kGood, 12));
    folder.write("model.safetensors.index.json", R"({"weight_map":{"a":"s1","b":"s1"}})");
    uint64_t n_failed = 0;
    bool finished = false;
    for (uint64_t n = 1; !finished; ++n) {
        REQUIRE(n < 10'000);
        const test::FailAllocation fail(n);
        try {
            const Checkpoint checkpoint(folder.path());
            checkpoint.config();
            std::byte out[8];
            checkpoint.read(*checkpoint.find("a"), out);
            finished = true;
        } catch (const std::bad_alloc&) {
            ++n_failed;
        }
    }
    CHECK(n_failed >= 20);
}
