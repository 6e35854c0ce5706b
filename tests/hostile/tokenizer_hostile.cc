// Numbers 25 to 29 and 31 of the list of bad inputs: tokenizer files, SentencePiece models, and
// texts that are made to be slow or ill-formed.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "hostile/heap_meter.h"
#include "hostile/slow_text.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/tokenizer_json.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// The message of the refusal of a tokenizer.json; opening another still works afterwards.
std::string refusal(std::string_view json) {
    const Error error = error_of([&] { TokenizerBuilder::open_json(json); });
    INFO(error.message());
    CHECK(error.status() == Status::kFormat);
    CHECK(error.message().find("tokenizer.json") != std::string::npos);
    CHECK(encode(*TokenizerBuilder().open(), "ok") == std::vector<int32_t>{'o', 'k'});
    return error.message();
}

std::string with_vocab(std::string_view entries) {
    std::string json = TokenizerBuilder().json();
    const std::string_view key = "\"vocab\": {";
    return json.insert(json.find(key) + key.size(), std::string(entries) + ", ");
}

std::string with_added(std::string list) {
    TokenizerBuilder builder;
    builder.added_tokens = std::move(list);
    return builder.json();
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

std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }

std::string chunk(uint32_t field, std::string_view bytes) {
    return varint((field << 3) | 2) + varint(bytes.size()) + std::string(bytes);
}

std::string piece(std::string_view text, uint64_t type = 1, float score = -1) {
    std::string bits(4, '\0');
    std::memcpy(bits.data(), &score, 4);
    return chunk(1, chunk(1, text) + varint((2 << 3) | 5) + bits + number(3, type));
}

const std::string kPieces = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) +
                            piece("\u2581") + piece("a") + piece("b") + piece("\u2581a");

std::string with_map(std::string_view map) { return kPieces + chunk(3, chunk(2, map)); }

std::string model_refusal(std::string_view model, Status status = Status::kFormat) {
    const auto open = [](std::string_view bytes) {
        const TokenizerFolder folder;
        folder.write("tokenizer.model", bytes);
        return open_folder(folder.path());
    };
    const Error error = error_of([&] { open(model); });
    INFO(error.message());
    CHECK(error.status() == status);
    CHECK(error.message().find("tokenizer.model") != std::string::npos);
    CHECK(encode(*open(kPieces), "a b") == std::vector<int32_t>{6, 3, 5});
    return error.message();
}

/// A character map of `units` (a multiple of 256 of them) and `texts`.
std::string character_map(std::vector<uint32_t> units, std::string_view texts) {
    units.resize((units.size() + 255) / 256 * 256, 0x80000000u);
    const uint32_t bytes = static_cast<uint32_t>(units.size() * 4);
    std::string out(4 + bytes, '\0');
    std::memcpy(out.data(), &bytes, 4);
    std::memcpy(out.data() + 4, units.data(), bytes);
    return out + std::string(texts);
}

uint32_t unit(uint32_t label, uint32_t offset, bool leaf) {
    return label | (leaf ? 256u : 0u) | (offset << 10);
}

}  // namespace

// Each breaks when a number from the file is used before it was checked.
TEST_CASE("hostile C25: ids that are duplicate, negative, huge or no integers", "[hostile]") {
    CHECK(refusal(with_vocab("\"zz\": 97")).find("97") != std::string::npos);
    for (const char* id : {"-1", "2097152", "2147483647", "9223372036854775807", "1e3", "1.5",
                           "\"5\"", "null", "[]"}) {
        INFO(id);
        refusal(with_vocab(std::string("\"zz\": ") + id));
        refusal(with_added(std::string("[{\"content\": \"zz\", \"id\": ") + id + "}]"));
    }
    CHECK_NOTHROW(TokenizerBuilder::open_json(with_vocab("\"zz\": 2097151")));
    CHECK(TokenizerBuilder::open_json(with_vocab("\"zz\": 300"))->size() == 301);
}

TEST_CASE("hostile C25: a gap of two million ids costs no more than its table", "[hostile]") {
    const std::string json = with_vocab("\"zz\": 2097151");
    const HeapMeter meter;
    CHECK(TokenizerBuilder::open_json(json)->size() == 2097152);
    CHECK(meter.peak_bytes() < uint64_t{256} << 20);
}

TEST_CASE("hostile C25: tokens of no bytes and of a mebibyte", "[hostile]") {
    refusal(with_vocab("\"\": 256"));
    refusal(with_vocab(std::string("\"") + std::string(1 << 20, 'x') + "\": 256"));
    refusal(with_vocab(std::string("\"") + std::string((1 << 16) + 1, 'x') + "\": 256"));
    CHECK_NOTHROW(TokenizerBuilder::open_json(
        with_vocab(std::string("\"") + std::string(1 << 16, 'x') + "\": 256")));
    refusal(with_added(R"([{"id": 256, "content": ""}])"));
    refusal(with_added(std::string("[") + added_token(256, std::string((1 << 16) + 1, 'x')) + "]"));
}

