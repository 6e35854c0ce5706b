#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "format/json.h"
#include "format/json_writer.h"
#include "hostile/temporary_folder.h"

using namespace fathom;
using fathom::test::error_message;

namespace {

JsonDocument parse(std::string_view text) { return JsonDocument::parse(text, {}, "t.json"); }

std::string rewrite(const JsonValue& value) {
    JsonWriter writer;
    value.write(writer);
    return writer.take();
}

}  // namespace

TEST_CASE("json: values read as what they are") {
    // Config fields would arrive with another value or kind.
    const JsonDocument document =
        parse(R"({"n":null,"t":true,"f":false,"i":-7,"d":0.5,"s":"a\u00e9\n","a":[1,"x"],"o":{}})");
    const JsonValue root = document.root();
    CHECK(root.is_object());
    CHECK(root.size() == 8);
    CHECK(root.at("n").is_null());
    CHECK(root.at("t").is_bool());
    CHECK(root.at("t").as_bool());
    CHECK_FALSE(root.at("f").as_bool());
    CHECK(root.at("i").is_number());
    CHECK(root.at("i").as_int64() == -7);
    CHECK(root.at("i").as_double() == -7.0);
    CHECK(root.at("d").as_double() == 0.5);
    CHECK(root.at("s").is_string());
    CHECK(root.at("s").as_string() == "a\xc3\xa9\n");
    CHECK(root.at("a").is_array());
    CHECK(root.at("a").size() == 2);
    CHECK(root.at("o").size() == 0);
    CHECK_FALSE(root.find("missing").has_value());
    CHECK(document.name() == "t.json");
}

TEST_CASE("json: a scalar is a document") {
    // Lines of a pipeline that hold one bare value would be refused.
    CHECK(parse(" true ").root().as_bool());
    CHECK(parse("\"x\"").root().as_string() == "x");
    CHECK(parse("12").root().as_int64() == 12);
}

TEST_CASE("json: iteration is in document order and skips what it contains") {
    // A wrong end index in the tape would make a walk enter or lose nested values.
    const JsonDocument document = parse(R"({"b":[[1,[2]],{"x":[3]}],"a":{"y":{"z":4}},"c":5})");
    std::string keys;
    for (const JsonMember member : document.root().members()) keys += member.key;
    CHECK(keys == "bac");
    std::vector<size_t> sizes;
    for (const JsonValue element : document.root().at("b").elements()) {
        sizes.push_back(element.size());
    }
    CHECK(sizes == std::vector<size_t>{2, 1});
    for (const JsonValue element : parse("[]").root().elements()) element.refuse("nothing");
    for (const JsonMember member : parse("{}").root().members()) member.value.refuse("nothing");
}

TEST_CASE("json: values survive a move of the document") {
    // A short text lives inside the string object, which moves: views must not.
    JsonDocument first = parse("[\"x\"]");
    const JsonValue root = first.root();
    JsonDocument second = std::move(first);
    CHECK((*root.elements().begin()).as_string() == "x");
    JsonDocument third = parse("[]");
    third = std::move(second);
    CHECK((*root.elements().begin()).as_string() == "x");
}

TEST_CASE("json: integers are exact at the edges of each form") {
    // Sizes and offsets would be off by one where a number changes its place on the tape.
    for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{134217727}, int64_t{134217728},
                                int64_t{-134217728}, int64_t{-134217729}, int64_t{999999999},
                                int64_t{9007199254740993}, INT64_MAX, INT64_MIN}) {
        const std::string text = concat(value);
        CAPTURE(text);
        CHECK(parse(text).root().as_int64() == value);
        CHECK(parse(text).root().as_double() == static_cast<double>(value));
        CHECK(rewrite(parse(text).root()) == text);
    }
    CHECK(parse("-0").root().as_int64() == 0);
    CHECK(std::signbit(parse("-0").root().as_double()));
}

TEST_CASE("json: what is not an exact integer is refused as one") {
    // An offset of 1e3 or 12.0 or 2^63 would be read as something the file did not say.
    const auto message = [](std::string_view text) {
        return error_message([&] { parse(text).root().at("n").as_int64(); });
    };
    CHECK(message(R"({"n":1e3})") ==
          "t.json: n: found number 1e3, wanted integer without fraction or exponent");
    CHECK(message(R"({"n":12.0})") ==
          "t.json: n: found number 12.0, wanted integer without fraction or exponent");
    CHECK(message(R"({"n":9223372036854775808})") ==
          "t.json: n: found number 9223372036854775808, wanted integer of 64 bits");
    CHECK(message(R"({"n":"12"})") == "t.json: n: found string \"12\", wanted integer");
    CHECK(message(R"({"n":null})") == "t.json: n: found null, wanted integer");
}

