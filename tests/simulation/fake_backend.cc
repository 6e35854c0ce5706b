#include "fake_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>

#include "base/status.h"

namespace fathom::simulation {
namespace {

uint64_t mix(uint64_t value) {
    value += 0x9E3779B97F4A7C15;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
    return value ^ (value >> 31);
}

/// The "attention": every row before, each with its position.
uint64_t attend(uint64_t sum, int32_t position, uint64_t row) {
    return sum + mix(row + static_cast<uint64_t>(position) * 0x632BE59BD9B4E019);
}

uint64_t new_row(uint64_t sum, int32_t position, int32_t token) {
    return mix(sum ^ mix(static_cast<uint64_t>(token) << 32 | static_cast<uint32_t>(position)));
}

void logits_of(uint64_t row, float* logits) {
    for (int32_t id = 0; id < kVocabRows; ++id) {
        const uint64_t bits = mix(row ^ (static_cast<uint64_t>(id) * 0xD1342543DE82EF95));
        logits[id] = static_cast<float>(bits >> 40) * 0x1p-21F - 4.0F;
    }
}

struct Executor {
    Limits limits;
    std::vector<uint64_t> rows;      // [n_pages, kPageTokens]
    std::vector<float> logits;       // [max_logit_rows, kVocabRows]
    std::vector<uint64_t> computed;  // [max_rows]
    std::vector<char> seen;          // [n_pages]: the page is in this batch
};

bool check(bool rule, const char* name) {
    if (!rule) fake_control().broken_rule = name;
    return rule;
}

bool check_batch(Executor& executor, const Batch& batch) {
    const Limits& limits = executor.limits;
    bool good = check(batch.n_rows >= 1 && batch.n_rows <= limits.max_rows, "rows in the limit");
    good &= check(batch.n_sequences <= limits.max_sequences, "sequences in the limit");
    good &= check(batch.n_logit_rows <= limits.max_logit_rows, "logit rows in the limit");
    int32_t row = 0;
    std::fill(executor.seen.begin(), executor.seen.end(), char{0});
    for (int32_t i = 0; good && i < batch.n_sequences; ++i) {
        const SequenceRows& sequence = batch.sequences[i];
        good &= check(sequence.first_row == row && sequence.n_rows >= 1, "rows are contiguous");
        row += sequence.n_rows;
        for (int32_t r = sequence.first_row + 1; r < row; ++r) {
            good &= check(batch.position[r] == batch.position[r - 1] + 1, "positions follow");
        }
        const int32_t last = batch.position[row - 1];
        good &= check(last / kPageTokens < sequence.n_pages, "pages for every position");
        for (int32_t p = 0; good && p < sequence.n_pages; ++p) {
            const int32_t page = sequence.pages[p];
            good &= check(page >= 0 && page < limits.n_pages, "page in the pool");
            if (good) {
                good &= check(executor.seen[static_cast<size_t>(page)]++ == 0, "no page twice");
            }
        }
    }
    good &= check(row == batch.n_rows, "every row belongs to a sequence");
    for (int32_t i = 0; i < batch.n_logit_rows; ++i) {
        good &= check(batch.logit_row[i] >= 0 && batch.logit_row[i] < batch.n_rows,
                      "logit rows exist");
    }
    for (int32_t r = 0; r < batch.n_rows; ++r) {
        good &= check(batch.token[r] >= 0 && batch.token[r] < kVocabRows, "token in the table");
    }
    return good;
}

int32_t fail_with(BackendError* error, Status status, const char* text) {
    std::strncpy(error->text, text, sizeof error->text - 1);
    return static_cast<int32_t>(status);
}

int32_t open(const BackendOptions*, void** device, BackendError*) {
    ++fake_control().n_devices;
    *device = &fake_control();
    return 0;
}

void close(void*) { --fake_control().n_devices; }

const char* describe(void*) { return "\"isa\":\"fake\""; }

int32_t alloc(void*, uint64_t bytes, void** memory, BackendError*) {
    *memory = ::operator new(bytes);
    return 0;
}

void free(void*, void* memory, uint64_t) { ::operator delete(memory); }

int32_t upload(void*, void* to, const void* from, uint64_t bytes, BackendError*) {
    std::memcpy(to, from, bytes);
    return 0;
}

void memory_need(const Plan*, const Limits* limits, const BackendOptions*, uint64_t* workspace,
                 uint64_t* kv) {
    *workspace = static_cast<uint64_t>(limits->max_rows) * 8;
    *kv = static_cast<uint64_t>(limits->n_pages) * kPageTokens * 8;
}

int32_t prepare(void*, const Plan*, const Limits* limits, void** out, BackendError* error) {
    try {
        auto executor = std::make_unique<Executor>();
        executor->limits = *limits;
        executor->seen.resize(static_cast<size_t>(limits->n_pages));
        const auto n_rows = static_cast<size_t>(limits->n_pages) * kPageTokens;
        // Unused memory is poisoned: a row that nobody wrote gives tokens that nobody expects.
        executor->rows.assign(n_rows, 0xDEADBEEFDEADBEEF);
        executor->logits.resize(static_cast<size_t>(limits->max_logit_rows) * kVocabRows);
        executor->computed.resize(static_cast<size_t>(limits->max_rows));
        *out = executor.release();
        ++fake_control().n_executors;
        return 0;
    } catch (const std::bad_alloc&) {
        return fail_with(error, Status::kNoMemory, "no memory");
    }
}

void release(void* executor) {
    --fake_control().n_executors;
    delete static_cast<Executor*>(executor);
}

int32_t run(void* handle, const Batch* batch, BackendError* error) {
    auto& executor = *static_cast<Executor*>(handle);
    FakeControl& control = fake_control();
    ++control.n_runs;
    if (batch->n_sequences > control.largest_batch) control.largest_batch = batch->n_sequences;
    if (control.fail_run_after >= 0 && control.fail_run_after-- == 0) {
        return fail_with(error, Status::kDeviceLost, "the fake device was told to fail");
    }
    if (!check_batch(executor, *batch)) return fail_with(error, Status::kInternal, "bad batch");
    for (int32_t i = 0; i < batch->n_sequences; ++i) {
        const SequenceRows& sequence = batch->sequences[i];
        const auto row_at = [&](int32_t position) -> uint64_t& {
            const int32_t page = sequence.pages[position / kPageTokens];
            return executor.rows[static_cast<size_t>(page * kPageTokens +
                                                     position % kPageTokens)];
        };
        uint64_t sum = 0;
        int32_t position = batch->position[sequence.first_row];
        for (int32_t before = 0; before < position; ++before) {
            sum = attend(sum, before, row_at(before));
        }
        for (int32_t r = 0; r < sequence.n_rows; ++r, ++position) {
            const auto index = static_cast<size_t>(sequence.first_row + r);
            const uint64_t row = new_row(sum, position, batch->token[index]);
            row_at(position) = row;
            executor.computed[index] = row;
            sum = attend(sum, position, row);
        }
    }
    for (int32_t i = 0; i < batch->n_logit_rows; ++i) {
        const auto row = static_cast<size_t>(batch->logit_row[i]);
        float* const logits = &executor.logits[static_cast<size_t>(i) * kVocabRows];
        logits_of(executor.computed[row], logits);
        if (batch->token[row] == control.nan_at_token) logits[3] = std::nanf("");
    }
    return 0;
}

const float* logits(void* executor) { return static_cast<Executor*>(executor)->logits.data(); }

int32_t copy_page(void* handle, int32_t from, int32_t to, int32_t n_tokens, BackendError*) {
    auto& executor = *static_cast<Executor*>(handle);
    std::copy_n(executor.rows.begin() + from * kPageTokens, n_tokens,
                executor.rows.begin() + to * kPageTokens);
    return 0;
}

constexpr BackendTable kTable = {
    .name = "fake",
    .open = open,
    .close = close,
    .describe = describe,
    .host_memory = 1,
    .alloc = alloc,
    .free = free,
    .upload = upload,
    .memory_need = memory_need,
    .prepare = prepare,
    .release = release,
    .run = run,
    .logits = logits,
    .copy_page = copy_page,
};

}  // namespace

void Oracle::assign(std::span<const int32_t> tokens) {
    *this = Oracle();
    for (const int32_t token : tokens) push(token);
}

void Oracle::push(int32_t token) {
    row_ = new_row(sum_, n_rows_, token);
    sum_ = attend(sum_, n_rows_++, row_);
}

std::vector<float> Oracle::logits() const {
    std::vector<float> logits(kVocabRows);
    logits_of(row_, logits.data());
    return logits;
}

std::vector<float> expected_logits(std::span<const int32_t> tokens) {
    Oracle oracle;
    oracle.assign(tokens);
    return oracle.logits();
}

FakeControl& fake_control() {
    static FakeControl control;
    return control;
}

void reset_fake_control() {
    FakeControl& control = fake_control();
    control.fail_run_after = -1;
    control.nan_at_token = -1;
    control.n_runs = 0;
    control.largest_batch = 0;
    control.broken_rule = nullptr;
}

const BackendTable* fake_backend() { return &kTable; }

ModelParts fake_model(int64_t max_context, std::vector<int32_t> end_ids) {
    ModelParts parts;
    parts.plan.shape.vocab_rows = kVocabRows;
    parts.n_tokens = kTokens;
    parts.kv_values_per_token = 2;  // of F32: the 8 bytes of a row
    parts.max_context = max_context;
    parts.end_ids = std::move(end_ids);
    return parts;
}

}  // namespace fathom::simulation
