#include "base/status.h"
#include "base/text.h"
#include "dialect/dialect.h"
#include "format/json.h"
#include "format/json_writer.h"

namespace fathom {
namespace {

constexpr uint64_t kMessagesMax = 1 << 16;
constexpr uint64_t kPartsMax = 1 << 12;
constexpr uint64_t kToolCallsMax = 1 << 10;

void check_count(const JsonValue& list, uint64_t most) {
    if (list.size() > most) list.refuse(concat("at most ", most, " elements"));
}

Role read_role(const JsonValue& value) {
    const std::string_view name = value.as_string();
    if (name == "system" || name == "developer") return Role::kSystem;
    if (name == "user") return Role::kUser;
    if (name == "assistant") return Role::kAssistant;
    if (name == "tool" || name == "function") return Role::kTool;
    value.refuse("system, developer, user, assistant or tool");
}

/// A string, null, or a list of text parts, which are joined.
void read_content(const JsonValue& value, Message& message) {
    if (value.is_null()) {
        message.has_content = false;
    } else if (!value.is_array()) {
        message.content = value.as_string();
    } else {
        check_count(value, kPartsMax);
        for (const JsonValue part : value.elements()) {
            const JsonValue type = part.at("type");
            if (type.as_string() != "text") type.refuse("text: this library reads nothing else");
            message.content.append(part.at("text").as_string());
        }
    }
}

/// An absent or null field gives an empty text.
std::string optional_text(const JsonValue& object, std::string_view key) {
    const std::optional<JsonValue> value = object.find(key);
    return value && !value->is_null() ? std::string(value->as_string()) : std::string();
}

ToolCall read_call(const JsonValue& value) {
    ToolCall call;
    call.id = optional_text(value, "id");
    std::string type = optional_text(value, "type");
    if (!type.empty()) call.type = std::move(type);
    const JsonValue function = value.at("function");
    call.name = function.at("name").as_string();
    const JsonValue arguments = function.at("arguments");
    if (arguments.is_string()) {
        call.arguments = arguments.as_string();
    } else {
        // Some clients send the object itself; this is how it would have been written as text.
        JsonWriter writer(JsonWriter::Style::kSpaced);
        arguments.write(writer);
        call.arguments = writer.take();
    }
    return call;
}

Message read_message(const JsonValue& value) {
    Message message;
    message.role = read_role(value.at("role"));
    const std::optional<JsonValue> content = value.find("content");
    const std::optional<JsonValue> calls = value.find("tool_calls");
    if (calls && !calls->is_null()) {
        check_count(*calls, kToolCallsMax);
        for (const JsonValue call : calls->elements()) {
            message.tool_calls.push_back(read_call(call));
        }
    }
    if (content) {
        read_content(*content, message);
    } else if (!message.tool_calls.empty()) {
        message.has_content = false;
    } else {
        value.refuse("a message with content");
    }
    message.reasoning = optional_text(value, "reasoning_content");
    message.tool_call_id = optional_text(value, "tool_call_id");
    message.name = optional_text(value, "name");
    const std::optional<JsonValue> prefix = value.find("prefix");
    message.prefix = prefix && prefix->is_bool() && prefix->as_bool();
    return message;
}

}  // namespace

std::vector<Message> messages_from_openai_json(std::string_view json) {
    const JsonDocument document = JsonDocument::parse(json, JsonLimits{}, "messages");
    const JsonValue root = document.root();
    if (!root.is_array()) root.refuse("an array of messages");
    check_count(root, kMessagesMax);
    std::vector<Message> messages;
    messages.reserve(root.size());
    for (const JsonValue value : root.elements()) messages.push_back(read_message(value));
    return messages;
}

}  // namespace fathom
