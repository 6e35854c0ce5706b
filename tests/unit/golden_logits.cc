// If this fails, the model answers with other numbers than the float64 oracle: wrong text, or, in
// deterministic mode, text that depends on what else runs.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "backend/backend.h"
#include "base/status.h"
#include "format/checkpoint.h"
#include "model/model.h"

using namespace fathom;

namespace {

constexpr const char* kFixtures[] = {
    "v2-lite-f32", "v2-groups-f32", "v3-f32",    "moonlight-f32", "kimi-k2-f32", "glm47-flash-f32",
    "v2-lite-f16", "v3-f16",        "v2-lite",   "v2-groups",     "v3-bf16",     "moonlight",
    "kimi-k2",     "glm47-flash",   "v3-fp8",    "v31-ue8m0"};

std::string golden(std::string_view name) {
    return concat(FATHOM_SOURCE_DIR, "/tests/golden/", name);
}

/// expected.safetensors of a fixture, read with the library's own reader.
class Expected {
public:
    explicit Expected(std::string_view name) {
        const Directory folder(golden(name));
        const File file = folder.open("expected.safetensors");
        for (const TensorInfo& info : read_safetensors_header(file, {}).tensors) {
            std::vector<std::byte> bytes(info.bytes);
            file.read(info.offset, bytes);
            data_[info.name] = std::move(bytes);
        }
    }

    std::vector<int32_t> ids(const std::string& name) const { return get<int32_t>(name); }
    std::vector<double> logits(const std::string& name) const { return get<double>(name); }

private:
    template <typename Element>
    std::vector<Element> get(const std::string& name) const {
        const std::vector<std::byte>& bytes = data_.at(name);
        std::vector<Element> values(bytes.size() / sizeof(Element));
        std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }

    std::map<std::string, std::vector<std::byte>> data_;
};

constexpr int32_t kPages = 64;
constexpr int32_t kMaxRows = 160;
constexpr int32_t kMaxSequences = 16;

/// A conversation's place in the KV cache.
struct Sequence {
    std::vector<int32_t> pages;
    int32_t length = 0;
};

/// Rows of one sequence that a step is to compute.
struct Part {
    Sequence* sequence;
    std::vector<int32_t> ids;
};

using Rows = std::vector<std::vector<float>>;  // logits, one vector of vocab_rows for each row

/// A fixture in a backend: the least that runs a plan.
class Runner {
public:
    Runner(std::string_view name, const BackendOptions& options) : table_(*cpu_backend()) {
        BackendError error{};
        check(table_.open(&options, &device_, &error), error);
        const Checkpoint checkpoint(golden(name));
        config_ = read_model_config(checkpoint.config());
        model_ = Model::load(table_, device_, checkpoint, config_, {});
        const Limits limits{kMaxRows, kMaxRows, kMaxSequences, kPages, model_->natural_kv_dtype()};
        check(table_.prepare(device_, &model_->plan(), &limits, &executor_, &error), error);
        // Pages in an order that no arithmetic on positions can guess.
        for (int32_t page = 0; page < kPages; ++page) free_.push_back(page * 27 % kPages);
    }
    ~Runner() {
        table_.release(executor_);
        model_.reset();
        table_.close(device_);
    }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    const ModelConfig& config() const { return config_; }
    bool is_f32() const { return model_->natural_kv_dtype() == DType::kF32; }

