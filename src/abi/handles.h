#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "abi/handle_memory.h"
#include "base/status.h"
#include "dialect/dialect.h"
#include "engine/engine.h"
#include "engine/engine_model.h"
#include "engine/session.h"
#include "engine/stream.h"
#include "fathom/fathom.h"
#include "tokenizer/tokenizer.h"

// What the host's opaque pointers point to: a reference to an object of the core.

struct fathom_error {
    fathom::Status status;
    char* message;  // NUL-terminated, from new[]
};

struct fathom_buffer : fathom::abi::Handle<fathom::abi::HandleKind::kBuffer> {
    std::string text;
};

struct fathom_engine : fathom::abi::Handle<fathom::abi::HandleKind::kEngine> {
    std::shared_ptr<fathom::Engine> engine;
};

struct fathom_model : fathom::abi::Handle<fathom::abi::HandleKind::kModel> {
    std::shared_ptr<fathom::EngineModel> model;
};

struct fathom_tokenizer : fathom::abi::Handle<fathom::abi::HandleKind::kTokenizer> {
    std::shared_ptr<const fathom::Tokenizer> tokenizer;
    const fathom::Dialect* dialect;
};

struct fathom_prompt : fathom::abi::Handle<fathom::abi::HandleKind::kPrompt> {
    std::shared_ptr<const fathom::Tokenizer> tokenizer;  // null: raw ids only
    const fathom::Dialect* dialect;                      // null: raw ids only
    fathom::RenderOptions options;
    std::vector<fathom::Message> messages;
    std::vector<int32_t> raw_ids;
    mutable std::atomic<bool> busy{false};
};

struct fathom_session : fathom::abi::Handle<fathom::abi::HandleKind::kSession> {
    std::shared_ptr<fathom::Session> session;
};

struct fathom_stream : fathom::abi::Handle<fathom::abi::HandleKind::kStream> {
    std::shared_ptr<fathom::Stream> stream;
};

namespace fathom::abi {

/// Whether this is the error that is handed out when there is no memory for another.
bool is_static(const fathom_error* error);

/// One user of a prompt at a time.
class PromptUse {
public:
    explicit PromptUse(const fathom_prompt& prompt) : prompt_(prompt) {
        if (prompt.busy.exchange(true)) fail(Status::kBusy, "prompt: another thread uses it");
    }
    ~PromptUse() { prompt_.busy.store(false); }
    PromptUse(const PromptUse&) = delete;
    PromptUse& operator=(const PromptUse&) = delete;

private:
    const fathom_prompt& prompt_;
};

/// The ids of a prompt and how its answer begins. The caller holds a PromptUse.
struct RenderedPrompt {
    std::vector<int32_t> ids;
    AnswerStart start;
};
RenderedPrompt rendered(const fathom_prompt& prompt);

/// Copies `values` into a caller's array by the two-call convention of fathom.h.
template <typename Value, typename Source>
void copy_out(const Source& values, Value* out, uint64_t capacity, uint64_t* count) {
    if (count == nullptr) fail(Status::kInvalidArgument, "count: found NULL");
    *count = values.size();
    if (capacity == 0) return;  // a language may have an address even for an empty array
    if (out == nullptr) {
        fail(Status::kInvalidArgument, "output: found NULL with room for ", capacity);
    }
    if (capacity < values.size()) {
        fail(Status::kInvalidArgument, "output: room for ", capacity, ", needed ", values.size());
    }
    std::copy(values.begin(), values.end(), out);
}

}  // namespace fathom::abi
