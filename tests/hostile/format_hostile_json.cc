// Group C of the list of bad inputs, numbers 21 to 23: JSON that is too deep, too long or not JSON.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>

#include <pthread.h>

#include <catch2/catch_test_macros.hpp>

#include "base/hash.h"
#include "base/status.h"
#include "format/checkpoint.h"
#include "format/json.h"
#include "format/json_writer.h"
#include "hostile/heap_meter.h"
#include "hostile/slow_text.h"
#include "hostile/temporary_folder.h"
#include "unit/host_locale.h"

using namespace fathom;
using fathom::test::error_message;
using fathom::test::HeapMeter;
using fathom::test::TemporaryFolder;

namespace {

std::string refusal(std::string_view text) {
    std::string message = error_message([&] { JsonDocument::parse(text, {}, "t.json"); });
    // Nothing of the failed parse may stay behind.
    CHECK(JsonDocument::parse("[1]", {}, "t.json").root().size() == 1);
    return message;
}

/// Runs `body` on a thread of 192 KiB, as musl and Go give.
void on_small_stack(const std::function<void()>& body) {
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, 192 << 10) == 0);
    pthread_t thread;
    const auto run = [](void* context) -> void* {
        (*static_cast<const std::function<void()>*>(context))();
        return nullptr;
    };
    REQUIRE(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&body)) ==
            0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
}

}  // namespace

TEST_CASE("hostile C21: a million brackets", "[hostile]") {
    // A recursive parser, copy or destructor would run out of stack and end the host.
    std::string message;
    on_small_stack([&] {
        try {
            JsonDocument::parse(std::string(1'000'000, '['), {}, "t.json");
        } catch (const Error& error) {
            message = error.message();
        }
    });
    CHECK(message == "t.json: byte 64: nesting deeper than 64, the limit");
    CHECK(refusal(std::string(65, '[') + std::string(65, ']')) ==
          "t.json: byte 64: nesting deeper than 64, the limit");
    CHECK_NOTHROW(JsonDocument::parse(std::string(64, '[') + std::string(64, ']'), {}, "t.json"));

    // Even a caller that sets no limit walks, writes and destroys without recursion.
    JsonLimits limits;
    limits.depth = UINT32_MAX;
    const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
    std::string written;
    std::string path;
    on_small_stack([&] {
        const JsonDocument document = JsonDocument::parse(deep, limits, "t.json");
        JsonWriter writer;
        document.root().write(writer);
        written = writer.take();
        JsonValue inner = document.root();
        for (int i = 0; i < 1000; ++i) inner = *inner.elements().begin();
        path = inner.path();
    });
    CHECK(written == deep);
    CHECK(path.size() == 3000);
}

TEST_CASE("hostile C22: numbers beyond every range", "[hostile]") {
    // Infinity, zero or a rounded integer would stand for what the file says.
    CHECK(refusal("[1e400]") == "t.json: byte 1: Number too big to be stored in double.");
    CHECK(refusal("[-1e400]") == "t.json: byte 1: Number too big to be stored in double.");
    CHECK(refusal("[1e-400]") ==
          "t.json: byte 1: number 1e-400 is outside the range of a 64-bit float");
    CHECK(refusal("[1e99999999999999999999]") ==
          "t.json: byte 1: Number too big to be stored in double.");
    CHECK(refusal("[1e-99999999999999999999]").find("outside the range") != std::string::npos);
    CHECK(refusal(std::string(1'000'000, '9')) ==
          "t.json: byte 0: Number too big to be stored in double.");
    CHECK(refusal("[0." + std::string(1'000'000, '9') + "]") ==
          "t.json: byte 1: number of 1000002 characters, the limit is 1024");
    CHECK(refusal("[1e" + std::string(1'000'000, '0') + "]") ==
          "t.json: byte 1: number of 1000002 characters, the limit is 1024");
    for (const std::string_view bad : {"-", "+1", "01", "1.", ".5", "1e", "1e+", "0x10", "NaN",
                                       "Infinity", "-Infinity", "1_0"}) {
        CAPTURE(bad);
        CHECK(refusal(bad).starts_with("t.json: byte "));
    }

    const JsonDocument document = JsonDocument::parse(
        R"({"zero":-0,"big":12345678901234567890,"small":4.9e-324,"digits":0.)" +
            std::string(1020, '3') + "}",
        {}, "t.json");
    CHECK(std::signbit(document.root().at("zero").as_double()));
    CHECK(document.root().at("big").as_double() == 12345678901234567890.0);
    CHECK(error_message([&] { document.root().at("big").as_int64(); }) ==
          "t.json: big: found number 12345678901234567890, wanted integer of 64 bits");
    CHECK(document.root().at("small").as_double() == 5e-324);
    CHECK(document.root().at("digits").as_double() == 1.0 / 3.0);
}

