#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cli/command_line.h"
#include "fathom/fathom.h"

// Owners for the handles of the C interface.
namespace fathom::cli {

template <auto Release>
struct Releaser {
    template <typename Handle>
    void operator()(Handle* handle) const {
        Release(handle);
    }
};

using Engine = std::unique_ptr<fathom_engine, Releaser<fathom_engine_release>>;
using Model = std::unique_ptr<fathom_model, Releaser<fathom_model_release>>;
using Tokenizer = std::unique_ptr<fathom_tokenizer, Releaser<fathom_tokenizer_release>>;
using Prompt = std::unique_ptr<fathom_prompt, Releaser<fathom_prompt_release>>;
using Session = std::unique_ptr<fathom_session, Releaser<fathom_session_release>>;
using Stream = std::unique_ptr<fathom_stream, Releaser<fathom_stream_release>>;
using Buffer = std::unique_ptr<fathom_buffer, Releaser<fathom_buffer_release>>;

/// Collects the error of one call and throws it as Failure: `Outcome o; o = fathom_...(..., o);`.
class Outcome {
public:
    ~Outcome() { fathom_error_release(error_); }
    Outcome() = default;
    Outcome(const Outcome&) = delete;
    Outcome& operator=(const Outcome&) = delete;

    operator fathom_error**() {
        fathom_error_release(error_);
        error_ = nullptr;
        return &error_;
    }
    Outcome& operator=(int32_t status) {
        if (status != FATHOM_OK) throw Failure(message(status));
        return *this;
    }
    std::string message(int32_t status) const {
        const std::string_view text = fathom_error_message(error_);
        return text.empty() ? fathom_status_name(status) : std::string(text);
    }

private:
    fathom_error* error_ = nullptr;
};

inline fathom_source source_of(const std::string& folder) {
    fathom_source source = {};
    source.struct_size = sizeof source;
    source.path = folder.data();
    source.path_bytes = folder.size();
    return source;
}

}  // namespace fathom::cli