TEST_CASE("json: doubles are the nearest to the text") {
    // Norm epsilons and rope factors would differ in the last bit from the reference's.
    for (const double value : {0.1, 1e-6, 1.7976931348623157e308, 5e-324, 40.0, 0.707, 1e23}) {
        const std::string text = concat(value);
        CAPTURE(text);
        CHECK(parse(text).root().as_double() == value);
    }
    CHECK(parse("0.000").root().as_double() == 0);
    CHECK(parse("0e5").root().as_double() == 0);
    CHECK(parse("2.4703282292062328e-324").root().as_double() == 5e-324);
}

TEST_CASE("json: accessors of the wrong kind name path, found and wanted") {
    // A user with a broken config would not learn which field is broken.
    const JsonDocument document =
        parse(R"({"rope":{"factor":"x","list":[[],{"z":true}]},"o":{"a":1},"b":false})");
    const JsonValue root = document.root();
    CHECK(error_message([&] { root.at("rope").at("factor").as_double(); }) ==
          "t.json: rope.factor: found string \"x\", wanted number");
    std::vector<JsonValue> list;
    for (const JsonValue element : root.at("rope").at("list").elements()) list.push_back(element);
    CHECK(list[1].at("z").path() == "rope.list[1].z");
    CHECK(error_message([&] { list[1].at("z").as_string(); }) ==
          "t.json: rope.list[1].z: found true, wanted string");
    CHECK(error_message([&] { list[0].at("q"); }) ==
          "t.json: rope.list[0]: found array of 0, wanted object");
    CHECK(error_message([&] { root.at("o").elements(); }) ==
          "t.json: o: found object of 1, wanted array");
    CHECK(error_message([&] { root.at("b").size(); }) ==
          "t.json: b: found false, wanted array or object");
    CHECK(error_message([&] { root.at("o").at("a").as_bool(); }) ==
          "t.json: o.a: found number 1, wanted true or false");
    CHECK(error_message([&] { root.at("missing"); }) == "t.json: 'missing' is missing");
    CHECK(error_message([&] { root.at("o").at("missing"); }) == "t.json: o: 'missing' is missing");
    CHECK(error_message([&] { root.refuse("peace"); }) ==
          "t.json: found object of 3, wanted peace");
}

TEST_CASE("json: both sides of each limit") {
    // A limit that is off by one refuses a good file or lets a bad one through.
    JsonLimits limits;
    limits.depth = 3;
    CHECK_NOTHROW(JsonDocument::parse("[[[]]]", limits, "t"));
    CHECK(error_message([&] { JsonDocument::parse("[[[[]]]]", limits, "t"); }) ==
          "t: byte 3: nesting deeper than 3, the limit");
    CHECK(error_message([&] { JsonDocument::parse("[[[{}]]]", limits, "t"); }) ==
          "t: byte 3: nesting deeper than 3, the limit");

    limits = {};
    limits.nodes = 4;
    CHECK_NOTHROW(JsonDocument::parse("[1,2,\"\"]", limits, "t"));
    CHECK(error_message([&] { JsonDocument::parse("[1,2,3,4]", limits, "t"); }) ==
          "t: byte 7: more than 4 values, the limit");
    CHECK_THROWS_AS(JsonDocument::parse("[1,2,3,\"\"]", limits, "t"), Error);
    CHECK_THROWS_AS(JsonDocument::parse("[1,2,3,[]]", limits, "t"), Error);

    limits = {};
    limits.bytes = 4;
    CHECK_NOTHROW(JsonDocument::parse("1234", limits, "t"));
    CHECK(error_message([&] { JsonDocument::parse("12345", limits, "t"); }) ==
          "t: text of 5 bytes, the limit is 4");
    CHECK(error_message([&] { JsonDocument::parse_owned("12345", limits, "t"); }) ==
          "t: text of 5 bytes, the limit is 4");

    limits = {};
    limits.string_bytes = 2;
    CHECK_NOTHROW(JsonDocument::parse(R"(["\u0041b"])", limits, "t"));
    CHECK(error_message([&] { JsonDocument::parse("[\"abc\"]", limits, "t"); }) ==
          "t: byte 6: string of 3 bytes, the limit is 2");
}

