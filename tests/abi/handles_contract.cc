#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include "abi/library_handles.h"

using namespace library;

namespace {

const std::vector<int32_t> kPrompt = {1, 2, 3, 4, 5, 6, 7};

}  // namespace

// Breaks when the order of releases matters: a garbage-collected host cannot choose one.
TEST_CASE("abi release order", "[abi]") {
    Engine engine = new_engine();
    Model model = load(engine.get(), fixture("v3-f32"));
    Prompt prompt = raw_prompt(kPrompt);
    Session session = new_session(model.get());
    // More events than a stream keeps for a reader that does not read: it cannot have ended.
    Stream stream = generate(session.get(), prompt.get(), at_most(200));

    SECTION("parents first") {
        engine.reset();
        model.reset();
        session.reset();
        prompt.reset();
        const Answer answer = drain(stream.get());
        REQUIRE(answer.finish_reason == FATHOM_FINISH_CANCELLED);
    }
    SECTION("parents first, session last") {
        engine.reset();
        model.reset();
        prompt.reset();
        const Answer answer = drain(stream.get());
        REQUIRE(answer.ids.size() == 200);
    }
    SECTION("stream first while it runs") {
        stream.reset();
        fathom_session_description now = sized<fathom_session_description>();
        do {
            REQUIRE(fathom_session_describe(session.get(), &now, nullptr) == FATHOM_OK);
        } while (now.running == 1);
        Stream next = generate(session.get(), prompt.get(), at_most(2));
        REQUIRE(drain(next.get()).ids.size() == 2);
    }
}

// Breaks when releasing what never existed does more than nothing.
TEST_CASE("abi release of NULL", "[abi]") {
    fathom_engine_release(nullptr);
    fathom_model_release(nullptr);
    fathom_tokenizer_release(nullptr);
    fathom_prompt_release(nullptr);
    fathom_session_release(nullptr);
    fathom_stream_release(nullptr);
    fathom_stream_cancel(nullptr);
    fathom_buffer_release(nullptr);
    uint64_t bytes = 7;
    REQUIRE(fathom_buffer_data(nullptr, &bytes) == nullptr);
    REQUIRE(bytes == 0);
}

// Breaks when a NULL where an object is needed crashes instead of being reported.
TEST_CASE("abi NULL arguments", "[abi]") {
    Engine engine = new_engine();
    const fathom_source source = source_of(fixture("v3-f32"));
    uint64_t count = 0;
    uint32_t ready = 0;
    const char* text = nullptr;
    int64_t handle = 0;
    const int32_t statuses[] = {
        fathom_engine_shutdown(nullptr, 0, nullptr),
        fathom_engine_step(nullptr, 0, nullptr, nullptr),
        fathom_engine_wait_any(engine.get(), nullptr, 1, 0, &ready, nullptr),
        fathom_engine_stats_read(engine.get(), nullptr, nullptr),
        fathom_model_estimate(nullptr, &source, nullptr, nullptr, nullptr),
        fathom_model_load(engine.get(), nullptr, nullptr, nullptr, nullptr),
        fathom_model_load(nullptr, &source, nullptr, nullptr, nullptr),
        fathom_model_describe(nullptr, nullptr, nullptr),
        fathom_model_metadata_get(nullptr, "x", &text, nullptr, nullptr),
        fathom_model_tokenizer(nullptr, nullptr, nullptr),
        fathom_model_inspect(nullptr, nullptr, nullptr, nullptr, nullptr),
        fathom_tokenizer_open(nullptr, nullptr, nullptr),
        fathom_tokenizer_encode(nullptr, "x", 1, 0, nullptr, 0, &count, nullptr),
        fathom_tokenizer_decode(nullptr, nullptr, 0, 0, nullptr, 0, &count, nullptr),
        fathom_tokenizer_describe(nullptr, nullptr, nullptr),
        fathom_prompt_create(nullptr, nullptr, nullptr, nullptr),
        fathom_prompt_add_message(nullptr, nullptr, nullptr),
        fathom_prompt_add_tokens(nullptr, nullptr, 0, nullptr),
        fathom_prompt_add_openai_json(nullptr, "[]", 2, nullptr),
        fathom_prompt_render(nullptr, nullptr, 0, &count, nullptr),
        fathom_session_create(nullptr, nullptr, nullptr, nullptr),
        fathom_session_generate(nullptr, nullptr, nullptr, nullptr, nullptr),
        fathom_session_truncate(nullptr, 0, nullptr),
        fathom_session_describe(nullptr, nullptr, nullptr),
        fathom_stream_next(nullptr, 0, nullptr, nullptr),
        fathom_stream_usage(nullptr, nullptr, nullptr),
        fathom_stream_notify_handle(nullptr, &handle, nullptr),
    };
    for (const int32_t status : statuses) REQUIRE(status == FATHOM_INVALID_ARGUMENT);
}

