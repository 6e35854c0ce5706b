// If these fail, the engine computes something else than the model that it was given: the whole
// way from a folder to a stream, with the real backend, against the float64 oracle.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "base/text.h"
#include "engine/engine.h"
#include "engine/engine_model.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "format/safetensors.h"
#include "tokenizer/tokenizer.h"

using namespace fathom;

namespace {

constexpr uint64_t kForever = UINT64_MAX;

std::string golden_folder(std::string_view name) {
    return concat(FATHOM_SOURCE_DIR, "/tests/golden/", name);
}

template <typename Element>
std::vector<Element> expected_values(std::string_view fixture, std::string_view tensor) {
    const Directory folder(golden_folder(fixture));
    const File file = folder.open("expected.safetensors");
    for (const TensorInfo& info : read_safetensors_header(file, {}).tensors) {
        if (info.name != tensor) continue;
        std::vector<std::byte> bytes(info.bytes);
        file.read(info.offset, bytes);
        std::vector<Element> values(bytes.size() / sizeof(Element));
        std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }
    return {};
}

struct Answer {
    std::vector<int32_t> ids;
    std::string text;
    std::vector<TokenLogprob> logprobs;
    FinishReason reason = FinishReason::kNone;

    bool operator==(const Answer& other) const {
        return ids == other.ids && logprobs.size() == other.logprobs.size() &&
               std::equal(logprobs.begin(), logprobs.end(), other.logprobs.begin(),
                          [](const TokenLogprob& a, const TokenLogprob& b) {
                              return a.token == b.token && a.logprob == b.logprob;
                          });
    }
};

Answer read_all(Stream& stream) {
    Answer answer;
    Event event;
    while (stream.next(kForever, event)) {
        answer.ids.insert(answer.ids.end(), event.ids.begin(), event.ids.end());
        if (event.type != EventType::kDone) answer.text += event.text;
        answer.logprobs.insert(answer.logprobs.end(), event.logprobs.begin(),
                               event.logprobs.end());
        if (event.type != EventType::kDone) continue;
        answer.reason = event.finish_reason;
        break;
    }
    return answer;
}

}  // namespace

TEST_CASE("engine: greedy answers are the oracle's", "[engine][golden]") {
    for (const char* fixture : {"v2-lite-f32", "v2-groups-f32", "v3-f32", "moonlight-f32",
                                "kimi-k2-f32", "glm47-flash-f32"}) {
        CAPTURE(fixture);
        const auto engine = Engine::create({.n_threads = 2, .max_batch_rows = 7});
        const auto model = EngineModel::load(engine, golden_folder(fixture), {.context = 200});
        const auto session = Session::create(model, 0);
        const auto prompt = expected_values<int32_t>(fixture, "prompt");
        const auto greedy = expected_values<int32_t>(fixture, "greedy");
        const auto logits = expected_values<double>(fixture, "logits_decode");
        const auto n_vocab = static_cast<size_t>(model->config().vocab_size);
        REQUIRE(greedy.size() == 32);
        GenerateOptions options;
        options.max_tokens = greedy.size();
        options.sampling.logprobs = 1;
        const auto stream = session->generate(prompt, options);
        const Answer answer = read_all(*stream);
        CHECK(answer.ids == greedy);
        CHECK(answer.reason == FinishReason::kLength);
        CHECK(stream->usage().prompt_fresh == prompt.size());
        // logits_decode[i] are the logits after greedy[i].
        REQUIRE(answer.logprobs.size() == greedy.size());
        for (size_t i = 0; i + 1 < greedy.size(); ++i) {
            double sum = 0;
            for (size_t id = 0; id < n_vocab; ++id) sum += std::exp(logits[i * n_vocab + id]);
            const auto next = static_cast<size_t>(greedy[i + 1]);
            const double right = logits[i * n_vocab + next] - std::log(sum);
            CHECK(std::abs(answer.logprobs[i + 1].logprob - right) < 1e-4);
        }
        // The same again from the cache, and scored as a prompt.
        const Answer again = read_all(*session->generate(prompt, options));
        CHECK(again.ids == greedy);
        std::vector<int32_t> whole = prompt;
        whole.insert(whole.end(), greedy.begin(), greedy.end());
        const auto scorer = Session::create(model, 0);
        GenerateOptions scoring;
        scoring.flags = kGeneratePromptOnly | kGeneratePromptLogprobs;
        const Answer scored = read_all(*scorer->generate(whole, scoring));
        REQUIRE(scored.logprobs.size() == whole.size() - 1);
        for (size_t i = 0; i < greedy.size(); ++i) {
            const TokenLogprob& entry = scored.logprobs[prompt.size() - 1 + i];
            CHECK(entry.token == greedy[i]);
            CHECK(std::abs(entry.logprob - answer.logprobs[i].logprob) < 1e-4);
        }
    }
}

