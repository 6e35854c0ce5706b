#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/options.h"
#include "abi/structs.h"

using namespace fathom;
using namespace fathom::abi;

int32_t fathom_session_create(fathom_model* model, const fathom_session_options* options,
                              fathom_session** session, fathom_error** error) {
    return guard(error, [&] {
        require(model, "model");
        require(session, "session");
        const fathom_session_options given = read_options(options);
        require_range("fathom_session_options.reserved", given.reserved, 0, 0);
        *session = new fathom_session{{}, Session::create(model->model, given.context)};
    });
}

void fathom_session_release(fathom_session* session) {
    guard_release([&] {
        if (const auto owned = retire(session)) owned->session->cancel();
    });
}

int32_t fathom_session_generate(fathom_session* session, const fathom_prompt* prompt,
                                const fathom_generate_options* options, fathom_stream** stream,
                                fathom_error** error) {
    return guard(error, [&] {
        require(session, "session");
        require(prompt, "prompt");
        require(stream, "stream");
        const GenerateOptions generate_options = generate_options_of(options);
        const PromptUse use(*prompt);
        const RenderedPrompt input = rendered(*prompt);
        auto handle = std::make_unique<fathom_stream>();
        handle->stream = session->session->generate(input.ids, generate_options, input.start);
        *stream = handle.release();
    });
}

int32_t fathom_session_truncate(fathom_session* session, uint64_t n_tokens, fathom_error** error) {
    return guard(error, [&] {
        require(session, "session");
        session->session->truncate(n_tokens);
    });
}

int32_t fathom_session_describe(const fathom_session* session,
                                fathom_session_description* description, fathom_error** error) {
    return guard(error, [&] {
        require(session, "session");
        const SessionDescription now = session->session->describe();
        fathom_session_description out = {};
        out.running = now.running ? 1 : 0;
        out.n_tokens = now.n_tokens;
        out.context = now.context;
        out.kv_bytes = now.kv_bytes;
        write_result(out, description);
    });
}
