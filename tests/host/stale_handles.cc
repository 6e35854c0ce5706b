#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "host/every_call.h"
#include "host/host_support.h"

using namespace library;

namespace {

host::Handles released_handles() {
    Engine engine = new_engine();
    Model model = load(engine.get(), demo_model());
    Tokenizer tokenizer = tokenizer_of(model.get());
    Prompt prompt = question(tokenizer.get(), "How much is 12 + 34?");
    Session session = new_session(model.get());
    Stream stream = generate(session.get(), prompt.get(), at_most(60));
    return {engine.get(), model.get(), tokenizer.get(), prompt.get(), session.get(), stream.get()};
}

}  // namespace

// Breaks when a handle that the host released before is more than an error: the host crashes, or
// something that is not its own is released.
TEST_CASE("host stale handles: hostile 42: double release and use after it", "[host][hostile]") {
    const host::Handles stale = released_handles();
    host::release_all(stale);
    for (const host::NamedCall& called : host::every_call()) {
        if (!called.takes_handle) continue;
        fathom_error* error = nullptr;
        INFO(called.name);
        CHECK(called.call(stale, &error) == FATHOM_INVALID_ARGUMENT);
        CHECK(std::strstr(fathom_error_message(error), "released") != nullptr);
        fathom_error_release(error);
    }
    host::release_all(stale);
    // What is opened next does not take the place of what was just released.
    const Engine engine = new_engine();
    CHECK(engine.get() != stale.engine);
    host::release_all(stale);
    std::vector<int32_t> ids;
    CHECK(host::whole_life(fixture("v3-f32"), 3, &ids) == FATHOM_OK);

    const fathom_tokenizer* const not_a_prompt = stale.tokenizer;
    uint64_t count = 0;
    CHECK(fathom_prompt_render(reinterpret_cast<const fathom_prompt*>(not_a_prompt), nullptr, 0,
                               &count, nullptr) == FATHOM_INVALID_ARGUMENT);
}

// Breaks when two threads that release the same handle both destroy what it stands for.
TEST_CASE("host stale handles: two threads release one prompt", "[host][threads]") {
    for (int round = 0; round < 300; ++round) {
        fathom_prompt* prompt = nullptr;
        REQUIRE(fathom_prompt_create(nullptr, nullptr, &prompt, nullptr) == FATHOM_OK);
        std::thread other([&] { fathom_prompt_release(prompt); });
        fathom_prompt_release(prompt);
        other.join();
    }
    std::vector<int32_t> ids;
    CHECK(host::whole_life(fixture("v3-f32"), 3, &ids) == FATHOM_OK);
}
