#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/tokens.h"

namespace fathom::cli {
namespace {

constexpr Flag kFlags[] = {
    {"--tokenizer", "FOLDER", "folder with the tokenizer (required)"},
    {"--dialect", "NAME", "how turns are rendered (default: recognised)"},
    {"--jsonl", nullptr, "one JSON object a line from stdin to stdout (required)"},
};

int run_render(const CommandLine& line) {
    const Tokenizer tokenizer = open_tokenizer(line.required("--tokenizer"));
    const std::string dialect = line.text("--dialect", "");
    if (!line.has("--jsonl")) throw UsageError("--jsonl is missing: conversations come from stdin");
    for_each_json_line([&](const JsonLine& in) {
        const int32_t thinking = !in.has("thinking")              ? FATHOM_THINKING_AUTO
                                 : in.boolean("thinking", false) ? FATHOM_THINKING_ON
                                                                  : FATHOM_THINKING_OFF;
        const Prompt prompt = new_prompt(tokenizer.get(), thinking, dialect,
                                         in.boolean("add_generation_prompt", true));
        const std::string messages = in.raw("messages");
        Outcome outcome;
        outcome = fathom_prompt_add_openai_json(prompt.get(), messages.data(), messages.size(),
                                                outcome);
        const std::vector<int32_t> ids = render(prompt.get());
        JsonLine out;
        out.set("text", decode(tokenizer.get(), ids, 0));
        out.set("ids", ids);
        return out;
    });
    return 0;
}

}  // namespace

const Command kRender{
    "render", "show exactly what a model sees of a conversation",
    "  fathom render --tokenizer models/v3 --jsonl < conversations.jsonl\n"
    "    {\"messages\", \"add_generation_prompt\", \"thinking\"} to {\"text\", \"ids\"}\n",
    kFlags, 0, run_render};

}  // namespace fathom::cli
