#include <cmath>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"
#include "cli/tokens.h"

namespace fathom::cli {
namespace {

constexpr Flag kOwnFlags[] = {
    {"--jsonl", nullptr, "one JSON object a line from stdin to stdout"},
};
const std::vector<Flag>& flags() {
    static const auto* all = new std::vector<Flag>(with_model_flags(kOwnFlags));
    return *all;
}

/// log P of every token given those before it; the first entry stands for a token without context.
std::vector<float> score(const LoadedModel& loaded, const std::vector<int32_t>& ids) {
    if (ids.empty()) return {};
    const Prompt prompt = [&] {
        fathom_prompt* handle = nullptr;
        Outcome outcome;
        outcome = fathom_prompt_create(loaded.tokenizer.get(), nullptr, &handle, outcome);
        Prompt owned(handle);
        outcome = fathom_prompt_add_tokens(handle, ids.data(), ids.size(), outcome);
        return owned;
    }();
    fathom_session* handle = nullptr;
    Outcome outcome;
    outcome = fathom_session_create(loaded.model.get(), nullptr, &handle, outcome);
    const Session session(handle);
    fathom_generate_options options = {};
    options.struct_size = sizeof options;
    options.flags = FATHOM_GENERATE_PROMPT_ONLY | FATHOM_GENERATE_PROMPT_LOGPROBS;
    options.logprobs = 1;
    const Answer answer = generate(session.get(), prompt.get(), options, nullptr);
    std::vector<float> logprobs(ids.size(), 0.0f);
    for (const fathom_logprob& entry : answer.logprobs) {
        logprobs[static_cast<size_t>(entry.position)] = entry.logprob;
    }
    return logprobs;
}

double perplexity(const std::vector<float>& logprobs) {
    double sum = 0;
    for (size_t i = 1; i < logprobs.size(); ++i) sum += static_cast<double>(logprobs[i]);
    return std::exp(-sum / static_cast<double>(logprobs.size() - 1));
}

int run_score(const CommandLine& line) {
    const LoadedModel loaded(line);
    const auto encode_with_bos = [&](const std::string& text) {
        if (loaded.tokenizer == nullptr) throw Failure("the folder has no tokenizer");
        return encode(loaded.tokenizer.get(), text, FATHOM_ENCODE_BOS);
    };
    if (line.has("--jsonl")) {
        for_each_json_line([&](const JsonLine& in) {
            const std::vector<int32_t> ids =
                in.has("ids") ? in.ids("ids") : encode_with_bos(in.text("text"));
            JsonLine out;
            out.set_logprobs("logprobs", score(loaded, ids));
            return out;
        });
        return 0;
    }
    const std::string text = line.words().empty() ? read_stdin() : line.words().front();
    const std::vector<int32_t> ids = encode_with_bos(text);
    if (ids.size() < 2) throw Failure("found " + std::to_string(ids.size()) +
                                      " tokens, wanted at least 2: the first is the context");
    const std::vector<float> logprobs = score(loaded, ids);
    for (size_t i = 1; i < ids.size(); ++i) {
        print(decimals(static_cast<double>(logprobs[i]), 4) + "\t" + std::to_string(ids[i]) + "\t" +
              decode(loaded.tokenizer.get(), {ids[i]}, 0) + "\n");
    }
    print("perplexity " + decimals(perplexity(logprobs), 4) + " over " +
          std::to_string(ids.size() - 1) + " tokens\n");
    return 0;
}

}  // namespace

const Command kScore{
    "score", "log-probability of every token, and perplexity",
    "  fathom score --model models/v2-lite 'The capital of France is Paris.'\n"
    "  fathom score --model models/v2-lite --jsonl < in.jsonl\n"
    "    {\"ids\"} or {\"text\"} to {\"logprobs\": [null, log P(ids[1] | ids[0]), ...]}\n",
    flags(), 1, run_score};

}  // namespace fathom::cli
