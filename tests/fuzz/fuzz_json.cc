// Any bytes either are refused with an error, or parse into a document that can be walked, and
// whose rewritten form parses into the same document again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "format/json.h"
#include "format/json_writer.h"

using namespace fathom;

namespace {

std::string rewrite(const JsonDocument& document) {
    JsonWriter writer;
    document.root().write(writer);
    return writer.take();
}

/// Reads `value` as every kind; the wrong ones must be errors of ours.
void probe(const JsonValue& value) {
    int n_errors = 0;
    const auto attempt = [&](auto&& read) {
        try {
            read();
        } catch (const Error&) {
            ++n_errors;
        }
    };
    attempt([&] { value.as_bool(); });
    attempt([&] { value.as_int64(); });
    attempt([&] { value.as_double(); });
    attempt([&] { value.as_string(); });
    attempt([&] { value.elements(); });
    attempt([&] { value.members(); });
    if (n_errors < 4) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
    const std::string_view text(reinterpret_cast<const char*>(data), bytes);
    try {
        const JsonDocument document = JsonDocument::parse(text, {}, "fuzz");
        probe(document.root());
        if (document.root().is_array()) {
            for (const JsonValue element : document.root().elements()) probe(element);
        }
        if (document.root().is_object()) {
            for (const JsonMember member : document.root().members()) {
                probe(member.value);
                if (!document.root().find(member.key)) __builtin_trap();
            }
        }
        const std::string once = rewrite(document);
        if (rewrite(JsonDocument::parse(once, {}, "again")) != once) __builtin_trap();
    } catch (const Error& error) {
        if (error.message().empty()) __builtin_trap();
        // What was accepted once must be accepted again.
        if (error.message().starts_with("again")) __builtin_trap();
    }
    return 0;
}
