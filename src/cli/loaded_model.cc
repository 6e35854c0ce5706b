#include "cli/loaded_model.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cli/terminal.h"

namespace fathom::cli {
namespace {

constexpr Flag kModelFlags[] = {
    {"--model", "FOLDER", "checkpoint folder as published (required)"},
    {"--device", "KIND", "cpu (default) or cuda"},
    {"--driver", "FOLDER", "folder of the device's driver (default: the system's)"},
    {"--threads", "N", "computing threads (default: all processors)"},
    {"--cpu", "LEVEL", "auto, scalar, avx2, avx512 or avx512_bf16"},
    {"--deterministic", nullptr, "same tokens whatever else runs"},
    {"--context", "N", "most tokens of a conversation (default: 4096 or the checkpoint's limit)"},
    {"--kv-cache", "BYTES", "memory for the KV cache"},
    {"--kv-type", "TYPE", "auto, bf16 or f32"},
    {"--memory-budget", "BYTES", "refuse to use more than this"},
    {"--dialect", "NAME", "how turns are rendered (default: recognised)"},
};

constexpr Flag kGenerateFlags[] = {
    {"--max-tokens", "N", "most tokens to generate"},
    {"--temperature", "T", "0 is greedy (default)"},
    {"--top-k", "K", "keep the K most likely tokens"},
    {"--top-p", "P", "keep the smallest set with probability P"},
    {"--min-p", "P", "drop tokens below P times the best"},
    {"--repetition-penalty", "X", "divide logits of tokens seen"},
    {"--seed", "N", "seed of the randomness"},
    {"--stop", "TEXT", "stop before this text (may repeat)"},
    {"--think", nullptr, "begin with reasoning"},
    {"--no-think", nullptr, "begin without reasoning"},
};

std::vector<Flag> joined(std::span<const Flag> first, std::span<const Flag> second) {
    std::vector<Flag> all(first.begin(), first.end());
    all.insert(all.end(), second.begin(), second.end());
    return all;
}

int32_t choice(const CommandLine& line, std::string_view name,
               std::span<const std::pair<std::string_view, int32_t>> choices) {
    const std::string given = line.text(name, choices.front().first);
    for (const auto& [word, value] : choices) {
        if (given == word) return value;
    }
    std::string wanted;
    for (const auto& [word, value] : choices) {
        wanted += (wanted.empty() ? "" : ", ") + std::string(word);
    }
    throw UsageError(std::string(name) + ": found '" + given + "', wanted one of " + wanted);
}

int32_t show_progress(void* bar, uint64_t done, uint64_t total) {
    static_cast<ProgressBar*>(bar)->show(done, total);
    return 0;
}

}  // namespace

std::vector<Flag> with_model_flags(std::span<const Flag> own) { return joined(kModelFlags, own); }

std::vector<Flag> with_generate_flags(std::span<const Flag> own) {
    return joined(with_model_flags(kGenerateFlags), own);
}

fathom_engine_options engine_options(const CommandLine& line) {
    static constexpr std::pair<std::string_view, int32_t> kLevels[] = {
        {"auto", FATHOM_CPU_AUTO},     {"scalar", FATHOM_CPU_SCALAR},
        {"avx2", FATHOM_CPU_AVX2},     {"avx512", FATHOM_CPU_AVX512},
        {"avx512_bf16", FATHOM_CPU_AVX512_BF16},
    };
    static constexpr std::pair<std::string_view, int32_t> kDevices[] = {
        {"cpu", FATHOM_DEVICE_CPU}, {"cuda", FATHOM_DEVICE_CUDA}};
    fathom_engine_options options = {};
    options.struct_size = sizeof options;
    options.device = choice(line, "--device", kDevices);
    if (line.has("--driver")) {
        const std::string& folder = line.required("--driver");
        options.driver_folder = folder.data();
        options.driver_folder_bytes = folder.size();
    }
    options.n_threads = static_cast<int32_t>(line.integer("--threads", 0, 1, 1024));
    options.cpu_level = choice(line, "--cpu", kLevels);
    options.deterministic = line.has("--deterministic") ? 1 : 0;
    options.kv_cache_bytes =
        static_cast<uint64_t>(line.integer("--kv-cache", 0, 1, INT64_MAX));
    options.memory_budget =
        static_cast<uint64_t>(line.integer("--memory-budget", 0, 1, INT64_MAX));
    return options;
}

int32_t thinking_of(const CommandLine& line) {
    if (line.has("--think") && line.has("--no-think")) {
        throw UsageError("--think and --no-think contradict each other");
    }
    if (line.has("--think")) return FATHOM_THINKING_ON;
    return line.has("--no-think") ? FATHOM_THINKING_OFF : FATHOM_THINKING_AUTO;
}

GenerateOptions::GenerateOptions(const CommandLine& line) : stop(line.all("--stop")) {
    for (const std::string& text : stop) texts.push_back({text.data(), text.size()});
    options.struct_size = sizeof options;
    options.max_tokens = static_cast<uint64_t>(line.integer("--max-tokens", 0, 1, INT64_MAX));
    options.temperature = static_cast<float>(line.number("--temperature", 0, 0, 100));
    options.top_k = static_cast<int32_t>(line.integer("--top-k", 0, 0, INT32_MAX));
    options.top_p = static_cast<float>(line.number("--top-p", 0, 0, 1));
    options.min_p = static_cast<float>(line.number("--min-p", 0, 0, 1));
    options.repetition_penalty =
        static_cast<float>(line.number("--repetition-penalty", 0, 0, 100));
    options.seed = static_cast<uint64_t>(line.integer("--seed", 0, 0, INT64_MAX));
    options.stop = texts.data();
    options.n_stop = texts.size();
}

LoadedModel::LoadedModel(const CommandLine& line) : dialect(line.text("--dialect", "")) {
    static constexpr std::pair<std::string_view, int32_t> kTypes[] = {
        {"auto", FATHOM_KV_AUTO}, {"bf16", FATHOM_KV_BF16}, {"f32", FATHOM_KV_F32}};
    const std::string& folder = line.required("--model");
    const fathom_source source = source_of(folder);
    const fathom_engine_options engine_settings = engine_options(line);
    Outcome outcome;

    fathom_engine* new_engine = nullptr;
    outcome = fathom_engine_create(&engine_settings, &new_engine, outcome);
    engine.reset(new_engine);

    ProgressBar bar("loading");
    fathom_model_options options = {};
    options.struct_size = sizeof options;
    options.context = static_cast<uint64_t>(line.integer("--context", 0, 1, INT32_MAX));
    options.kv_type = choice(line, "--kv-type", kTypes);
    options.dialect = dialect.empty() ? nullptr : dialect.data();
    options.dialect_bytes = dialect.size();
    options.progress = show_progress;
    options.progress_user_data = &bar;
    fathom_model* new_model = nullptr;
    outcome = fathom_model_load(engine.get(), &source, &options, &new_model, outcome);
    model.reset(new_model);

    fathom_tokenizer* new_tokenizer = nullptr;
    const int32_t status = fathom_model_tokenizer(model.get(), &new_tokenizer, nullptr);
    if (status != FATHOM_OK && status != FATHOM_BAD_STATE) throw Failure("no tokenizer");
    tokenizer.reset(new_tokenizer);
}

}  // namespace fathom::cli
