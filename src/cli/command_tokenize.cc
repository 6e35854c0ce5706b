#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/terminal.h"
#include "cli/tokens.h"

namespace fathom::cli {
namespace {

constexpr Flag kFolder = {"--tokenizer", "FOLDER",
                          "folder with tokenizer.json or tokenizer.model (required)"};
constexpr Flag kJsonLines = {"--jsonl", nullptr, "one JSON object a line from stdin to stdout"};
constexpr Flag kTokenizeFlags[] = {
    kFolder, {"--special", nullptr, "spellings of control tokens become these tokens"}, kJsonLines};
constexpr Flag kDetokenizeFlags[] = {
    kFolder, {"--skip-special", nullptr, "leave special tokens out"}, kJsonLines};

std::string joined(const std::vector<int32_t>& ids) {
    std::string text;
    for (const int32_t id : ids) {
        if (!text.empty()) text += ' ';
        text += std::to_string(id);
    }
    return text;
}

int run_tokenize(const CommandLine& line) {
    const Tokenizer tokenizer = open_tokenizer(line.required("--tokenizer"));
    const uint32_t flags = line.has("--special") ? FATHOM_ENCODE_SPECIAL : 0;
    if (line.has("--jsonl")) {
        for_each_json_line([&](const JsonLine& in) {
            JsonLine out;
            out.set("ids", encode(tokenizer.get(), in.text("text"), flags));
            return out;
        });
        return 0;
    }
    const std::string text = line.words().empty() ? read_stdin() : line.words().front();
    print(joined(encode(tokenizer.get(), text, flags)) + "\n");
    return 0;
}

int run_detokenize(const CommandLine& line) {
    const Tokenizer tokenizer = open_tokenizer(line.required("--tokenizer"));
    const uint32_t flags = line.has("--skip-special") ? FATHOM_DECODE_SKIP_SPECIAL : 0;
    if (line.has("--jsonl")) {
        for_each_json_line([&](const JsonLine& in) {
            JsonLine out;
            out.set("text", decode(tokenizer.get(), in.ids("ids"), flags));
            return out;
        });
        return 0;
    }
    std::string list = "{\"ids\":[";
    for (const std::string& word : line.words()) {
        if (word.find_first_not_of("0123456789") != word.npos) {
            throw UsageError("found '" + word + "', wanted a token id");
        }
        list += (list.back() == '[' ? "" : ",") + word;
    }
    print(decode(tokenizer.get(), JsonLine::parse(list + "]}").ids("ids"), flags) + "\n");
    return 0;
}

}  // namespace

const Command kTokenize{
    "tokenize", "turn text into token ids",
    "  fathom tokenize --tokenizer models/v3 'Hello, world'\n"
    "  fathom tokenize --tokenizer models/v3 --jsonl < texts.jsonl   {\"text\"} to {\"ids\"}\n",
    kTokenizeFlags, 1, run_tokenize};

const Command kDetokenize{
    "detokenize", "turn token ids into text",
    "  fathom detokenize --tokenizer models/v3 19923 14 2058\n"
    "  fathom detokenize --tokenizer models/v3 --jsonl < ids.jsonl   {\"ids\"} to {\"text\"}\n",
    kDetokenizeFlags, kAnyWords, run_detokenize};

}  // namespace fathom::cli
