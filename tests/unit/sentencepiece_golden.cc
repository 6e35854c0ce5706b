#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <charconv>

#include "tokenizer/sentencepiece_model.h"
#include "tokenizer_support.h"

using namespace fathom;
using namespace fathom::test;

namespace {

std::vector<std::string> sentences(std::string_view text) {
    std::vector<std::string> out;
    for (const std::string_view end : {"\n", "\u3002"}) {
        for (std::string_view rest = text.substr(0, 100'000); !rest.empty();) {
            const size_t at = rest.find(end);
            out.emplace_back(rest.substr(0, at));
            rest.remove_prefix(at == rest.npos ? rest.size() : at + end.size());
        }
    }
    return out;
}

std::vector<int32_t> numbers(const std::string& line) {
    std::vector<int32_t> out;
    const char* at = line.data();
    const char* const end = at + line.size();
    while (at != end) {
        if (*at == ' ' || *at == '\r') {
            ++at;
            continue;
        }
        int32_t value = 0;
        const auto read = std::from_chars(at, end, value);
        REQUIRE(read.ec == std::errc());
        out.push_back(value);
        at = read.ptr;
    }
    return out;
}

}  // namespace

// Breaks when the conversion of a GGUF vocabulary or the library's BPE differs from llama.cpp.
TEST_CASE("sentencepiece golden: llama-spm vectors", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("llama-spm/tokenizer.model");
    const auto tokenizer = reference_tokenizer("llama-spm");
    CHECK(tokenizer->size() == 32000);
    CHECK(tokenizer->bos_id() == 1);
    CHECK(tokenizer->eos_id() == 2);
    CHECK(tokenizer->is_control(1));
    CHECK_FALSE(tokenizer->is_control(300));
    const std::string base = reference_path("llama.cpp-vocabs/ggml-vocab-llama-spm.gguf");
    const std::string input = read_file(base + ".inp");
    const std::vector<std::string> wanted = read_lines(base + ".out");
    const std::string separator = "\n__ggml_vocab_test__\n";
    size_t n_texts = 0;
    for (size_t at = 0; at < input.size(); ++n_texts) {
        const size_t end = input.find(separator, at);
        const std::string text = input.substr(at, end - at);
        INFO("text " << n_texts << ": " << text);
        REQUIRE(n_texts < wanted.size());
        REQUIRE(encode(*tokenizer, text) == numbers(wanted[n_texts]));
        at = end == input.npos ? input.size() : end + separator.size();
    }
    CHECK(n_texts == 46);
}

// Breaks when text does not survive a round trip through a unigram model. These models normalise,
// so the first decoding differs from the text; it must be a fixed point.
TEST_CASE("sentencepiece golden: unigram models", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("sentencepiece");
    const std::pair<const char*, const char*> cases[] = {
        {"sentencepiece/test_model.model", "sentencepiece/botchan.txt"},
        {"sentencepiece/test_ja_model.model", "sentencepiece/wagahaiwa_head.txt"},
    };
    for (const auto& [model, text] : cases) {
        const TokenizerFolder folder;
        folder.write("tokenizer.model", read_file(reference_path(model)));
        const auto tokenizer = open_folder(folder.path());
        size_t n_lines = 0;
        size_t n_checked = 0;
        for (const std::string& line : sentences(read_file(reference_path(text)))) {
            ++n_lines;
            const std::vector<int32_t> ids = encode(*tokenizer, line);
            // A character outside the vocabulary is lost, and so is the way back.
            if (std::find(ids.begin(), ids.end(), 0) != ids.end()) continue;
            ++n_checked;
            const std::string decoded = decode(*tokenizer, ids);
            INFO(model << ": " << line);
            REQUIRE(encode(*tokenizer, decoded) == ids);
            REQUIRE(decode(*tokenizer, encode(*tokenizer, decoded)) == decoded);
            // What a stream prints token by token is the same text behind the leading space.
            std::string streamed = bytes_of(*tokenizer, ids);
            if (!streamed.empty()) streamed.erase(0, 1);
            REQUIRE(streamed == decoded);
        }
        CHECK(n_checked > n_lines / 4);
    }
}

// Breaks when control symbols can be had from text, or not from text that may spell them.
TEST_CASE("sentencepiece: control symbols", "[tokenizer]") {
    FATHOM_NEEDS_REFERENCE("llama-spm/tokenizer.model");
    const auto tokenizer = reference_tokenizer("llama-spm");
    for (const int32_t id : encode(*tokenizer, "<s>hello</s><unk>", false)) {
        CHECK_FALSE(tokenizer->is_control(id));
    }
    const std::vector<int32_t> ids = encode(*tokenizer, "<s>hello</s>", true);
    CHECK(ids.front() == 1);
    CHECK(ids.back() == 2);
    CHECK(decode(*tokenizer, ids) == "<s>hello</s>");
    CHECK(decode(*tokenizer, ids, true) == "hello");
    CHECK(tokenizer->find_token("<s>") == 1);
    CHECK(tokenizer->find_token(" hello") == ids[1]);
    CHECK(tokenizer->find_token("no such piece at all") == -1);
    CHECK(tokenizer->token_bytes(3 + 0x41) == "A");
    CHECK(tokenizer->token_bytes(2) == "</s>");
}