TEST_CASE("json: duplicate keys are found in small and large objects, or accepted") {
    // Two readers of one file would see two different models.
    CHECK(error_message([] { parse(R"({"a":1,"b":2,"a":3})"); }) ==
          "t.json: byte 18: key \"a\" appears twice in one object, the second time at byte 13");
    CHECK_THROWS_AS(parse(R"({"a":1,"\u0061":2})"), Error);
    CHECK_NOTHROW(parse(R"([{"a":1},{"a":1,"b":{"a":1}}])"));

    std::string text = "{";
    for (int i = 0; i < 50000; ++i) text += concat("\"key", i, "\":", i, ",");
    CHECK_NOTHROW(parse(text + "\"last\":0}"));
    CHECK_THROWS_AS(parse(text + "\"key123\":0}"), Error);

    JsonLimits limits;
    limits.duplicate_keys = true;
    const JsonDocument document = JsonDocument::parse(R"({"a":1,"b":2,"a":3})", limits, "t");
    CHECK(document.root().size() == 3);
    CHECK(document.root().at("a").as_int64() == 3);
    CHECK(document.root().at("b").as_int64() == 2);
}

TEST_CASE("json: writing and parsing again gives the same text") {
    // Tool schemas and configs that pass through the library would change on the way.
    for (const std::string_view text : {
             R"({"a":[1,2.50,-0,1e5,{"b":null,"c":[[],{}]}],"d":{"e":true,"f":false},"g":"h"})",
             R"([])",
             R"({})",
             R"("\"\\\b\f\n\r\t\u0001/é😀")",
             R"([[[1],2],3])",
             R"(123456789012345678901234567890)",
         }) {
        CAPTURE(text);
        const std::string once = rewrite(parse(text).root());
        CHECK(once == text);
        CHECK(rewrite(parse(once).root()) == once);
    }
    CHECK(rewrite(parse(R"({"a":{"b":[1]},"c":2})").root().at("a")) == R"({"b":[1]})");
    CHECK(rewrite(parse(R"({"a":{"b":[1]},"c":2})").root().at("c")) == "2");
}

TEST_CASE("json writer: commas, colons and both styles") {
    // The command's output lines would not be JSON.
    for (const JsonWriter::Style style :
         {JsonWriter::Style::kCompact, JsonWriter::Style::kSpaced}) {
        JsonWriter writer(style);
        writer.begin_object().key("a").begin_array().integer(-1).unsigned_integer(UINT64_MAX);
        writer.number(0.1).null().boolean(true).end_array().key("b").begin_object().end_object();
        writer.key("c").string("x").key("d").literal("[]").end_object();
        const bool spaced = style == JsonWriter::Style::kSpaced;
        CHECK(writer.text() ==
              (spaced ? R"({"a": [-1, 18446744073709551615, 0.1, null, true], "b": {}, )"
                        R"("c": "x", "d": []})"
                      : R"({"a":[-1,18446744073709551615,0.1,null,true],"b":{},"c":"x","d":[]})"));
        CHECK_NOTHROW(parse(writer.text()));
    }
}

TEST_CASE("json writer: numbers that JSON lacks become null") {
    // A logprob of -inf would make the whole line unreadable.
    JsonWriter writer;
    writer.begin_array().number(HUGE_VAL).number(-HUGE_VAL).number(std::nan("")).end_array();
    CHECK(writer.take() == "[null,null,null]");
}

TEST_CASE("json writer: text that is not UTF-8 is replaced, and nothing else") {
    // A token that is half a character would make the output unreadable.
    const auto quoted = [](std::string_view text) {
        JsonWriter writer;
        writer.string(text);
        return writer.take();
    };
    CHECK(quoted("a\xff"
                 "b") ==
          "\"a\xef\xbf\xbd"
          "b\"");
    CHECK(quoted("\xe4\xb8") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    CHECK(quoted("\xe4\xb8\xad\x7f") == "\"\xe4\xb8\xad\x7f\"");
    CHECK(quoted(std::string_view("\0\x1f", 2)) == "\"\\u0000\\u001f\"");
}

TEST_CASE("utf8: first and last of each length, and their neighbours outside") {
    // Overlong forms and surrogates would pass as text.
    for (const std::string_view good :
         {"a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
          "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
        CAPTURE(good);
        CHECK(utf8_character_bytes(good) == good.size());
        CHECK(utf8_character_bytes(good.substr(0, good.size() - 1)) == 0);
    }
    for (const std::string_view bad :
         {"\x80", "\xbf", "\xc1\xbf", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xed\xa0\x80",
          "\xe1\x80\x7f", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
        CAPTURE(bad);
        CHECK(utf8_character_bytes(bad) == 0);
    }
}