TEST_CASE("hostile C25: added tokens that contradict vocab or each other", "[hostile]") {
    refusal(with_added(std::string("[") + added_token(97, "zz") + "]"));  // 97 is a
    refusal(with_added(std::string("[") + added_token(300, "b") + "]"));  // b is 98
    refusal(with_added(std::string("[") + added_token(98, "b") + "]"));   // no text could spell b
    refusal(
        with_added(std::string("[") + added_token(256, "x1") + "," + added_token(256, "x2") + "]"));
    refusal(
        with_added(std::string("[") + added_token(256, "x1") + "," + added_token(257, "x1") + "]"));
    refusal(with_added("[5]"));
    refusal(with_added("{}"));
    refusal(with_added(R"([{"id": 256}])"));
    refusal(with_added(R"([{"id": 256, "content": "zz", "special": 1}])"));
}

TEST_CASE("hostile C25: added tokens that begin each other, and cycles of them", "[hostile]") {
    std::string list;
    std::string content;
    for (int i = 0; i < 400; ++i) {
        content += "ab"[i % 2];
        if (content.size() == 1) content += 'b';
        list += std::string(i == 0 ? "" : ",") + added_token(256 + i, content + "<");
    }
    TokenizerBuilder builder;
    builder.added_tokens = "[" + list + "]";
    const auto tokenizer = builder.open();
    // The longest wins, and a text of almost-matches stays linear in text times longest token.
    CHECK(encode(*tokenizer, content + "<", true) == std::vector<int32_t>{256 + 399});
    const std::string text = repeated("ab", 1 << 16);
    CHECK(seconds([&] { encode(*tokenizer, text, true); }) < 2 * kSlack);
}

TEST_CASE("hostile C25: a million added tokens", "[hostile]") {
    std::string list = "[";
    for (int i = 0; i < 1'000'000; ++i) {
        list += (i == 0 ? "" : ",");
        list +=
            "{\"id\":" + std::to_string(256 + i) + ",\"content\":\"x" + std::to_string(i) + "\"}";
    }
    CHECK(refusal(with_added(list + "]")).find("1000000") != std::string::npos);
    std::string fitting = "[";
    for (int i = 0; i < 1 << 16; ++i) {
        fitting += (i == 0 ? "" : ",");
        fitting +=
            "{\"id\":" + std::to_string(256 + i) + ",\"content\":\"x" + std::to_string(i) + "\"}";
    }
    const auto tokenizer = TokenizerBuilder::open_json(with_added(fitting + "]"));
    CHECK(encode(*tokenizer, "x65535x7", true) == std::vector<int32_t>{256 + 65535, 256 + 7});
}

TEST_CASE("hostile C25: merges of tokens that are missing", "[hostile]") {
    TokenizerBuilder builder;
    builder.merges = {{"a", "b"}};
    std::string json = builder.json();
    const std::string good = "[\"a b\"]";
    for (const char* bad : {"[\"a q1\"]", "[\"a  b\"]", "[\"a\"]", "[\"\"]", "[\" \"]", "[[]]",
                            "[null]", "[\"b a\"]", "null", "5"}) {
        INFO(bad);
        std::string changed = json;
        refusal(changed.replace(changed.find(good), good.size(), bad));
    }
}