    /// One step; logits of every row.
    Rows step(const std::vector<Part>& parts) {
        std::vector<int32_t> tokens, positions, logit_rows;
        std::vector<SequenceRows> sequences;
        for (const Part& part : parts) {
            Sequence& sequence = *part.sequence;
            const int32_t n_rows = static_cast<int32_t>(part.ids.size());
            const int32_t first = static_cast<int32_t>(tokens.size());
            for (int32_t id : part.ids) {
                logit_rows.push_back(static_cast<int32_t>(tokens.size()));
                tokens.push_back(id);
                positions.push_back(sequence.length++);
            }
            while (static_cast<int32_t>(sequence.pages.size()) * kPageTokens < sequence.length) {
                REQUIRE_FALSE(free_.empty());
                sequence.pages.push_back(free_.back());
                free_.pop_back();
            }
            sequences.push_back({first, n_rows, sequence.pages.data(),
                                 static_cast<int32_t>(sequence.pages.size()), 0});
        }
        const Batch batch{static_cast<int32_t>(tokens.size()),
                          static_cast<int32_t>(sequences.size()),
                          static_cast<int32_t>(logit_rows.size()),
                          0, tokens.data(), positions.data(), sequences.data(), logit_rows.data()};
        BackendError error{};
        check(table_.run(executor_, &batch, &error), error);
        const float* logits = table_.logits(executor_);
        const size_t width = static_cast<size_t>(config_.vocab_size);
        Rows rows;
        for (size_t row = 0; row < tokens.size(); ++row) {
            rows.emplace_back(logits + row * width, logits + (row + 1) * width);
        }
        return rows;
    }

    /// Feeds `ids` in chunks; the logits of all of them.
    Rows feed(Sequence& sequence, const std::vector<int32_t>& ids, size_t chunk) {
        Rows all;
        for (size_t begin = 0; begin < ids.size(); begin += chunk) {
            const size_t end = std::min(ids.size(), begin + chunk);
            std::vector<int32_t> part(ids.begin() + static_cast<ptrdiff_t>(begin),
                                      ids.begin() + static_cast<ptrdiff_t>(end));
            for (std::vector<float>& row : step({{&sequence, std::move(part)}})) {
                all.push_back(std::move(row));
            }
        }
        return all;
    }

    void give_back(const Sequence& sequence) {
        free_.insert(free_.end(), sequence.pages.begin(), sequence.pages.end());
    }

private:
    static void check(int32_t status, const BackendError& error) {
        if (status != 0) throw Error(static_cast<Status>(status), error.text);
    }

    const BackendTable& table_;
    void* device_ = nullptr;
    void* executor_ = nullptr;
    ModelConfig config_;
    std::unique_ptr<Model> model_;
    std::vector<int32_t> free_;
};

struct Isa {
    CpuIsa isa;
    const char* name;
};

/// The variants that this processor runs; the others are named in the test's output.
const std::vector<Isa>& available_isas() {
    static const std::vector<Isa> available = [] {
        std::vector<Isa> found;
        for (const Isa& isa : {Isa{CpuIsa::kScalar, "scalar"}, Isa{CpuIsa::kAvx2, "avx2"},
                               Isa{CpuIsa::kAvx512, "avx512"},
                               Isa{CpuIsa::kAvx512Bf16, "avx512_bf16"}}) {
            const BackendOptions options{1, 0, isa.isa, MlaForm::kAuto};
            void* device = nullptr;
            BackendError error{};
            if (cpu_backend()->open(&options, &device, &error) == 0) {
                cpu_backend()->close(device);
                found.push_back(isa);
            } else {
                WARN("golden logits: variant " << isa.name << " not run here: " << error.text);
            }
        }
        return found;
    }();
    return available;
}

/// ||found - wanted|| / ||wanted|| of one row of logits.
double relative_error(const std::vector<float>& found, const double* wanted) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const double d = static_cast<double>(found[i]) - wanted[i];
        difference += d * d;
        norm += wanted[i] * wanted[i];
    }
    return std::sqrt(difference / norm);
}

/// The largest error of the rows from `first` on against consecutive rows of `wanted`.
double worst_error(const Rows& rows, size_t first, const std::vector<double>& wanted) {
    double worst = 0;
    REQUIRE((rows.size() - first) * rows[0].size() == wanted.size());
    for (size_t row = first; row < rows.size(); ++row) {
        worst = std::max(
            worst, relative_error(rows[row], wanted.data() + (row - first) * rows[row].size()));
    }
    return worst;
}

int32_t argmax(const std::vector<float>& row, size_t n_vocab) {
    const auto end = row.begin() + static_cast<ptrdiff_t>(n_vocab);
    return static_cast<int32_t>(std::max_element(row.begin(), end) - row.begin());
}

