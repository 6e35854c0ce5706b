#include <catch2/catch_test_macros.hpp>

#include <thread>

#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

void refused(std::string_view json, Status status, std::string_view where,
             std::string_view config = {}) {
    INFO(where);
    const Error error = error_of([&] { TokenizerBuilder::open_json(json, config); });
    CHECK(error.status() == status);
    INFO(error.message());
    CHECK(error.message().find(where) != std::string::npos);
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const size_t at = text.find(from);
    REQUIRE(at != text.npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

// Breaks when an added token is matched otherwise than by the reference (checked against it):
// longest of several, alone between words, with the white space around it.
TEST_CASE("tokenizer files: flags of added tokens", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.added_tokens =
        "[" + added_token(256, "<a>", "lstrip") + "," + added_token(257, "<b>", "rstrip") + "," +
        added_token(258, "word", "single_word") + "," + added_token(259, "<ab") + "," +
        added_token(260, "<abc>", "special") + "," + added_token(261, "<s>", "lstrip rstrip") + "]";
    const auto tokenizer = builder.open();
    const auto ids = [&](std::string_view text) { return encode(*tokenizer, text, true); };
    using Ids = std::vector<int32_t>;
    CHECK(ids("x \n<a> y") == Ids{'x', 256, ' ', 'y'});
    CHECK(ids("x <b> \u3000y") == Ids{'x', ' ', 257, 'y'});
    CHECK(ids("\u3000<s>\u2028<s> ") == Ids{261, 261});
    CHECK(ids("word") == Ids{258});
    CHECK(ids("a word.") == Ids{'a', ' ', 258, '.'});
    CHECK(ids("words") == Ids{'w', 'o', 'r', 'd', 's'});
    CHECK(ids("sword").size() == 5);
    CHECK(ids("\u00E9word").size() == 6);
    CHECK(ids("\xFFword") == Ids{0xFF, 258});
    CHECK(ids("<abc>") == Ids{260});
    CHECK(ids("<abcd") == Ids{259, 'c', 'd'});
    CHECK(ids("<ab") == Ids{259});
    CHECK(ids("<a") == Ids{'<', 'a'});
    CHECK(decode(*tokenizer, {'x', 260, 259}) == "x<abc><ab");
    CHECK(decode(*tokenizer, {'x', 260, 259}, true) == "x<ab");
    CHECK(tokenizer->find_token("<abc>") == 260);
    CHECK(tokenizer->find_token("") == -1);
    CHECK(tokenizer->find_token("x") == 'x');
    CHECK(tokenizer->find_token("xy") == -1);
    for (const int32_t id : encode(*tokenizer, "<abc> word <a>")) CHECK(id < 256);
}

// Breaks when a normaliser is applied to added tokens that are matched in the raw text, or not
// applied to the others, or touches ill-formed bytes.
TEST_CASE("tokenizer files: normalisers", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.normalizer =
        R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFC"}]})";
    builder.added_tokens =
        "[" + added_token(256, "A\u030A", "normalized") + "," + added_token(257, "B\u030A") + "]";
    const auto tokenizer = builder.open();
    CHECK(encode(*tokenizer, "\u00C5", true) == std::vector<int32_t>{256});
    CHECK(encode(*tokenizer, "B\u030A", true) == std::vector<int32_t>{257});
    CHECK(bytes_of(*tokenizer, encode(*tokenizer,
                                      "e\u0301\xFF"
                                      "e\u0301")) == "\u00E9\xFF\u00E9");
    for (const char* name : {"NFKC", "NFKD"}) {
        builder.normalizer = std::string(R"({"type": ")") + name + "\"}";
        CHECK(bytes_of(*builder.open(), encode(*builder.open(), "\uFB01")) == "fi");
    }
}

// Breaks when tokenizer_config.json is misread: BOS would be doubled or missing.
TEST_CASE("tokenizer files: tokenizer_config.json", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.added_tokens = "[" + added_token(256, "<s>") + "," + added_token(257, "</s>") + "," +
                           added_token(258, "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>") + "]";
    const auto with = [&](std::string_view config) {
        return TokenizerBuilder::open_json(builder.json(), config);
    };
    auto tokenizer = with("");
    CHECK(tokenizer->bos_id() == 258);
    CHECK(tokenizer->eos_id() == -1);
    CHECK(tokenizer->pad_id() == -1);
    CHECK(tokenizer->add_bos());
    CHECK(tokenizer->chat_template().empty());
    tokenizer = with(R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null,
                         "add_bos_token": false, "chat_template": "T"})");
    CHECK(tokenizer->bos_id() == 256);
    CHECK(tokenizer->eos_id() == 257);
    CHECK_FALSE(tokenizer->add_bos());
    CHECK(tokenizer->chat_template() == "T");
    CHECK_FALSE(with(R"({"bos_token": "<s>"})")->add_bos());
    CHECK(with(R"({"tokenizer_class": "LlamaTokenizerFast", "pad_token": "</s>"})")->add_bos());
    CHECK(with(R"({"pad_token": "</s>"})")->pad_id() == 257);
    CHECK(with(R"({"bos_token": "none", "add_bos_token": true})")->bos_id() == -1);
    CHECK_FALSE(with(R"({"bos_token": "none", "add_bos_token": true})")->add_bos());
    CHECK(with(R"({"chat_template": [{"name": "x", "template": "1"},
                                     {"name": "default", "template": "2"}]})")
              ->chat_template() == "2");
    CHECK(with(R"({"chat_template": []})")->chat_template().empty());
    refused(builder.json(), Status::kFormat, "bos_token", R"({"bos_token": 5})");
    refused(builder.json(), Status::kFormat, "tokenizer_config.json", "{");
}