TEST_CASE("hostile C22: the host's locale has a decimal comma", "[hostile]") {
    // rope_scaling.factor 0.707 would be read as 0.
    const fathom::test::HostLocale locale("de_DE");
    const double value = JsonDocument::parse("0.707", {}, "t.json").root().as_double();
    JsonWriter writer;
    writer.number(0.707);
    CHECK(value == 0.707);
    CHECK(writer.text() == "0.707");
}

TEST_CASE("hostile C23: lone surrogates and invalid UTF-8", "[hostile]") {
    // Text that is not Unicode would reach the tokenizer.
    CHECK(refusal(R"(["\ud800"])") == "t.json: byte 2: The surrogate pair in string is invalid.");
    CHECK(refusal(R"(["\ud800\u0041"])") ==
          "t.json: byte 2: The surrogate pair in string is invalid.");
    CHECK(refusal(R"(["x\udc00"])").ends_with(": string with a lone surrogate escape"));
    CHECK(refusal(R"({"\udfff":1})").ends_with(": string with a lone surrogate escape"));
    CHECK(refusal(R"(["\u12g4"])").starts_with("t.json: byte 2: "));
    CHECK(refusal(R"(["\x"])").starts_with("t.json: byte 2: "));
    CHECK(JsonDocument::parse(R"("\ud83d\ude00\ud7ff\ue000")", {}, "t").root().as_string() ==
          "\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80");
    for (const std::string_view bad :
         {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff", "\xe4\xb8"}) {
        CAPTURE(bad);
        const std::string message = refusal(concat("[\"ab", bad, "\"]"));
        CHECK(message.starts_with("t.json: byte 4: '\\x"));
        CHECK(message.ends_with("' is not UTF-8"));
        // At the very end of the text, where a careless check reads beyond it.
        for (size_t ascii = 0; ascii < 9; ++ascii) {
            CHECK(refusal(std::string(ascii, '"') + std::string(bad))
                      .starts_with(concat("t.json: byte ", ascii, ": '\\x")));
        }
    }
}

TEST_CASE("hostile C23: NUL and what is not JSON", "[hostile]") {
    // A NUL would cut a name in two; what one reader skips, another may read.
    CHECK(refusal(std::string_view("\"a\0b\"", 5)) ==
          "t.json: byte 2: Missing a closing quotation mark in string.");
    CHECK(refusal(std::string_view("[1\0]", 4)).starts_with("t.json: byte 2: "));
    CHECK(refusal(std::string_view("[1]\0", 4)) == "t.json: byte 3: a NUL byte after the document");
    CHECK(refusal(std::string_view("\0[1]", 4)) == "t.json: byte 0: The document is empty.");
    CHECK(refusal("\"a\nb\"").starts_with("t.json: byte 2: "));
    CHECK(refusal("\xef\xbb\xbf[]") == "t.json: byte 0: a byte order mark, wanted JSON");
    CHECK(refusal("") == "t.json: byte 0: The document is empty.");
    CHECK(refusal("[] []").starts_with("t.json: byte 3: "));
    CHECK(refusal("[1,]").starts_with("t.json: byte 3: "));
    CHECK(refusal("{\"a\":1,}").starts_with("t.json: byte 7: "));
    CHECK(refusal("// c\n1").starts_with("t.json: byte 0: "));
    CHECK(refusal("'a'").starts_with("t.json: byte 0: "));
}

TEST_CASE("hostile C23: huge strings", "[hostile]") {
    // A file of one string would take the host's memory.
    JsonLimits limits;
    limits.string_bytes = 1 << 20;
    CHECK(error_message([&] {
              JsonDocument::parse("[\"" + std::string((1 << 20) + 1, 'x') + "\"]", limits, "t");
          }) == "t: byte 1048580: string of 1048577 bytes, the limit is 1048576");

    // A config of one 500 MB string is refused by its size, before it is read.
    const TemporaryFolder folder;
    folder.write("model.safetensors", test::safetensors_file("{}", 0));
    folder.write("config.json", "\"");
    folder.resize("config.json", 500'000'000);
    const HeapMeter meter;
    CHECK(error_message([&] { const Checkpoint broken(folder.path()); }) ==
          folder.path("config.json") + ": file has 500000000 bytes, the limit is 4194304");
    CHECK(meter.peak_bytes() < (uint64_t{1} << 20));
    folder.write("config.json", "{}");
    CHECK(Checkpoint(folder.path()).config().root().size() == 0);
}

TEST_CASE("hostile C: keys that collide in the hash table cost no more than others", "[hostile]") {
    // A table that anybody can fill at one spot makes the search for duplicates quadratic.
    constexpr uint32_t kKeys = 10'000;
    const uint64_t slots = kKeys + kKeys / 2 + 1;
    std::string colliding = "{";
    std::string others = "{";
    uint32_t n = 0;
    std::string last;
    for (uint64_t i = 0; n < kKeys; ++i) {
        std::string key = concat(i);
        const uint64_t hash = hash64(std::as_bytes(std::span(key)));
        if (((hash >> 32) * slots) >> 32 >= 40) continue;
        colliding += concat(n == 0 ? "" : ",", "\"", key, "\":0");
        others += concat(n == 0 ? "" : ",", "\"", i + 1, "\":0");
        last = std::move(key);
        ++n;
    }
    const auto best_of_three = [](const std::string& text) {
        double best = 1e9;
        for (int round = 0; round < 3; ++round) {
            best = std::min(best, fathom::test::seconds([&] {
                CHECK(JsonDocument::parse(text, {}, "t").root().size() == kKeys);
            }));
        }
        return best;
    };
    const double usual = best_of_three(others + "}");
    const double taken = best_of_three(colliding + "}");
    INFO("colliding keys: " << taken << " s, others: " << usual << " s");
    CHECK(taken < 10 * usual + 0.005 * fathom::test::kSlack);
    CHECK(error_message([&] {
              JsonDocument::parse(concat(colliding, ",\"", last, "\":1}"), {}, "t");
          }).find(concat("key \"", last, "\" appears twice")) != std::string::npos);
}

TEST_CASE("hostile C: heap and time in proportion to the text", "[hostile]") {
    // The densest texts for the tape: a request of a few MB could exhaust the host.
    const auto repeat = [](std::string_view unit) {
        std::string text = "[";
        while (text.size() < (4 << 20)) text += unit;
        text.back() = ']';
        return text;
    };
    std::string keys = "{";
    for (int i = 0; i < 300'000; ++i) keys += concat("\"", i, "\":0,");
    keys.back() = '}';
    for (const std::string& text :
         {repeat("1,"), repeat("[],"), repeat("\"\","), repeat("0.1,"), repeat("{\"\":1},"),
          repeat("123456789,"), repeat("{},"), repeat("-0,"), keys, repeat("\"\\u0041\","),
          repeat("\xed\x9f\xbf"), std::string(4 << 20, ' ')}) {
        const HeapMeter meter;
        const auto start = std::chrono::steady_clock::now();
        try {
            JsonDocument::parse(text, {}, "t.json");
        } catch (const Error& error) {
            CHECK(error.message().size() < 1000);
        }
        const double seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        INFO("text " << text.substr(0, 12) << "... of " << text.size() << " bytes, heap "
                     << meter.peak_bytes() << ", " << seconds << " s");
        CHECK(meter.peak_bytes() <= 4 * text.size() + (uint64_t{16} << 20));
        // Ten times the bar's time: sanitizers and a busy machine count too.
        CHECK(seconds <= 10 * (0.1 + static_cast<double>(text.size()) / 10e6));
    }
}

TEST_CASE("hostile C: every allocation of a parse fails once", "[hostile]") {
    // RapidJSON alone would write through the null pointer that malloc returned.
    std::string text = "[";
    for (int i = 0; i < 200; ++i) text += concat("{\"a\":[", i, "],\"b\":{\"c\":\"d\"}},");
    text.back() = ']';
    uint64_t n_failed = 0;
    bool finished = false;
    for (uint64_t n = 1; !finished; ++n) {
        REQUIRE(n < 10'000);
        const test::FailAllocation fail(n);
        try {
            JsonDocument::parse(text, {}, "t.json");
            finished = true;
        } catch (const std::bad_alloc&) {
            ++n_failed;
        }
    }
    CHECK(n_failed >= 5);
}
