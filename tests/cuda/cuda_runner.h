#pragma once

// The least that runs a fixture of tests/golden on any backend, and its expected numbers.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "backend/ops.h"
#include "base/status.h"
#include "format/checkpoint.h"
#include "model/model.h"

namespace cuda_test {

using fathom::BackendError;
using fathom::BackendOptions;
using fathom::BackendTable;

inline std::string golden(std::string_view name) {
    return fathom::concat(FATHOM_SOURCE_DIR, "/tests/golden/", name);
}

/// expected.safetensors of a fixture, read with the library's own reader.
class Expected {
public:
    explicit Expected(std::string_view name) {
        const fathom::Directory folder(golden(name));
        const fathom::File file = folder.open("expected.safetensors");
        for (const fathom::TensorInfo& info : fathom::read_safetensors_header(file, {}).tensors) {
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

inline constexpr int32_t kPages = 64;
inline constexpr int32_t kMaxRows = 160;
inline constexpr int32_t kMaxSequences = 16;

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

class Runner {
public:
    Runner(const BackendTable& table, const std::string& folder, const BackendOptions& options)
        : table_(table) {
        BackendError error{};
        check(table_.open(&options, &device_, &error), error);
        const fathom::Checkpoint checkpoint(folder);
        config_ = fathom::read_model_config(checkpoint.config());
        model_ = fathom::Model::load(table_, device_, checkpoint, config_, {});
        const fathom::Limits limits{kMaxRows, kMaxRows, kMaxSequences, kPages,
                                    model_->natural_kv_dtype()};
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

    bool is_f32() const { return model_->natural_kv_dtype() == fathom::DType::kF32; }
    const fathom::Plan& plan() const { return model_->plan(); }

    /// One step; logits of every row.
    Rows step(const std::vector<Part>& parts) {
        std::vector<int32_t> tokens, positions, logit_rows;
        std::vector<fathom::SequenceRows> sequences;
        for (const Part& part : parts) {
            Sequence& sequence = *part.sequence;
            const int32_t n_rows = static_cast<int32_t>(part.ids.size());
            const int32_t first = static_cast<int32_t>(tokens.size());
            for (int32_t id : part.ids) {
                logit_rows.push_back(static_cast<int32_t>(tokens.size()));
                tokens.push_back(id);
                positions.push_back(sequence.length++);
            }
            while (static_cast<int32_t>(sequence.pages.size()) * fathom::kPageTokens <
                   sequence.length) {
                REQUIRE_FALSE(free_.empty());
                sequence.pages.push_back(free_.back());
                free_.pop_back();
            }
            sequences.push_back({first, n_rows, sequence.pages.data(),
                                 static_cast<int32_t>(sequence.pages.size()), 0});
        }
        const fathom::Batch batch{static_cast<int32_t>(tokens.size()),
                                  static_cast<int32_t>(sequences.size()),
                                  static_cast<int32_t>(logit_rows.size()),
                                  0,
                                  tokens.data(),
                                  positions.data(),
                                  sequences.data(),
                                  logit_rows.data()};
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

    void copy_page(int32_t from, int32_t to, int32_t n_tokens) {
        BackendError error{};
        check(table_.copy_page(executor_, from, to, n_tokens, &error), error);
    }

    int32_t take_page() {
        const int32_t page = free_.back();
        free_.pop_back();
        return page;
    }

    void give_back(const Sequence& sequence) {
        free_.insert(free_.end(), sequence.pages.begin(), sequence.pages.end());
    }

private:
    static void check(int32_t status, const BackendError& error) {
        if (status != 0) throw fathom::Error(static_cast<fathom::Status>(status), error.text);
    }

    const BackendTable& table_;
    void* device_ = nullptr;
    void* executor_ = nullptr;
    fathom::ModelConfig config_;
    std::unique_ptr<fathom::Model> model_;
    std::vector<int32_t> free_;
};

/// ||found - wanted|| / ||wanted|| of one row of logits. Not a number counts as infinite.
inline double relative_error(const std::vector<float>& found, const double* wanted) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < found.size(); ++i) {
        const double d = static_cast<double>(found[i]) - wanted[i];
        difference += d * d;
        norm += wanted[i] * wanted[i];
    }
    const double error = std::sqrt(difference / norm);
    return std::isfinite(error) ? error : HUGE_VAL;
}

/// The largest error of the rows from `first` on against consecutive rows of `wanted`.
inline double worst_error(const Rows& rows, size_t first, const std::vector<double>& wanted) {
    double worst = 0;
    REQUIRE((rows.size() - first) * rows[0].size() == wanted.size());
    for (size_t row = first; row < rows.size(); ++row) {
        worst = std::max(
            worst, relative_error(rows[row], wanted.data() + (row - first) * rows[row].size()));
    }
    return worst;
}

inline int32_t argmax(const std::vector<float>& row, size_t n_vocab) {
    const auto end = row.begin() + static_cast<ptrdiff_t>(n_vocab);
    return static_cast<int32_t>(std::max_element(row.begin(), end) - row.begin());
}

inline bool same_bits(const Rows& a, const Rows& b) {
    if (a.size() != b.size()) return false;
    for (size_t row = 0; row < a.size(); ++row) {
        if (std::memcmp(a[row].data(), b[row].data(), a[row].size() * sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace cuda_test
