#include "engine/engine_core.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "backend/backend.h"
#include "base/checked.h"
#include "base/status.h"

namespace fathom {
namespace {

EngineOptions with_defaults(EngineOptions options) {
    check_engine_options(options);
    if (options.max_batch_rows == 0) options.max_batch_rows = kDefaultBatchRows;
    if (options.max_sequences == 0) options.max_sequences = kDefaultSequences;
    if (options.backend == nullptr) options.backend = cpu_backend();
    if (options.clock == nullptr) options.clock = monotonic_ns;
    return options;
}

BackendOptions backend_options(const EngineOptions& options) {
    return {.n_threads = options.n_threads,
            .deterministic = options.deterministic ? 1 : 0,
            .isa = options.cpu_level,
            .mla_form = options.mla_form,
            .device_index = options.device_index,
            .driver_folder =
                options.driver_folder.empty() ? nullptr : options.driver_folder.c_str()};
}

}  // namespace

EngineCore::EngineCore(const EngineOptions& options)
    : options_(with_defaults(options)),
      device_(std::make_shared<BackendDevice>(*options_.backend, backend_options(options_))) {
    if (options_.mode == EngineMode::kThreaded) {
        executor_ = Thread::start([this] { run_executor(); });
    }
}

// ------------------------------------------------------------------------------------------------
// What any thread may call

void EngineCore::check_accepting() {
    const std::lock_guard lock(inbox_mutex_);
    refuse_unless_accepting();
}

void EngineCore::refuse_unless_accepting() const {
    if (!accepting_) fail(Status::kShutdown, "the engine is shutting down");
    if (device_status_.load() != 0) {
        fail(Status::kDeviceLost, "the engine's device failed before and cannot be used");
    }
}

void EngineCore::post(std::list<Request>& request) {
    {
        const std::lock_guard lock(inbox_mutex_);
        refuse_unless_accepting();
        inbox_.splice(inbox_.end(), request);
        n_active_.fetch_add(1);
        n_posted_.fetch_add(1);
    }
    work_.wake();
}

void EngineCore::close(std::shared_ptr<SessionState> session) noexcept {
    {
        const std::lock_guard lock(inbox_mutex_);
        session->next_closed = std::move(closed_);
        closed_ = std::move(session);
    }
    settle_if_idle();
}

void EngineCore::log(int32_t level, std::string_view text) noexcept {
    try {
        options_.log(level, text);
    } catch (...) {
        // A hook that throws is the host's mistake; the record is lost and nothing else.
    }
}

void EngineCore::settle_if_idle() noexcept {
    if (gate_.try_enter()) {
        settle();
        publish();
        gate_.leave();
    }
    work_.wake();
}

std::shared_ptr<BackendDevice> EngineCore::device() {
    check_accepting();
    const StepGate::Guest guest(gate_);
    if (device_ == nullptr) fail(Status::kShutdown, "the engine is shut down");
    return device_;
}

std::shared_ptr<ModelRuntime> EngineCore::start_model(ModelParts parts, const Limits& limits) {
    check_accepting();
    const StepGate::Guest guest(gate_);
    if (device_ == nullptr) fail(Status::kShutdown, "the engine is shut down");
    auto runtime = std::make_shared<ModelRuntime>(device_, std::move(parts), limits,
                                                  options_.clock, n_active_);
    models_.push_back(runtime);
    publish();
    return runtime;
}

void EngineCore::remove_model(ModelRuntime& runtime) noexcept {
    const StepGate::Guest guest(gate_);
    settle();
    runtime.settle(now_ns(), true);
    std::erase_if(models_, [&](const auto& model) { return model.get() == &runtime; });
    runtime.tear_down();
    publish();
}

void EngineCore::reserve_memory(uint64_t bytes, std::string_view parts) {
    uint64_t used = memory_bytes_.load();
    while (true) {
        const std::optional<uint64_t> sum = checked_add(used, bytes);
        const uint64_t budget = options_.memory_budget;
        if (!sum || (budget != 0 && *sum > budget)) {
            fail(Status::kBudget, "memory budget: the model needs ", bytes, " bytes (", parts,
                 "), ", used, " are in use, the budget is ", budget, " bytes");
        }
        if (memory_bytes_.compare_exchange_weak(used, *sum)) return;
    }
}

EngineStats EngineCore::stats() const {
    const auto count = [](const std::atomic<int64_t>& value) {
        return static_cast<uint64_t>(std::max<int64_t>(0, value.load(std::memory_order_relaxed)));
    };
    EngineStats stats;
    stats.device_status = static_cast<Status>(device_status_.load());
    stats.n_models = count(n_models_);
    stats.n_sessions = count(n_sessions_);
    stats.n_waiting = count(n_waiting_) + count(n_posted_);
    stats.n_running = count(n_running_);
    stats.kv_pages = count(kv_pages_);
    stats.kv_pages_used = count(kv_pages_used_);
    stats.n_steps = n_steps_.load();
    stats.prefill_tokens = prefill_tokens_.load();
    stats.decode_tokens = decode_tokens_.load();
    stats.memory_bytes = memory_bytes_.load();
    stats.step_ns_total = step_ns_total_.load();
    stats.backend_ns_total = backend_ns_total_.load();
    return stats;
}

// ------------------------------------------------------------------------------------------------
// The step

void EngineCore::run_executor() noexcept {
    while (true) {
        // Read before looking for work: what arrives while looking ends the wait at once.
        const uint32_t seen = work_.value();
        gate_.enter_executor();
        if (stop_.load()) {
            gate_.leave_executor();
            return;
        }
        const bool more = step_once();
        const uint64_t until_ns = earliest_deadline_ns_;
        const bool has_news = std::exchange(failure_is_news_, false);
        gate_.leave_executor();
        if (has_news) log(kLogWarning, failure_);
        if (!more) work_.wait(seen, until_ns);
    }
}

bool EngineCore::step(uint64_t budget_ns) {
    if (options_.mode != EngineMode::kManual) {
        fail(Status::kBadState, "engine step: the engine has a thread of its own");
    }
    if (stepping_.exchange(true)) {
        fail(Status::kBusy, "engine step: another thread is stepping this engine");
    }
    const uint64_t start_ns = now_ns();
    bool more = false;
    do {
        more = step_as_guest().more;
    } while (more && now_ns() - start_ns < budget_ns);
    stepping_.store(false);
    return more;
}

EngineCore::GuestStep EngineCore::step_as_guest() noexcept {
    GuestStep step{};
    bool has_news = false;
    {
        const StepGate::Guest guest(gate_);
        step.more = step_once();
        step.earliest_deadline_ns = earliest_deadline_ns_;
        has_news = std::exchange(failure_is_news_, false);
    }
    // The text does not change any more: the device fails once.
    if (has_news) log(kLogWarning, failure_);
    return step;
}

bool EngineCore::step_once() noexcept {
    const uint64_t start_ns = now_ns();
    settle();
    ModelRuntime* const runtime = next_runtime();
    if (runtime != nullptr) {
        try {
            ++next_model_;
            const ModelRuntime::StepCounts counts = runtime->step();
            n_steps_.fetch_add(counts.ran ? 1 : 0);
            prefill_tokens_.fetch_add(counts.prefill_tokens);
            decode_tokens_.fetch_add(counts.decode_tokens);
            backend_ns_total_.fetch_add(counts.backend_ns);
        } catch (...) {
            describe_exception([&](Status status, std::string_view text) {
                fail_step(*runtime, status, text);
            });
        }
        step_ns_total_.fetch_add(now_ns() - start_ns);
    }
    publish();
    return next_runtime() != nullptr;
}

/// Takes in what arrived since the last step, in this order: requests; cancels and deadlines;
/// sessions that are gone, whose requests were cancelled before.
void EngineCore::settle() noexcept {
    std::list<Request> requests;
    std::shared_ptr<SessionState> closed;
    {
        const std::lock_guard lock(inbox_mutex_);
        requests.splice(requests.end(), inbox_);
        closed = std::move(closed_);
        closed_ = nullptr;
    }
    while (!requests.empty()) {
        requests.front().session().runtime->submit(requests, requests.begin());
        n_posted_.fetch_sub(1);
    }
    const uint64_t now = now_ns();
    earliest_deadline_ns_ = UINT64_MAX;
    for (const std::shared_ptr<ModelRuntime>& model : models_) {
        earliest_deadline_ns_ =
            std::min(earliest_deadline_ns_, model->settle(now, cancel_all_.load()));
        if (device_status_.load() != 0) {
            model->fail_all(static_cast<Status>(device_status_.load()), failure_);
        }
    }
    while (closed != nullptr) {
        closed->runtime->close(*closed);
        closed = std::move(closed->next_closed);
    }
}

/// The next model that has something to do, in turn, so that models share the steps evenly.
ModelRuntime* EngineCore::next_runtime() noexcept {
    for (size_t tried = 0; tried < models_.size(); ++tried) {
        ModelRuntime& model = *models_[(next_model_ + tried) % models_.size()];
        if (model.has_work()) return &model;
    }
    return nullptr;
}

/// Nothing of the step was committed. What was in it ends; only a device that failed takes the
/// engine with it.
void EngineCore::fail_step(ModelRuntime& runtime, Status status, std::string_view text) noexcept {
    if (status == Status::kDevice || status == Status::kDeviceLost) {
        fail_device(status, text);
    } else {
        runtime.fail_all(status, text);
    }
}

void EngineCore::fail_device(Status status, std::string_view text) noexcept {
    try {
        failure_.assign(text);
    } catch (...) {
        failure_.clear();
    }
    failure_is_news_ = true;
    device_status_.store(static_cast<int32_t>(status));
    for (const std::shared_ptr<ModelRuntime>& model : models_) model->fail_all(status, failure_);
}

void EngineCore::publish() noexcept {
    int64_t n_waiting = 0;
    int64_t n_running = 0;
    int64_t n_pages = 0;
    int64_t n_pages_used = 0;
    for (const std::shared_ptr<ModelRuntime>& model : models_) {
        n_waiting += model->n_waiting();
        n_running += model->n_running();
        n_pages += model->pool().n_pages();
        n_pages_used += model->pool().n_used();
    }
    n_models_.store(static_cast<int64_t>(models_.size()));
    n_waiting_.store(n_waiting);
    n_running_.store(n_running);
    kv_pages_.store(n_pages);
    kv_pages_used_.store(n_pages_used);
    finished_.wake();
}

// ------------------------------------------------------------------------------------------------
// The end

Status EngineCore::shutdown(uint64_t timeout_ns) {
    {
        const std::lock_guard lock(inbox_mutex_);
        accepting_ = false;
    }
    // Of several callers the one that waits least decides, also when another came first.
    const uint64_t until_ns = deadline_after(timeout_ns);
    uint64_t before_ns = shutdown_until_ns_.load();
    while (until_ns < before_ns &&
           !shutdown_until_ns_.compare_exchange_weak(before_ns, until_ns)) {
    }
    finished_.wake();
    work_.wake();
    const std::lock_guard lock(shutdown_mutex_);
    if (is_shut_down_) return shutdown_status_;
    wait_until_finished();
    shutdown_status_ = n_active_.load() == 0 ? Status::kOk : Status::kTimeout;
    cancel_all_.store(true);
    stop_.store(true);
    work_.wake();
    executor_.join();
    tear_down();
    is_shut_down_ = true;
    return shutdown_status_;
}

void EngineCore::wait_until_finished() {
    const bool steps_itself = options_.mode == EngineMode::kThreaded;
    while (true) {
        const uint32_t seen_finished = finished_.value();
        const uint32_t seen_work = work_.value();
        const uint64_t until_ns = shutdown_until_ns_.load();
        if (n_active_.load() == 0 || monotonic_ns() >= until_ns) return;
        if (steps_itself) {
            finished_.wait(seen_finished, until_ns);
            continue;
        }
        const GuestStep step = step_as_guest();
        if (!step.more && n_active_.load() > 0) {
            work_.wait(seen_work, std::min(until_ns, step.earliest_deadline_ns));
        }
    }
}

void EngineCore::tear_down() noexcept {
    const StepGate::Guest guest(gate_);
    settle();
    for (const std::shared_ptr<ModelRuntime>& model : models_) model->tear_down();
    models_.clear();
    device_.reset();
    publish();
}

}  // namespace fathom
