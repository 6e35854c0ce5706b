#include <catch2/catch_test_macros.hpp>

#include "format/json.h"
#include "tokenizer_support.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// All lines of a golden.jsonl: ids with added tokens matched, and the reference's decoding.
void check_golden(const std::string& name) {
    const auto tokenizer = reference_tokenizer(name);
    size_t n_lines = 0;
    for (const std::string& line : read_lines(reference_path(name + "/golden.jsonl"))) {
        const JsonDocument document = JsonDocument::parse(line, JsonLimits{}, "golden.jsonl");
        const std::string_view text = document.root().at("text").as_string();
        std::vector<int32_t> wanted;
        for (const JsonValue id : document.root().at("ids").elements()) {
            wanted.push_back(static_cast<int32_t>(id.as_int64()));
        }
        const auto decoded = document.root().find("decoded");
        INFO(name << " line " << n_lines << ": " << text);
        REQUIRE(encode(*tokenizer, text, true) == wanted);
        REQUIRE(decode(*tokenizer, wanted) == (decoded ? decoded->as_string() : text));
        ++n_lines;
    }
    CHECK(n_lines > 2000);
}

}  // namespace

// Each breaks when a scanner, the merges, the added tokens or the decoder differ from the
// reference tokenizer anywhere: then the model reads other tokens than it was trained on.
TEST_CASE("tokenizer golden: deepseek-v2", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v2");
    check_golden("deepseek-v2");
}
TEST_CASE("tokenizer golden: deepseek-v2.5", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v2.5");
    check_golden("deepseek-v2.5");
}
TEST_CASE("tokenizer golden: deepseek-v3", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3");
    check_golden("deepseek-v3");
}
TEST_CASE("tokenizer golden: deepseek-r1", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-r1");
    check_golden("deepseek-r1");
}
TEST_CASE("tokenizer golden: deepseek-v3.1", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3.1");
    check_golden("deepseek-v3.1");
}

// Breaks when the special ids of a release are read wrongly: generation would not stop.
TEST_CASE("tokenizer golden: special ids of the releases", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("deepseek-v3.1");
    const auto v2 = reference_tokenizer("deepseek-v2");
    CHECK(v2->size() == 100002);
    CHECK(v2->bos_id() == 100000);
    CHECK(v2->eos_id() == 100001);
    CHECK(v2->pad_id() == 100001);
    CHECK(v2->add_bos());
    CHECK(v2->find_token("<\uFF5CUser\uFF5C>") == -1);
    const auto v25 = reference_tokenizer("deepseek-v2.5");
    CHECK(v25->find_token("<\uFF5CUser\uFF5C>") == 100006);
    const auto v3 = reference_tokenizer("deepseek-v3");
    CHECK(v3->size() == 128815);
    CHECK(v3->bos_id() == 0);
    CHECK(v3->eos_id() == 1);
    CHECK(v3->find_token("<think>") == -1);
    const auto r1 = reference_tokenizer("deepseek-r1");
    CHECK(r1->find_token("</think>") == 128799);
    CHECK(r1->is_control(128799));
    CHECK_FALSE(r1->is_special(128799));
    const auto v31 = reference_tokenizer("deepseek-v3.1");
    CHECK(v31->find_token("<\uFF5Csearch\u2581begin\uFF5C>") == 128796);
    CHECK(v31->find_token("\n") == 201);
    CHECK(v2->find_token("\n") == 185);
    CHECK_FALSE(v3->fingerprint() == v31->fingerprint());
}
