#pragma once

#include <cstdint>
#include <span>

#include "fathom/fathom.h"

// Every function of the interface that takes an error, called with plain arguments.
namespace host {

struct Handles {
    fathom_engine* engine;
    fathom_model* model;
    fathom_tokenizer* tokenizer;
    fathom_prompt* prompt;
    fathom_session* session;
    fathom_stream* stream;
};

struct NamedCall {
    const char* name;
    bool takes_handle;  // one of Handles
    int32_t (*call)(const Handles& handles, fathom_error** error);
};

std::span<const NamedCall> every_call();

/// Every release, and the cancel, which have no error to give.
void release_all(const Handles& handles);

}  // namespace host
