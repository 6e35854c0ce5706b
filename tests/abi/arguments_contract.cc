// What calls do with arguments that the header gives a meaning only later, or never: reserved
// fields, switches with a third position, names without their owner, arrays that are too small.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "fathom/fathom.h"
#include "library_handles.h"

using namespace library;

namespace {

/// A field of an option struct: a value that is refused, and its name in the message.
struct Field {
    const char* name;
    std::function<int32_t(fathom_error**)> call;
};

fathom_engine_options engine_with(void (*change)(fathom_engine_options&)) {
    fathom_engine_options options = sized<fathom_engine_options>();
    change(options);
    return options;
}

Field engine_field(const char* name, void (*change)(fathom_engine_options&)) {
    return {name, [change](fathom_error** error) {
                const fathom_engine_options options = engine_with(change);
                fathom_engine* engine = nullptr;
                const int32_t status = fathom_engine_create(&options, &engine, error);
                fathom_engine_release(engine);
                return status;
            }};
}

Field prompt_field(const char* name, void (*change)(fathom_prompt_options&)) {
    return {name, [change](fathom_error** error) {
                fathom_prompt_options options = sized<fathom_prompt_options>();
                change(options);
                fathom_prompt* prompt = nullptr;
                const int32_t status = fathom_prompt_create(nullptr, &options, &prompt, error);
                fathom_prompt_release(prompt);
                return status;
            }};
}

/// Calls with each capacity: the count is always told, nothing is written behind the array.
template <typename Value, typename Call>
void check_two_calls(uint64_t wanted, Value mark, const Call& call) {
    REQUIRE(wanted >= 2);
    std::vector<Value> room(wanted + 8, mark);
    for (const uint64_t capacity : {uint64_t{0}, uint64_t{1}, wanted - 1, wanted, wanted + 1}) {
        CAPTURE(capacity);
        std::fill(room.begin(), room.end(), mark);
        uint64_t count = 99999;
        const int32_t status = call(room.data(), capacity, &count);
        const bool small = capacity > 0 && capacity < wanted;
        CHECK(status == (small ? FATHOM_INVALID_ARGUMENT : FATHOM_OK));
        CHECK(count == wanted);
        const bool written = capacity >= wanted;
        for (uint64_t i = written ? wanted : 0; i < room.size(); ++i) CHECK(room[i] == mark);
        if (written) CHECK(room[wanted - 1] != mark);
    }
    uint64_t count = 99999;
    CHECK(call(nullptr, 0, &count) == FATHOM_OK);
    CHECK(count == wanted);
    CHECK(call(nullptr, 1, &count) == FATHOM_INVALID_ARGUMENT);
    CHECK(call(room.data(), 0, nullptr) == FATHOM_INVALID_ARGUMENT);
}

}  // namespace

// Breaks when a field that is reserved now is ignored: a host that is built against the version
// that gives it a meaning would get the old behaviour without a word.
TEST_CASE("abi reserved fields and switches", "[abi]") {
    const Engine engine = new_engine();
    const Model model = load(engine.get(), fixture("v3-f32"));
    const std::string folder = fixture("v3-f32");
    const std::vector<Field> fields = {
        engine_field("reserved", [](auto& o) { o.reserved = 1; }),
        engine_field("mode", [](auto& o) { o.mode = 2; }),
        engine_field("mode", [](auto& o) { o.mode = -1; }),
        engine_field("cpu_level", [](auto& o) { o.cpu_level = 5; }),
        engine_field("deterministic", [](auto& o) { o.deterministic = 2; }),
        engine_field("deterministic", [](auto& o) { o.deterministic = -1; }),
        prompt_field("reserved", [](auto& o) { o.reserved = -9; }),
        prompt_field("no_generation", [](auto& o) { o.no_generation = 2; }),
        prompt_field("no_generation", [](auto& o) { o.no_generation = -1; }),
        prompt_field("thinking", [](auto& o) { o.thinking = 3; }),
        {"reserved",
         [&](fathom_error** error) {
             fathom_session_options options = sized<fathom_session_options>();
             options.reserved = 77;
             fathom_session* session = nullptr;
             const int32_t status = fathom_session_create(model.get(), &options, &session, error);
             fathom_session_release(session);
             return status;
         }},
        {"reserved",
         [&](fathom_error** error) {
             fathom_source source = source_of(folder);
             source.reserved = 1;
             fathom_memory_plan plan = sized<fathom_memory_plan>();
             return fathom_model_estimate(nullptr, &source, nullptr, &plan, error);
         }},
        {"kv_type",
         [&](fathom_error** error) {
             const fathom_source source = source_of(folder);
             fathom_model_options options = sized<fathom_model_options>();
             options.kv_type = 3;
             fathom_memory_plan plan = sized<fathom_memory_plan>();
             return fathom_model_estimate(nullptr, &source, &options, &plan, error);
         }},
    };
    for (size_t i = 0; i < fields.size(); ++i) {
        CAPTURE(i, fields[i].name);
        Result result;
        result.status = fields[i].call(&result.error);
        CHECK(result.status == FATHOM_INVALID_ARGUMENT);
        CHECK(result.message().find(std::string(".") + fields[i].name) != std::string::npos);
    }
}

