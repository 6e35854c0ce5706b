#include "abi/guard.h"
#include "abi/handles.h"
#include "abi/structs.h"

using namespace fathom;
using namespace fathom::abi;

namespace fathom::abi {

RenderedPrompt rendered(const fathom_prompt& prompt) {
    RenderedPrompt out;
    if (prompt.messages.empty()) {
        out.ids = prompt.raw_ids;
    } else {
        out.start.in_reasoning =
            prompt.dialect->render(*prompt.tokenizer, prompt.messages, prompt.options, out.ids);
    }
    return out;
}

namespace {

/// A prompt holds either messages or raw ids.
void require_dialect(const fathom_prompt& prompt) {
    if (prompt.dialect == nullptr || prompt.dialect->is_raw()) {
        fail(Status::kBadState, "prompt: no dialect is known for this model, so it takes raw "
             "tokens only; name a dialect in fathom_prompt_options if you know it");
    }
    if (!prompt.raw_ids.empty()) {
        fail(Status::kBadState, "prompt: it holds raw tokens, messages cannot be added");
    }
}

Role role_of(int32_t role) {
    switch (role) {
        case FATHOM_ROLE_SYSTEM: return Role::kSystem;
        case FATHOM_ROLE_USER: return Role::kUser;
        case FATHOM_ROLE_ASSISTANT: return Role::kAssistant;
        case FATHOM_ROLE_TOOL: return Role::kTool;
        default: break;
    }
    fail(Status::kInvalidArgument, "fathom_message.role: found ", role, ", wanted FATHOM_ROLE_*");
}

std::optional<bool> thinking_of(int32_t thinking) {
    switch (thinking) {
        case FATHOM_THINKING_AUTO: return std::nullopt;
        case FATHOM_THINKING_ON: return true;
        case FATHOM_THINKING_OFF: return false;
        default: break;
    }
    fail(Status::kInvalidArgument, "fathom_prompt_options.thinking: found ", thinking,
         ", wanted FATHOM_THINKING_*");
}

}  // namespace
}  // namespace fathom::abi

int32_t fathom_prompt_create(const fathom_tokenizer* tokenizer,
                             const fathom_prompt_options* options, fathom_prompt** prompt,
                             fathom_error** error) {
    return guard(error, [&] {
        require(prompt, "prompt");
        const fathom_prompt_options given = read_options(options);
        auto made = std::make_unique<fathom_prompt>();
        require_range("fathom_prompt_options.reserved", given.reserved, 0, 0);
        require_range("fathom_prompt_options.no_generation", given.no_generation, 0, 1);
        made->options.thinking = thinking_of(given.thinking);
        made->options.add_generation_prompt = given.no_generation == 0;
        const std::string_view name =
            text_of(given.dialect, given.dialect_bytes, "fathom_prompt_options.dialect");
        if (tokenizer != nullptr) {
            require(tokenizer, "tokenizer");
            made->tokenizer = tokenizer->tokenizer;
            made->dialect = name.empty() ? tokenizer->dialect
                                         : &dialect_named(name, *made->tokenizer);
        } else if (!name.empty()) {
            // It cannot render anything without a tokenizer, but a wrong name is a mistake.
            dialect_named(name);
        }
        *prompt = made.release();
    });
}

int32_t fathom_prompt_add_message(fathom_prompt* prompt, const fathom_message* message,
                                  fathom_error** error) {
    return guard(error, [&] {
        require(prompt, "prompt");
        require(message, "message");
        const fathom_message given = read_options(message);
        Message copy;
        copy.role = role_of(given.role);
        copy.content = text_of(given.text, given.text_bytes, "fathom_message.text");
        copy.reasoning =
            text_of(given.reasoning, given.reasoning_bytes, "fathom_message.reasoning");
        const PromptUse use(*prompt);
        require_dialect(*prompt);
        prompt->messages.push_back(std::move(copy));
    });
}

int32_t fathom_prompt_add_tokens(fathom_prompt* prompt, const int32_t* ids, uint64_t n_ids,
                                 fathom_error** error) {
    return guard(error, [&] {
        require(prompt, "prompt");
        if (ids == nullptr && n_ids != 0) fail(Status::kInvalidArgument, "ids: found NULL");
        const PromptUse use(*prompt);
        if (!prompt->messages.empty()) {
            fail(Status::kBadState, "prompt: it holds messages, raw tokens cannot be added");
        }
        const int32_t end = prompt->tokenizer == nullptr ? INT32_MAX : prompt->tokenizer->size();
        for (uint64_t i = 0; i < n_ids; ++i) {
            if (ids[i] < 0 || ids[i] >= end) {
                fail(Status::kInvalidArgument, "ids[", i, "]: found ", ids[i], ", wanted 0 to ",
                     end - 1);
            }
        }
        prompt->raw_ids.insert(prompt->raw_ids.end(), ids, ids + n_ids);
    });
}

int32_t fathom_prompt_add_openai_json(fathom_prompt* prompt, const char* json, uint64_t json_bytes,
                                      fathom_error** error) {
    return guard(error, [&] {
        require(prompt, "prompt");
        std::vector<Message> added =
            messages_from_openai_json(text_of(json, json_bytes, "json"));
        const PromptUse use(*prompt);
        require_dialect(*prompt);
        for (Message& message : added) prompt->messages.push_back(std::move(message));
    });
}

int32_t fathom_prompt_render(const fathom_prompt* prompt, int32_t* ids, uint64_t capacity,
                             uint64_t* count, fathom_error** error) {
    return guard(error, [&] {
        require(prompt, "prompt");
        const PromptUse use(*prompt);
        copy_out(rendered(*prompt).ids, ids, capacity, count);
    });
}

void fathom_prompt_release(fathom_prompt* prompt) {
    guard_release([&] { retire(prompt); });
}