// Each breaks when the library behind this one reads a model that we had not checked.
TEST_CASE("hostile D26: numbers, lengths and wire types", "[hostile]") {
    model_refusal(kPieces + std::string(11, '\xFF'));
    model_refusal(kPieces + "\x0A" + std::string(9, '\xFF') + "\x7F");
    model_refusal(kPieces + chunk(1, "x").substr(0, 2));
    model_refusal(kPieces +
                  "\x0A\x7F"
                  "abc");
    model_refusal(kPieces + "\x0A" + varint(uint64_t{1} << 62));
    model_refusal(kPieces + "\x08");
    model_refusal(kPieces + std::string("\x02\x01", 2));  // field 0
    for (const uint32_t wire : {3u, 4u, 6u, 7u}) {
        model_refusal(kPieces + varint((20u << 3) | wire));
    }
    model_refusal(kPieces + std::string(10'000, '\x0B'));  // groups in groups
    model_refusal(kPieces + number(1, 5));                 // a piece that is a number
    model_refusal(kPieces + chunk(1, number(1, 5)));       // its text is a number
    model_refusal(kPieces + chunk(1, chunk(1, "q") + chunk(2, "....")));  // its score is a text
    model_refusal("");
    model_refusal(std::string("\0", 1));
}

TEST_CASE("hostile D27: pieces that contradict each other", "[hostile]") {
    model_refusal(kPieces + piece("a"));
    model_refusal(kPieces + piece("<s>"));
    model_refusal(piece("a") + piece("b"));
    model_refusal(kPieces + piece("<other>", 2));
    model_refusal(kPieces + piece("n", 1, std::nanf("")));
    model_refusal(kPieces + piece("n", 1, INFINITY));
    model_refusal(kPieces + piece("n", 0));
    model_refusal(kPieces + piece("n", 7));
    model_refusal(kPieces + piece(""));
    model_refusal(kPieces + piece(std::string_view("n\0n", 3)));
    model_refusal(kPieces + piece(std::string(4097, 'n')));
    model_refusal(kPieces + piece("<0x41>", 6));  // bytes without fallback
    model_refusal(kPieces + chunk(2, number(3, 3)), Status::kUnsupported);  // words
    model_refusal(kPieces + piece("nn", 5) + chunk(2, number(3, 2)), Status::kUnsupported);
}

// Breaks when text can spell a symbol that a model reserves for roles. Symbols of white space are
// not such, and ordinary text needs them.
TEST_CASE("hostile D27: user-defined symbols", "[hostile]") {
    const std::string role = piece("<role>", 4);
    std::string padded_type = chunk(1, "<long>") + number(9, 1) + varint((10 << 3) | 1) +
                              std::string(8, 'x') + std::string("\x18\x84\x00", 3);
    const TokenizerFolder folder;
    folder.write("tokenizer.model", kPieces + role + chunk(1, padded_type) +
                                        piece("\u2581\u2581", 4) + piece("\n\t", 4) +
                                        piece("<not white\u2581>", 4));
    const auto tokenizer = open_folder(folder.path());
    CHECK(tokenizer->is_control(7));
    CHECK(tokenizer->is_control(8));
    CHECK_FALSE(tokenizer->is_control(9));
    CHECK_FALSE(tokenizer->is_control(10));
    CHECK(tokenizer->is_control(11));
    CHECK(encode(*tokenizer, "<role>", true) == std::vector<int32_t>{7});
    CHECK(encode(*tokenizer, "<long>", true) == std::vector<int32_t>{8});
    for (const int32_t id : encode(*tokenizer, "<role><long>a")) CHECK(id < 7);
    const std::vector<int32_t> ids = encode(*tokenizer, "a\n\ta");
    CHECK(std::count(ids.begin(), ids.end(), 10) == 1);
}

// Breaks when a piece list without end is read to its end.
TEST_CASE("hostile D27: more pieces than ids", "[hostile]") {
    std::string many;
    for (int i = 0; i <= kTokenIdMax; ++i) many += chunk(1, chunk(1, std::to_string(i)));
    CHECK(model_refusal(many).find("2097151") != std::string::npos);
}

TEST_CASE("hostile D27: character maps", "[hostile]") {
    std::vector<uint32_t> units(512, 0x80000000u);
    units[0] = unit(0, 256, false);
    const std::string good = character_map(units, std::string_view("x\0", 2));
    CHECK_NOTHROW(check_character_map(good));
    const auto bad = [](std::string_view map) { model_refusal(with_map(map)); };
    bad("abc");
    bad(std::string(4, '\xFF'));
    bad(std::string(2000, '\0'));
    bad(good.substr(0, good.size() - 2));
    bad(good.substr(0, good.size() - 1));  // no NUL at the end
    const std::string_view texts("x\0", 2);
    bad(character_map({unit(0, 300, false)}, texts));  // out of range
    bad(character_map({unit(0, (1 << 21), false)}, texts));
    units[256 | 'a'] = unit('a', static_cast<uint32_t>('a'), false);  // back to the root's base
    bad(character_map(units, texts));
    units[256 | 'a'] = unit('a', 1, true);
    units[(256 | 'a') ^ 1] = 0x80000000u | 2;  // a value behind the texts
    bad(character_map(units, texts));
    units[(256 | 'a') ^ 1] = 0x80000000u | 1;
    CHECK_NOTHROW(check_character_map(character_map(units, texts)));
}

// Breaks when a replacement of many bytes lets a short text fill the memory.
TEST_CASE("hostile D27: replacements that are too long", "[hostile]") {
    std::vector<uint32_t> units(512, 0x80000000u);
    units[0] = unit(0, 256, false);
    units[256 | 'a'] = unit('a', 1, true);
    units[(256 | 'a') ^ 1] = 0x80000000u;  // value: the text at 0
    const auto map = [&](size_t bytes) {
        return character_map(units, std::string(bytes, 'b') + std::string(1, '\0'));
    };
    const TokenizerFolder folder;
    folder.write("tokenizer.model", with_map(map(128)));
    CHECK(encode(*open_folder(folder.path()), "a").size() == 129);
    model_refusal(with_map(map(129)));
}

// Breaks when a key has more prefixes than the library has room for on its stack.
TEST_CASE("hostile D27: keys that begin each other", "[hostile]") {
    const auto nested = [](uint32_t depth) {
        std::vector<uint32_t> units(256 * (depth + 2), 0x80000000u);
        units[0] = unit(0, 256, false);
        uint32_t base = 256;
        for (uint32_t i = 0; i < depth; ++i) {
            const uint32_t position = base ^ 'a';
            const uint32_t next = base + 256;
            units[position] = unit('a', position ^ next, true);
            base = next;
        }
        for (uint32_t i = 2; i < depth + 2; ++i) units[256 * i] = 0x80000000u;
        return character_map(units, std::string_view("x\0", 2));
    };
    CHECK_NOTHROW(check_character_map(nested(32)));
    model_refusal(with_map(nested(33)));
}

// Breaks when ill-formed text crashes a scanner or does not come back byte for byte.
TEST_CASE("hostile E29: invalid UTF-8 of every class, NUL bytes, nothing", "[hostile]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    const std::vector<std::string> texts = {
        "",
        std::string(1, '\0'),
        std::string("a\0b\0\0c", 6),
        "\x80",
        "\xBF\xBF",
        "a\xC3",
        "\xC3(",
        "\xE2\x82",
        "\xE2\x28\xA1",
        "\xF0\x9F\x98",
        "\xF0\x28\x8C\xBC",
        "\xED\xA0\x80\xED\xB0\x80",
        "\xF4\x90\x80\x80",
        "\xF8\x88\x80\x80\x80",
        "\xFC\x84\x80\x80\x80\x80",
        "\xC0\x80",
        "\xC1\xBF",
        "\xE0\x80\x80",
        "\xFE\xFF",
        " \xFF word \xF0\x9F\x98\x80\xF0 12\xE3\x81",
        "\xEF\xBB\xBF"
        "BOM",
    };
    const auto tokenizer = reference_tokenizer("deepseek-v3");
    for (const std::string& text : texts) {
        for (const bool special : {false, true}) {
            const std::vector<int32_t> ids = encode(*tokenizer, text, special);
            CHECK(bytes_of(*tokenizer, ids) == text);
            const std::string decoded = decode(*tokenizer, ids);
            CHECK(utf8_valid_prefix(decoded) == decoded.size());
        }
    }
    // V2 has no tokens for thirteen bytes that no UTF-8 contains: they come back as U+FFFD.
    const auto v2 = reference_tokenizer("deepseek-v2");
    CHECK(bytes_of(*v2, encode(*v2, "a\xFFz")) == "a\uFFFDz");
    CHECK(bytes_of(*v2, encode(*v2, "a\xE2\x82z")) == "a\xE2\x82z");
}

TEST_CASE("hostile E29: a text of more than 256 MiB, only BOS", "[hostile]") {
    const auto tokenizer = TokenizerBuilder().open();
    const char byte = 'a';
    // The length is refused before the bytes are looked at, so they need not exist.
    for (const uint64_t bytes :
         {Tokenizer::kTextBytesMax + 1, uint64_t{INT32_MAX} + 1, uint64_t{SIZE_MAX} / 4}) {
        std::vector<int32_t> ids;
        const Error error = error_of([&] { tokenizer->encode({&byte, bytes}, false, ids); });
        CHECK(error.status() == Status::kInvalidArgument);
        CHECK(ids.empty());
    }
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    const auto v3 = reference_tokenizer("deepseek-v3");
    const std::string bos(v3->token_bytes(v3->bos_id()));
    CHECK(encode(*v3, bos, true) == std::vector<int32_t>{0});
    CHECK(decode(*v3, encode(*v3, bos, false)) == bos);
}

// Breaks when raw ids index a table unchecked.
TEST_CASE("hostile E31: ids that are negative, too high, or belong to no token", "[hostile]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    const auto tokenizer = reference_tokenizer("deepseek-v3");
    for (const int32_t id : {-1, INT32_MIN, 128815, 129279, 129280, INT32_MAX}) {
        const Error error = error_of([&] { decode(*tokenizer, {5, id}); });
        CHECK(error.status() == Status::kInvalidArgument);
        CHECK(error.message().find("position 1") != std::string::npos);
        CHECK_FALSE(tokenizer->is_control(id));
    }
    CHECK(decode(*tokenizer, {128814}) == "<\uFF5Ctool\u2581sep\uFF5C>");
    CHECK_FALSE(decode(*tokenizer, {128500}).empty());  // a placeholder has a spelling
}
