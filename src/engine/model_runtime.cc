#include "engine/model_runtime.h"

#include <algorithm>
#include <utility>

#include "backend/check_backend.h"
#include "base/status.h"

namespace fathom {
namespace {

OutputIds output_ids_of(const ModelParts& parts) {
    OutputIds ids;
    ids.vocab_rows = parts.plan.shape.vocab_rows;
    ids.n_tokens = parts.n_tokens;
    ids.missing = parts.missing_ids;
    return ids;
}

SchedulerLimits scheduler_limits(const Limits& limits) {
    return {.max_rows = limits.max_rows,
            .max_logit_rows = limits.max_logit_rows,
            .max_sequences = limits.max_sequences,
            .n_pages = limits.n_pages};
}

}  // namespace

ModelRuntime::ModelRuntime(std::shared_ptr<BackendDevice> device, ModelParts parts,
                           const Limits& limits, uint64_t (*clock)(),
                           std::atomic<int64_t>& n_active)
    : device_(std::move(device)),
      parts_(std::move(parts)),
      limits_(limits),
      clock_(clock),
      n_active_(n_active),
      ids_(output_ids_of(parts_)),
      end_ids_(parts_.end_ids),
      executor_(prepare(*device_, parts_.plan, limits_)),
      scheduler_(scheduler_limits(limits)),
      token_(static_cast<size_t>(limits.max_rows)),
      position_(static_cast<size_t>(limits.max_rows)),
      logit_row_(static_cast<size_t>(limits.max_logit_rows)),
      sequences_(static_cast<size_t>(limits.max_sequences)) {
    scratch_.reserve(ids_);
    batch_.token = token_.data();
    batch_.position = position_.data();
    batch_.sequences = sequences_.data();
    batch_.logit_row = logit_row_.data();
}

ModelRuntime::~ModelRuntime() { tear_down(); }

void ModelRuntime::tear_down() noexcept {
    if (device_ == nullptr) return;
    requests_.clear();
    executor_.reset();
    parts_.owner.reset();  // the weights; they lie on the device
    device_.reset();
}

void ModelRuntime::submit(std::list<Request>& inbox, Position request) noexcept {
    requests_.splice(requests_.end(), inbox, request);
    request->set_place(request);
    request->prepare();
    scheduler_.submit(request->sequence());
}

uint64_t ModelRuntime::settle(uint64_t now_ns, bool cancel_all) noexcept {
    uint64_t earliest = UINT64_MAX;
    for (Position at = requests_.begin(); at != requests_.end();) {
        const Position request = at++;
        if (cancel_all || request->stream().cancelled.load(std::memory_order_relaxed)) {
            end(request, {FinishReason::kCancelled, Status::kOk, {}, now_ns});
        } else if (request->deadline_ns() <= now_ns) {
            end(request, {FinishReason::kDeadline, Status::kOk, {}, now_ns});
        } else {
            request->sequence().paused = !request->stream().queue.has_room();
            earliest = std::min(earliest, request->deadline_ns());
        }
    }
    return earliest;
}

void ModelRuntime::fail_all(Status status, std::string_view text) noexcept {
    const uint64_t now_ns = clock_();
    while (!requests_.empty()) {
        end(requests_.begin(), {FinishReason::kError, status, text, now_ns});
    }
}

void ModelRuntime::end(Position request, const Request::Ending& ending) noexcept {
    scheduler_.finish(request->sequence());
    // Once the request has finished, the session may be in its next one.
    request->sequence().owner = nullptr;
    request->finish(ending);
    requests_.erase(request);
    n_active_.fetch_sub(1);
}

ModelRuntime::StepCounts ModelRuntime::step() {
    StepCounts counts;
    const std::vector<ScheduledRows>& rows = scheduler_.next();
    if (rows.empty()) return counts;
    counts.ran = true;
    fill_batch(rows);
    const uint64_t before_ns = clock_();
    for (const ScheduledRows& scheduled : rows) {
        auto& request = *static_cast<Request*>(scheduled.sequence->owner);
        if (!request.started()) request.start(before_ns);
    }
    BackendError error{};
    const BackendTable& table = device_->table();
    check_backend(table, table.run(executor_.get(), &batch_, &error), error);
    counts.backend_ns = clock_() - before_ns;
    commit(rows, counts);
    return counts;
}

void ModelRuntime::fill_batch(const std::vector<ScheduledRows>& rows) {
    size_t row = 0;
    size_t logit_row = 0;
    for (size_t index = 0; index < rows.size(); ++index) {
        const ScheduledRows& scheduled = rows[index];
        const Sequence& place = *scheduled.sequence;
        const auto& request = *static_cast<const Request*>(place.owner);
        sequences_[index] = {.first_row = static_cast<int32_t>(row),
                             .n_rows = scheduled.n_rows,
                             .pages = place.pages.data(),
                             .n_pages = static_cast<int32_t>(place.pages.size()),
                             .padding = 0};
        for (int32_t offset = 0; offset < scheduled.n_rows; ++offset, ++row) {
            const int64_t position = place.n_cached + offset;
            token_[row] = request.token_at(position);
            position_[row] = static_cast<int32_t>(position);
            if (offset >= scheduled.n_rows - scheduled.n_logit_rows) {
                logit_row_[logit_row++] = static_cast<int32_t>(row);
            }
        }
    }
    batch_.n_rows = static_cast<int32_t>(row);
    batch_.n_sequences = static_cast<int32_t>(rows.size());
    batch_.n_logit_rows = static_cast<int32_t>(logit_row);
}

void ModelRuntime::commit(const std::vector<ScheduledRows>& rows, StepCounts& counts) {
    const uint64_t now_ns = clock_();
    const auto vocab_rows = static_cast<size_t>(ids_.vocab_rows);
    const float* logits = device_->table().logits(executor_.get());
    scheduler_.commit(rows);
    for (const ScheduledRows& scheduled : rows) {
        Request& request = *static_cast<Request*>(scheduled.sequence->owner);
        const size_t n_logits = static_cast<size_t>(scheduled.n_logit_rows) * vocab_rows;
        const Request::Computed computed{
            .first_position = scheduled.sequence->n_cached - scheduled.n_rows,
            .n_rows = scheduled.n_rows,
            .logits = {logits, n_logits},
            .n_logit_rows = scheduled.n_logit_rows,
            .now_ns = now_ns};
        logits += n_logits;
        commit_one(request, computed, counts);
    }
}

void ModelRuntime::commit_one(Request& request, const Request::Computed& computed,
                              StepCounts& counts) noexcept {
    const Usage before = request.usage();
    const auto finish = [&](FinishReason reason, Status status, std::string_view text) {
        const Usage& after = request.usage();
        counts.prefill_tokens += after.prompt_fresh - before.prompt_fresh;
        counts.decode_tokens += after.output_tokens - before.output_tokens +
                                after.reasoning_tokens - before.reasoning_tokens;
        if (reason != FinishReason::kNone) {
            end(request.place(), {reason, status, text, computed.now_ns});
        }
    };
    try {
        finish(request.commit(computed, scratch_), Status::kOk, {});
    } catch (...) {
        describe_exception([&](Status status, std::string_view text) {
            finish(FinishReason::kError, status, text);
        });
    }
}

}  // namespace fathom
