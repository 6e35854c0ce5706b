#include <algorithm>
#include <chrono>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/json_lines.h"
#include "cli/loaded_model.h"
#include "cli/terminal.h"

namespace fathom::cli {
namespace {

constexpr Flag kOwnFlags[] = {
    {"--prompt-tokens", "N", "tokens of the random prompt (default 512)"},
    {"--decode-tokens", "N", "tokens to generate (default 64)"},
    {"--repeat", "N", "runs; medians are printed (default 3)"},
    {"--json", nullptr, "one JSON object a run"},
};
const std::vector<Flag>& flags() {
    static const auto* all = new std::vector<Flag>(with_model_flags(kOwnFlags));
    return *all;
}

/// Ids spread over the vocabulary, so that the router spreads over the experts.
std::vector<int32_t> random_ids(int64_t count, int32_t vocabulary) {
    std::vector<int32_t> ids;
    uint64_t state = 1;
    for (int64_t i = 0; i < count; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids.push_back(static_cast<int32_t>((state >> 33) % static_cast<uint64_t>(vocabulary)));
    }
    return ids;
}

struct Run {
    double prefill_rate;  // tokens per second
    double decode_rate;
};

Run measure(const LoadedModel& loaded, const std::vector<int32_t>& ids, uint64_t decode_tokens) {
    fathom_session* session_handle = nullptr;
    Outcome outcome;
    outcome = fathom_session_create(loaded.model.get(), nullptr, &session_handle, outcome);
    const Session session(session_handle);
    fathom_prompt* prompt_handle = nullptr;
    outcome = fathom_prompt_create(loaded.tokenizer.get(), nullptr, &prompt_handle, outcome);
    const Prompt prompt(prompt_handle);
    outcome = fathom_prompt_add_tokens(prompt.get(), ids.data(), ids.size(), outcome);
    fathom_generate_options options = {};
    options.struct_size = sizeof options;
    options.flags = FATHOM_GENERATE_IGNORE_EOS;
    options.max_tokens = decode_tokens;
    const Answer answer = generate(session.get(), prompt.get(), options, nullptr);
    const auto rate = [](uint64_t tokens, uint64_t ns) {
        return ns == 0 ? 0.0 : static_cast<double>(tokens) * 1e9 / static_cast<double>(ns);
    };
    return {rate(answer.usage.prompt_fresh, answer.usage.prefill_ns),
            rate(answer.ids.size() - 1, answer.usage.decode_ns)};
}

/// Ids that the model accepts: the tokenizer's, or without one every row of the head.
int32_t n_tokens(const LoadedModel& loaded) {
    Outcome outcome;
    if (loaded.tokenizer == nullptr) {
        fathom_model_description model = {};
        model.struct_size = sizeof model;
        outcome = fathom_model_describe(loaded.model.get(), &model, outcome);
        return model.vocabulary_rows;
    }
    fathom_tokenizer_description tokenizer = {};
    tokenizer.struct_size = sizeof tokenizer;
    outcome = fathom_tokenizer_describe(loaded.tokenizer.get(), &tokenizer, outcome);
    return tokenizer.n_tokens;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

int run_bench(const CommandLine& line) {
    const int64_t prompt_tokens = line.integer("--prompt-tokens", 512, 1, 1 << 20);
    const int64_t decode_tokens = line.integer("--decode-tokens", 64, 2, 1 << 20);
    const int64_t repeat = line.integer("--repeat", 3, 1, 1000);
    const LoadedModel loaded(line);
    const std::vector<int32_t> ids = random_ids(prompt_tokens, n_tokens(loaded));
    std::vector<double> prefill;
    std::vector<double> decode;
    for (int64_t i = 0; i < repeat; ++i) {
        const Run run = measure(loaded, ids, static_cast<uint64_t>(decode_tokens));
        prefill.push_back(run.prefill_rate);
        decode.push_back(run.decode_rate);
        JsonLine out;
        out.set("prefill_tokens_per_s", run.prefill_rate);
        out.set("decode_tokens_per_s", run.decode_rate);
        if (line.has("--json")) print(out.dump() + "\n");
    }
    if (!line.has("--json")) {
        print("prefill " + decimals(median(prefill), 1) + " tokens/s, decode " +
              decimals(median(decode), 1) + " tokens/s (medians of " + std::to_string(repeat) +
              " runs, " + std::to_string(prompt_tokens) + " prompt tokens)\n");
    }
    return 0;
}

}  // namespace

const Command kBench{
    "bench", "prefill and decode speed of a model on this machine",
    "  fathom bench --model models/v2-lite --prompt-tokens 512 --decode-tokens 128\n",
    flags(), 0, run_bench};

}  // namespace fathom::cli