TEST_CASE("engine: deterministic answers alone, together, in any chunk and thread count",
          "[engine][deterministic]") {
    const char* const fixture = "v3-bf16";
    const auto prompt = expected_values<int32_t>(fixture, "long_prompt");
    const auto options_of = [](int i) {
        GenerateOptions options;
        options.max_tokens = 12;
        options.sampling = {.temperature = 1, .logprobs = 3, .seed = static_cast<uint64_t>(i)};
        return options;
    };
    const auto prompt_of = [&](int i) {
        std::vector<int32_t> own(prompt.begin(), prompt.begin() + 60 + 3 * i);
        own.push_back(i);
        return own;
    };
    constexpr int kStreams = 6;
    std::vector<Answer> wanted(kStreams);
    {
        const auto engine = Engine::create({.n_threads = 1, .deterministic = true});
        const auto model = EngineModel::load(engine, golden_folder(fixture), {.context = 256});
        for (int i = 0; i < kStreams; ++i) {
            const auto session = Session::create(model, 0);
            wanted[static_cast<size_t>(i)] =
                read_all(*session->generate(prompt_of(i), options_of(i)));
        }
    }
    CHECK_FALSE(wanted[0] == wanted[1]);
    for (const int32_t max_rows : {1, 7, 64}) {
        for (const int32_t n_threads : {1, 3}) {
            CAPTURE(max_rows, n_threads);
            // The KV cache has four pages and each stream needs two: they wait for each other.
            const auto engine = Engine::create(
                {.n_threads = n_threads, .deterministic = true, .max_batch_rows = max_rows});
            const auto model =
                EngineModel::load(engine, golden_folder(fixture), {.context = 256});
            std::vector<Answer> got(kStreams);
            std::vector<std::thread> threads;
            for (int i = 0; i < kStreams; ++i) {
                threads.emplace_back([&, i] {
                    const auto session = Session::create(model, 0);
                    got[static_cast<size_t>(i)] =
                        read_all(*session->generate(prompt_of(i), options_of(i)));
                });
            }
            for (std::thread& thread : threads) thread.join();
            for (size_t i = 0; i < kStreams; ++i) CHECK(got[i] == wanted[i]);
        }
    }
}

TEST_CASE("engine: text is what the tokenizer makes of the ids, stops included", "[engine]") {
    const std::string folder = concat(FATHOM_SOURCE_DIR, "/examples/demo-model/model");
    const Directory directory(folder);
    REQUIRE(directory.contains("tokenizer.json"));
    REQUIRE(directory.contains("config.json"));
    const auto engine = Engine::create({.n_threads = 2});
    const auto model = EngineModel::load(engine, folder, {});
    REQUIRE(model->tokenizer() != nullptr);
    CHECK(*model->metadata("architecture") == "deepseek_v3");
    CHECK(model->metadata("config.vocab_size") != nullptr);
    CHECK(model->metadata("config.nothing") == nullptr);
    std::vector<int32_t> prompt;
    if (model->tokenizer()->bos_id() >= 0) prompt.push_back(model->tokenizer()->bos_id());
    model->tokenizer()->encode("The order of", false, prompt);
    GenerateOptions options;
    options.flags = kGenerateIgnoreEos;
    options.max_tokens = 40;
    const auto session = Session::create(model, 0);
    const Answer answer = read_all(*session->generate(prompt, options));
    REQUIRE(answer.ids.size() == 40);
    REQUIRE(answer.text.size() > 8);
    const std::string stop = answer.text.substr(answer.text.size() / 2, 4);
    options.stop = {stop};
    const auto stream = session->generate(prompt, options);
    const Answer stopped = read_all(*stream);
    CHECK(stopped.reason == FinishReason::kStop);
    CHECK(stopped.text == answer.text.substr(0, answer.text.find(stop)));
    CHECK(stopped.ids.size() < 40);
    CHECK(stream->usage().prompt_cached == prompt.size() - 1);
    CHECK(stream->usage().output_tokens + stream->usage().reasoning_tokens ==
          stopped.ids.size());
}
