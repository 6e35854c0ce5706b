#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/tokens.h"

namespace fathom::cli {
namespace {

constexpr Flag kOwnFlags[] = {
    {"--system", "TEXT", "instructions before the question"},
    {"--raw", nullptr, "continue the text itself instead of answering it"},
    {"--json", nullptr, "print one JSON object: text, reasoning, usage"},
};
const std::vector<Flag>& flags() {
    static const auto* all = new std::vector<Flag>(with_generate_flags(kOwnFlags));
    return *all;
}

Prompt prompt_of(const CommandLine& line, const LoadedModel& loaded, const std::string& text) {
    Prompt prompt = new_prompt(loaded.tokenizer.get(), thinking_of(line), loaded.dialect);
    if (line.has("--raw")) {
        const std::vector<int32_t> ids = encode(loaded.tokenizer.get(), text, FATHOM_ENCODE_BOS);
        Outcome outcome;
        outcome = fathom_prompt_add_tokens(prompt.get(), ids.data(), ids.size(), outcome);
        return prompt;
    }
    if (line.has("--system")) {
        add_message(prompt.get(), FATHOM_ROLE_SYSTEM, line.required("--system"));
    }
    add_message(prompt.get(), FATHOM_ROLE_USER, text);
    return prompt;
}

void print_json(const Answer& answer) {
    JsonLine usage;
    usage.set("prompt_fresh", answer.usage.prompt_fresh);
    usage.set("prompt_cached", answer.usage.prompt_cached);
    usage.set("reasoning_tokens", answer.usage.reasoning_tokens);
    usage.set("output_tokens", answer.usage.output_tokens);
    JsonLine out;
    out.set("text", answer.text);
    out.set("reasoning", answer.reasoning);
    out.set("finish_reason", finish_name(answer.finish_reason));
    out.set("ids", answer.ids);
    out.set("usage", std::move(usage));
    print(out.dump() + "\n");
}

int run_run(const CommandLine& line) {
    const std::string text = line.words().empty() ? read_stdin() : line.words().front();
    const GenerateOptions generate_options(line);
    const LoadedModel loaded(line);
    if (loaded.tokenizer == nullptr) throw Failure("the folder has no tokenizer");
    fathom_session* handle = nullptr;
    Outcome outcome;
    outcome = fathom_session_create(loaded.model.get(), nullptr, &handle, outcome);
    const Session session(handle);
    const Prompt prompt = prompt_of(line, loaded, text);
    const bool json = line.has("--json");
    const InterruptScope interrupt;
    const Answer answer = generate(session.get(), prompt.get(), generate_options.options,
                                   [&](int32_t type, std::string_view piece) {
                                       if (!json && type == FATHOM_EVENT_TEXT) print(piece);
                                   });
    if (json) {
        print_json(answer);
    } else {
        print("\n");
    }
    return answer.finish_reason == FATHOM_FINISH_CANCELLED ? 1 : 0;
}

}  // namespace

const Command kRun{
    "run", "one answer, for scripts",
    "  fathom run --model examples/demo-model/model --think 'What is 123 + 456?'\n"
    "  fathom run --model models/v2-lite --json < question.txt\n",
    flags(), 1, run_run};

}  // namespace fathom::cli
