#include <catch2/catch_test_macros.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "host/every_call.h"
#include "host/host_support.h"

using namespace library;

namespace {

/// In the child: 0 when all is as it should be, else 1 + the index of the call that was wrong.
int use_in_child(const host::Handles& handles) {
    int i = 0;
    for (const host::NamedCall& called : host::every_call()) {
        ++i;
        fathom_error* error = nullptr;
        if (called.call(handles, &error) != FATHOM_BAD_STATE) return i;
        if (fathom_error_code(error) != FATHOM_BAD_STATE) return i;
        if (std::strstr(fathom_error_message(error), "fork") == nullptr) return i;
        fathom_error_release(error);
    }
    host::release_all(handles);
    return 0;
}

}  // namespace

// Breaks when a forked child hangs, crashes or touches the parent's engine instead of being told
// that it is a child, at whatever moment of a generation the fork came.
TEST_CASE("host fork", "[host][fork]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), demo_model());
    const Tokenizer tokenizer = tokenizer_of(model.get());
    const Prompt prompt = question(tokenizer.get(), "How much is 12 + 34?");
    const int n_forks = host::kSanitized ? 40 : 200;
    Session session = new_session(model.get());
    Stream stream = generate(session.get(), prompt.get(), at_most(60));
    for (int i = 0; i < n_forks; ++i) {
        const host::Handles handles = {engine.get(),  model.get(),   tokenizer.get(),
                                       prompt.get(), session.get(), stream.get()};
        const int code = host::in_fork([&] { return use_in_child(handles); });
        const auto calls = host::every_call();
        const auto wrong = static_cast<size_t>(code - 1);
        INFO("fork " << i << ": " << (wrong < calls.size() ? calls[wrong].name : ""));
        REQUIRE(code == 0);
        if (i % 25 == 24) {
            // The parent does not notice: its answer comes to its end.
            const Answer answer = drain(stream.get());
            REQUIRE(answer.ids.size() == 60);
            REQUIRE(answer.status == FATHOM_OK);
            stream = generate(session.get(), prompt.get(), at_most(60));
        }
    }
}

// Breaks when a pre-forking server, whose parent never used the library, cannot use it in a child.
TEST_CASE("host fork before first use", "[host][fork]") {
    std::string output;
    const int code = host::in_fresh_process("child: fork before first use", &output);
    INFO(output);
    REQUIRE(code == 0);
}

TEST_CASE("child: fork before first use", "[.child]") {
    const int code = host::in_fork([] {
        std::vector<int32_t> ids;
        return host::whole_life(fixture("v3-f32"), 4, &ids) == FATHOM_OK && ids.size() == 4 ? 0
                                                                                             : 1;
    });
    REQUIRE(code == 0);
}