// Breaks when a name that no dialect has is taken because no tokenizer came with it.
TEST_CASE("abi prompt with a dialect and no tokenizer", "[abi]") {
    const auto create = [](const std::string& dialect, Result& result) {
        fathom_prompt_options options = sized<fathom_prompt_options>();
        options.dialect = dialect.data();
        options.dialect_bytes = dialect.size();
        fathom_prompt* prompt = nullptr;
        result.status = fathom_prompt_create(nullptr, &options, &prompt, &result.error);
        fathom_prompt_release(prompt);
        return result.status;
    };
    Result unknown, known, none;
    CHECK(create("nope", unknown) == FATHOM_UNSUPPORTED);
    CHECK(unknown.message().find("'nope'") != std::string::npos);
    CHECK(create("deepseek-v3.1", known) == FATHOM_OK);
    CHECK(create("", none) == FATHOM_OK);
}

// Breaks when the first of two calls fails for a host whose language has an address for an empty
// array, when the count is wrong, or when more is written than there is room for.
TEST_CASE("abi two calls", "[abi]") {
    fathom_tokenizer* opened = nullptr;
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    REQUIRE(fathom_tokenizer_open(&source, &opened, nullptr) == FATHOM_OK);
    const Tokenizer tokenizer(opened);
    const std::string text = "What is 12 + 30?";
    std::vector<int32_t> ids(100);
    uint64_t n_ids = 0;
    REQUIRE(fathom_tokenizer_encode(opened, text.data(), text.size(), 0, ids.data(), ids.size(),
                                    &n_ids, nullptr) == FATHOM_OK);
    ids.resize(n_ids);
    check_two_calls<int32_t>(n_ids, -7, [&](int32_t* out, uint64_t capacity, uint64_t* count) {
        return fathom_tokenizer_encode(opened, text.data(), text.size(), 0, out, capacity, count,
                                       nullptr);
    });
    check_two_calls<char>(text.size(), '\x7f', [&](char* out, uint64_t capacity, uint64_t* count) {
        return fathom_tokenizer_decode(opened, ids.data(), ids.size(), 0, out, capacity, count,
                                       nullptr);
    });
    fathom_prompt* made = nullptr;
    REQUIRE(fathom_prompt_create(opened, nullptr, &made, nullptr) == FATHOM_OK);
    const Prompt prompt(made);
    REQUIRE(fathom_prompt_add_tokens(made, ids.data(), ids.size(), nullptr) == FATHOM_OK);
    check_two_calls<int32_t>(n_ids, -7, [&](int32_t* out, uint64_t capacity, uint64_t* count) {
        return fathom_prompt_render(made, out, capacity, count, nullptr);
    });
}

// Breaks when a flag is taken that has no meaning yet, or one of the three does not do its work.
TEST_CASE("abi encode and decode flags", "[abi]") {
    fathom_tokenizer* opened = nullptr;
    const std::string folder = demo_model();
    const fathom_source source = source_of(folder);
    REQUIRE(fathom_tokenizer_open(&source, &opened, nullptr) == FATHOM_OK);
    const Tokenizer tokenizer(opened);
    fathom_tokenizer_description facts = sized<fathom_tokenizer_description>();
    REQUIRE(fathom_tokenizer_describe(opened, &facts, nullptr) == FATHOM_OK);
    REQUIRE(facts.bos_id >= 0);
    const auto encode = [&](const std::string& text, uint32_t flags) {
        std::vector<int32_t> ids(100);
        uint64_t count = 0;
        REQUIRE(fathom_tokenizer_encode(opened, text.data(), text.size(), flags, ids.data(), 100,
                                        &count, nullptr) == FATHOM_OK);
        ids.resize(count);
        return ids;
    };
    const auto decode = [&](const std::vector<int32_t>& ids, uint32_t flags) {
        std::string text(1000, '\0');
        uint64_t count = 0;
        REQUIRE(fathom_tokenizer_decode(opened, ids.data(), ids.size(), flags, text.data(), 1000,
                                        &count, nullptr) == FATHOM_OK);
        text.resize(count);
        return text;
    };
    std::vector<int32_t> with_bos = encode("1 + 2", FATHOM_ENCODE_BOS);
    CHECK(with_bos.front() == facts.bos_id);
    const std::string spelled = decode({facts.bos_id}, 0);
    CHECK(spelled.size() > 1);
    CHECK(encode(spelled, FATHOM_ENCODE_SPECIAL) == std::vector<int32_t>{facts.bos_id});
    CHECK(encode(spelled, 0).size() > 1);
    CHECK(decode(with_bos, 0) == spelled + "1 + 2");
    CHECK(decode(with_bos, FATHOM_DECODE_SKIP_SPECIAL) == "1 + 2");
    with_bos.erase(with_bos.begin());
    CHECK(encode("1 + 2", 0) == with_bos);
    uint64_t count = 0;
    for (const uint32_t flags : {4u, 8u, 1u << 31}) {
        CHECK(fathom_tokenizer_encode(opened, "a", 1, flags, nullptr, 0, &count, nullptr) ==
              FATHOM_INVALID_ARGUMENT);
    }
    for (const uint32_t flags : {2u, 4u, 1u << 31}) {
        CHECK(fathom_tokenizer_decode(opened, with_bos.data(), 1, flags, nullptr, 0, &count,
                                      nullptr) == FATHOM_INVALID_ARGUMENT);
    }
}
