#include <cstring>

#include "abi/device.h"
#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/options.h"
#include "abi/structs.h"

using namespace fathom;
using namespace fathom::abi;

int32_t fathom_devices_query(fathom_device_info* devices, uint32_t* count, fathom_error** error) {
    return guard(error, [&] {
        require(count, "count");
        const uint32_t capacity = *count;
        *count = 1;
        if (devices == nullptr) return;
        if (capacity < 1) fail(Status::kInvalidArgument, "devices: room for 0, needed 1");
        write_result(cpu_device_info(), devices);
    });
}

int32_t fathom_engine_create(const fathom_engine_options* options, fathom_engine** engine,
                             fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        *engine = new fathom_engine{{}, Engine::create(engine_options_of(options))};
    });
}

void fathom_engine_release(fathom_engine* engine) {
    guard_release([&] { retire(engine); });
}

int32_t fathom_engine_shutdown(fathom_engine* engine, uint64_t timeout_ns, fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        if (engine->engine->shutdown(timeout_ns) == Status::kTimeout) {
            fail(Status::kTimeout, "shutdown: streams still ran after ", timeout_ns,
                 " ns and were cancelled");
        }
    });
}

int32_t fathom_engine_step(fathom_engine* engine, uint64_t budget_ns, int32_t* more,
                           fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        const bool left = engine->engine->step(budget_ns);
        if (more != nullptr) *more = left ? 1 : 0;
    });
}

int32_t fathom_engine_wait_any(fathom_engine* engine, fathom_stream* const* streams,
                               uint32_t n_streams, uint64_t timeout_ns, uint32_t* ready,
                               fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        require(streams, "streams");
        require(ready, "ready");
        for (uint32_t i = 0; i < n_streams; ++i) {
            if (!is_live(streams[i])) {
                fail(Status::kInvalidArgument, "streams[", i,
                     "]: found NULL or a handle that was released");
            }
        }
        const StreamList list = {streams, n_streams, [](const void* of, uint32_t index) -> Stream& {
            return *static_cast<fathom_stream* const*>(of)[index]->stream;
        }};
        const std::optional<uint32_t> index = engine->engine->wait_any(list, timeout_ns);
        if (!index) return report(error, Status::kTimeout, "no stream had an event in time");
        *ready = *index;
        return FATHOM_OK;
    });
}

int32_t fathom_engine_stats_read(fathom_engine* engine, fathom_engine_stats* stats,
                                 fathom_error** error) {
    return guard(error, [&] {
        require(engine, "engine");
        const EngineStats now = engine->engine->stats();
        fathom_engine_stats out = {};
        out.device_status = static_cast<int32_t>(now.device_status);
        out.n_models = now.n_models;
        out.n_sessions = now.n_sessions;
        out.n_waiting = now.n_waiting;
        out.n_running = now.n_running;
        out.kv_pages = now.kv_pages;
        out.kv_pages_used = now.kv_pages_used;
        out.n_steps = now.n_steps;
        out.prefill_tokens = now.prefill_tokens;
        out.decode_tokens = now.decode_tokens;
        out.memory_bytes = now.memory_bytes;
        out.step_ns_total = now.step_ns_total;
        out.backend_ns_total = now.backend_ns_total;
        write_result(out, stats);
    });
}