// Breaks when misuse of an object by several threads is undefined instead of BUSY.
TEST_CASE("abi threading contract", "[abi]") {
    fathom_engine_options options = sized<fathom_engine_options>();
    options.mode = FATHOM_MODE_MANUAL;
    Engine engine = new_engine(options);
    Model model = load(engine.get(), fixture("v3-f32"));
    const Prompt prompt = raw_prompt(kPrompt);
    Session session = new_session(model.get());
    Stream stream = generate(session.get(), prompt.get(), at_most(4));

    SECTION("a session whose stream runs takes no call but describe") {
        fathom_stream* second = nullptr;
        const fathom_generate_options two = at_most(2);
        REQUIRE(fathom_session_generate(session.get(), prompt.get(), &two, &second, nullptr) ==
                FATHOM_BUSY);
        REQUIRE(fathom_session_truncate(session.get(), 0, nullptr) == FATHOM_BUSY);
        fathom_session_description description = sized<fathom_session_description>();
        REQUIRE(fathom_session_describe(session.get(), &description, nullptr) == FATHOM_OK);
        REQUIRE(description.running == 1);
    }
    SECTION("a stream has one reader") {
        std::atomic<bool> done{false};
        int32_t reader_status = FATHOM_OK;
        std::thread reader([&] {
            fathom_event event = sized<fathom_event>();
            // Nothing steps the engine, so this waits for its whole time, once the poll below is
            // not in its way.
            do {
                reader_status = fathom_stream_next(stream.get(), 300'000'000, &event, nullptr);
            } while (reader_status == FATHOM_BUSY);
            done.store(true);
        });
        fathom_event event = sized<fathom_event>();
        int32_t status = FATHOM_TIMEOUT;
        while (status == FATHOM_TIMEOUT && !done.load()) {
            status = fathom_stream_next(stream.get(), 0, &event, nullptr);
        }
        reader.join();
        REQUIRE(status == FATHOM_BUSY);
        REQUIRE(reader_status == FATHOM_TIMEOUT);
    }
    SECTION("a threaded engine is not stepped by the host") {
        Engine threaded = new_engine();
        REQUIRE(fathom_engine_step(threaded.get(), 0, nullptr, nullptr) == FATHOM_BAD_STATE);
    }
    SECTION("a manual engine moves only when it is stepped") {
        fathom_event event = sized<fathom_event>();
        REQUIRE(fathom_stream_next(stream.get(), 0, &event, nullptr) == FATHOM_TIMEOUT);
        int32_t more = 1;
        while (more == 1) REQUIRE(fathom_engine_step(engine.get(), 0, &more, nullptr) == FATHOM_OK);
        const Answer answer = drain(stream.get());
        REQUIRE(answer.ids.size() == 4);
        REQUIRE(answer.finish_reason == FATHOM_FINISH_LENGTH);
        REQUIRE(fathom_stream_next(stream.get(), 0, &event, nullptr) == FATHOM_BAD_STATE);
    }
}