struct Answer {
    Rows prompt;
    Rows decode;
    Rows long_prompt;
};

/// The fixture's prompt, its greedy tokens one by one, and its long prompt in pages.
Answer answer(Runner& runner, const Expected& expected) {
    Answer result;
    Sequence sequence, other;
    const std::vector<int32_t> prompt = expected.ids("prompt");
    result.prompt = runner.feed(sequence, prompt, prompt.size());
    result.decode = runner.feed(sequence, expected.ids("greedy"), 1);
    result.long_prompt = runner.feed(other, expected.ids("long_prompt"), 1000);
    runner.give_back(sequence);
    runner.give_back(other);
    return result;
}

bool same_bits(const Rows& a, const Rows& b) {
    if (a.size() != b.size()) return false;
    for (size_t row = 0; row < a.size(); ++row) {
        if (std::memcmp(a[row].data(), b[row].data(), a[row].size() * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("golden logits: every fixture, variant and form") {
    double worst_f32 = 0, worst_other = 0;
    for (const char* name : kFixtures) {
        const Expected expected(name);
        const std::vector<int32_t> greedy = expected.ids("greedy");
        const size_t n_vocab = static_cast<size_t>(expected.ids("n_vocab")[0]);
        for (const Isa& isa : available_isas()) {
            for (MlaForm form : {MlaForm::kAuto, MlaForm::kNaive, MlaForm::kAbsorbed}) {
                Runner runner(name, {2, 0, isa.isa, form});
                const Answer found = answer(runner, expected);
                const double error = std::max(
                    {worst_error(found.prompt, 20, expected.logits("logits_prompt")),
                     worst_error(found.decode, 0, expected.logits("logits_decode")),
                     worst_error(found.long_prompt, 129, expected.logits("logits_long"))});
                CAPTURE(name, isa.name, static_cast<int>(form));
                CHECK(error <= (runner.is_f32() ? 1e-5 : 1e-2));
                double& worst = runner.is_f32() ? worst_f32 : worst_other;
                worst = std::max(worst, error);
                // Row i decides token i + 1; the makers keep every choice a percent apart.
                CHECK(argmax(found.prompt.back(), n_vocab) == greedy[0]);
                for (size_t i = 0; i + 1 < greedy.size(); ++i) {
                    CHECK(argmax(found.decode[i], n_vocab) == greedy[i + 1]);
                }
            }
        }
    }
    WARN("largest relative L2 error: " << worst_f32 << " with F32 weights (bar 1e-5), "
                                       << worst_other << " with others (bar 1e-2)");
}

TEST_CASE("golden logits: naive and absorbed form agree") {
    double worst = 0;
    for (const char* name : kFixtures) {
        const Expected expected(name);
        for (const Isa& isa : available_isas()) {
            Runner naive(name, {2, 0, isa.isa, MlaForm::kNaive});
            if (!naive.is_f32()) continue;
            Runner absorbed(name, {2, 0, isa.isa, MlaForm::kAbsorbed});
            const Answer a = answer(naive, expected);
            const Answer b = answer(absorbed, expected);
            const auto compare = [&](const Rows& x, const Rows& y) {
                for (size_t row = 0; row < x.size(); ++row) {
                    const std::vector<double> wanted(x[row].begin(), x[row].end());
                    const double error = relative_error(y[row], wanted.data());
                    worst = std::max(worst, error);
                    CAPTURE(name, isa.name, row);
                    CHECK(error <= 1e-5);
                }
            };
            compare(a.prompt, b.prompt);
            compare(a.decode, b.decode);
            compare(a.long_prompt, b.long_prompt);
        }
    }
    WARN("largest difference of the forms: " << worst << " (bar 1e-5)");
}

TEST_CASE("golden logits: every published spelling is covered by a fixture on disk") {
    // A fixture that is not in the list above would never be run.
    for (const auto& entry : std::filesystem::directory_iterator(golden(""))) {
        const std::string name = entry.path().filename().string();
        if (!std::filesystem::exists(entry.path() / "expected.safetensors")) continue;
        CAPTURE(name);
        CHECK(std::ranges::find(kFixtures, name) != std::end(kFixtures));
    }
}

TEST_CASE("deterministic mode: chunks and threads do not change a bit") {
    struct Way {
        int32_t n_threads;
        size_t chunk;
    };
    // The first is the reference. Every chunk size meets every thread count but for a few: many
    // short steps on more threads than processors are slow and show nothing new.
    constexpr Way kWays[] = {{1, 100}, {1, 1},  {1, 7},  {1, 64}, {2, 1}, {2, 7},
                             {2, 100}, {3, 7}, {3, 64}, {4, 7},  {4, 64}};
    for (const char* name : {"v2-lite", "v3-f32", "v3-fp8"}) {
        std::vector<int32_t> ids = Expected(name).ids("long_prompt");
        ids.resize(100);  // into the second page
        for (const Isa& isa : available_isas()) {
            Rows reference;
            std::unique_ptr<Runner> runner;
            int32_t n_threads = 0;
            for (const Way& way : kWays) {
                if (way.n_threads != n_threads) {
                    const BackendOptions options{way.n_threads, 1, isa.isa, MlaForm::kAuto};
                    runner = std::make_unique<Runner>(name, options);
                }
                n_threads = way.n_threads;
                Sequence sequence;
                const Rows rows = runner->feed(sequence, ids, way.chunk);
                runner->give_back(sequence);
                CAPTURE(name, isa.name, n_threads, way.chunk);
                if (reference.empty()) reference = rows;
                CHECK(same_bits(rows, reference));
            }
        }
    }
}

TEST_CASE("deterministic mode: other sequences in the batch do not change a bit") {
    for (const char* name : {"v2-lite", "v3-f32", "v31-ue8m0"}) {
        const Expected expected(name);
        const std::vector<int32_t> prompt = expected.ids("prompt");
        const std::vector<int32_t> greedy = expected.ids("greedy");
        const std::vector<int32_t> noise = expected.ids("long_prompt");
        for (const Isa& isa : available_isas()) {
            Runner runner(name, {2, 1, isa.isa, MlaForm::kAuto});
            Sequence alone;
            const Rows wanted_prompt = runner.feed(alone, prompt, prompt.size());
            const Rows wanted = runner.feed(alone, greedy, 1);
            runner.give_back(alone);
            for (size_t n_batch : {size_t{2}, size_t{3}, size_t{8}, size_t{16}}) {
                // Ours stands in the middle; the others are at positions of their own, and one of
                // them is still being prefilled while ours decodes.
                std::vector<Sequence> sequences(n_batch);
                const size_t ours = n_batch / 2;
                const auto others = [&](size_t step, std::vector<int32_t> ids) {
                    std::vector<Part> parts;
                    for (size_t i = 0; i < n_batch; ++i) {
                        const size_t n_rows = i == 0 ? 1 + step % 5 : 1;
                        std::vector<int32_t> rows;
                        for (size_t row = 0; row < n_rows; ++row) {
                            rows.push_back(noise[(step * 5 + i * 7 + row) % noise.size()]);
                        }
                        parts.push_back({&sequences[i], i == ours ? ids : rows});
                    }
                    return parts;
                };
                const auto our_rows = [&](const std::vector<Part>& parts, const Rows& rows) {
                    size_t first = 0;
                    for (size_t i = 0; i < ours; ++i) first += parts[i].ids.size();
                    const auto begin = rows.begin() + static_cast<ptrdiff_t>(first);
                    return Rows(begin, begin + static_cast<ptrdiff_t>(parts[ours].ids.size()));
                };
                CAPTURE(name, isa.name, n_batch);
                std::vector<Part> parts = others(0, prompt);
                CHECK(same_bits(our_rows(parts, runner.step(parts)), wanted_prompt));
                for (size_t i = 0; i < greedy.size(); ++i) {
                    parts = others(i + 1, {greedy[i]});
                    const Rows rows = our_rows(parts, runner.step(parts));
                    REQUIRE(same_bits(rows, {wanted[i]}));
                }
                for (const Sequence& sequence : sequences) runner.give_back(sequence);
            }
        }
    }
}