// Breaks when a kind of tokenizer that this library lacks is read as another.
TEST_CASE("tokenizer files: kinds that are not supported", "[tokenizer]") {
    const TokenizerBuilder builder;
    const std::string json = builder.json();
    const auto with_step = [&](std::string_view step) {
        TokenizerBuilder changed;
        changed.pre_tokenizer = step;
        return changed.json();
    };
    refused(replaced(json, "\"BPE\"", "\"WordPiece\""), Status::kUnsupported, "WordPiece");
    for (const char* field :
         {R"("continuing_subword_prefix": "##", )", R"("end_of_word_suffix": "</w>", )",
          R"("dropout": 0.5, )", R"("byte_fallback": true, )"}) {
        TokenizerBuilder changed;
        changed.model_fields = field;
        refused(changed.json(), Status::kUnsupported, "model.");
    }
    refused(replaced(json, R"("decoder": {"type": "ByteLevel"})",
                     R"("decoder": {"type": "WordPiece"})"),
            Status::kUnsupported, "decoder");
    refused(with_step("null"), Status::kUnsupported, "ends in ByteLevel");
    refused(with_step(R"({"type": "Whitespace"})"), Status::kUnsupported, "Whitespace");
    refused(with_step(R"({"type": "Digits"})"), Status::kUnsupported, "ends in ByteLevel");
    refused(with_step(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"},
                                                               {"type": "Digits"}]})"),
            Status::kUnsupported, "after ByteLevel");
    refused(with_step(R"({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"String": "a"}, "behavior": "Away"},
                {"type": "ByteLevel"}]})"),
            Status::kFormat, "behavior");
    refused(with_step(R"({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "[a&&b]"}, "behavior": "Isolated"},
                {"type": "ByteLevel"}]})"),
            Status::kUnsupported, "[a&&b]");
    TokenizerBuilder changed;
    changed.normalizer = R"({"type": "Lowercase"})";
    refused(changed.json(), Status::kUnsupported, "Lowercase");
    // Nested sequences and a missing normaliser are ordinary.
    CHECK_NOTHROW(TokenizerBuilder::open_json(
        with_step(R"({"type": "Sequence", "pretokenizers": [
            {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}]},
            {"type": "ByteLevel"}]})")));
    CHECK_NOTHROW(TokenizerBuilder::open_json(replaced(json, "\"normalizer\": null, ", "")));
    CHECK_NOTHROW(TokenizerBuilder::open_json(
        replaced(json, "\"decoder\": {\"type\": \"ByteLevel\"}, ", "")));
    CHECK_NOTHROW(TokenizerBuilder::open_json(replaced(json, "\"added_tokens\": [], ", "")));
    const TokenizerFolder empty;
    const Error error = error_of([&] { open_folder(empty.path()); });
    CHECK(error.status() == Status::kUnsupported);
    CHECK(error.message().find("tokenizer.model") != std::string::npos);
}

// Breaks when merges are read otherwise in their two spellings, or a bad one is taken.
TEST_CASE("tokenizer files: merges", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.merges = {{"a", "b"}};
    const std::string json = builder.json();
    const auto pairs = TokenizerBuilder::open_json(replaced(json, R"(["a b"])", R"([["a", "b"]])"));
    CHECK(encode(*pairs, "ab") == std::vector<int32_t>{256});
    CHECK(encode(*builder.open(), "ab") == std::vector<int32_t>{256});
    for (const char* bad : {R"(["a"])", R"(["a b c"])", R"([["a"]])", R"([["a", 1]])", R"([5])",
                            R"(["a zz"])", R"(["zz a"])", R"(["b a"])", R"(["a \u6F22"])"}) {
        refused(replaced(json, R"(["a b"])", bad), Status::kFormat, "merges");
    }
}

// Breaks when encoding shares anything between calls: one object, many threads, same ids.
TEST_CASE("tokenizer files: many threads use one tokenizer", "[tokenizer][thread]") {
    TokenizerBuilder builder;
    builder.merges = {{"a", "b"}, {"ab", "ab"}};
    builder.added_tokens = "[" + added_token(300, "<x>") + "]";
    builder.pre_tokenizer =
        R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})";
    const auto tokenizer = builder.open();
    const std::string text = "abab ab<x> 123 abababab\n\n";
    const std::vector<int32_t> wanted = encode(*tokenizer, text, true);
    std::vector<std::thread> threads;
    std::vector<int> wrong(4, 0);
    for (size_t i = 0; i < 4; ++i) {
        threads.emplace_back([&, i] {
            for (int round = 0; round < 200; ++round) {
                if (encode(*tokenizer, text, true) != wanted) ++wrong[i];
                if (decode(*tokenizer, wanted) != text) ++wrong[i];
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == std::vector<int>(4, 0));
}

// Breaks when ids from outside reach a table unchecked.
TEST_CASE("tokenizer files: ids out of range", "[tokenizer]") {
    TokenizerBuilder builder;
    builder.added_tokens = "[" + added_token(300, "<x>") + "]";
    const auto tokenizer = builder.open();
    CHECK(tokenizer->size() == 301);
    CHECK(decode(*tokenizer, {299, 300}) == "<x>");  // 299 is a hole
    CHECK(tokenizer->token_bytes(299).empty());
    for (const int32_t bad : {-1, 301, INT32_MAX, INT32_MIN}) {
        const Error error = error_of([&] { decode(*tokenizer, {'a', bad}); });
        CHECK(error.status() == Status::kInvalidArgument);
        CHECK(error.message().find("position 1") != std::string::npos);
        CHECK(error_of([&] { (void)tokenizer->token_bytes(bad); }).status() ==
              Status::kInvalidArgument);
        CHECK_FALSE(tokenizer->is_control(bad));
        CHECK_FALSE(tokenizer->is_special(bad));
    }
}
