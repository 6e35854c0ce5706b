#include "dialect/dialect.h"

#include <algorithm>

#include "base/status.h"
#include "dialect/control_tokens.h"
#include "dialect/releases.h"

namespace fathom {
namespace {

constinit const Dialect kRaw{"raw", nullptr};
constinit const Dialect kUnknown{"unknown", nullptr};

constinit const Dialect* const kDialects[] = {
    &kDeepSeekV2,     &kDeepSeekV25,        &kDeepSeekV3,  &kDeepSeekR1,      &kDeepSeekR1May,
    &kDeepSeekR1Qwen, &kDeepSeekR1LlamaCpp, &kDeepSeekV31, &kDeepSeekV31Card, &kRaw,
};

std::string names() {
    std::string out;
    for (const Dialect* const dialect : kDialects) {
        if (!out.empty()) out.append(", ");
        out.append(dialect->name());
    }
    return out;
}

const Dialect& detect_by_template(std::string_view source) {
    const auto has = [&](std::string_view part) { return source.find(part) != source.npos; };
    const std::string assistant(kAssistantToken);
    // V3.2 and V4 speak another language for tools.
    if (has("DSML") || has("dsml_token")) return kUnknown;
    if (has("'Assistant: '") && has("'User: '") && !has(kUserToken)) return kDeepSeekV2;
    if (!has(kUserToken) || !has(kAssistantToken)) return kUnknown;
    if (has(assistant + "<think></think>")) return kDeepSeekV31;
    if (has(assistant + "</think>")) return kDeepSeekV31Card;
    if (has(assistant + "<think>\\n")) {
        if (has("enable_thinking")) return kDeepSeekR1Qwen;
        return has("flush_tool_outputs") ? kDeepSeekR1LlamaCpp : kDeepSeekR1;
    }
    if (has("split('</think>')")) return kDeepSeekR1May;
    return has("is_first_sp") ? kDeepSeekV3 : kDeepSeekV25;
}

// A folder without a template: the control tokens differ from release to release. Only R1 and
// R1-0528 have the same; R1's prompt opens the reasoning, which suits both.
const Dialect& detect_by_tokens(const Tokenizer& tokenizer) {
    const auto has = [&](std::string_view name) {
        return tokenizer.is_control(tokenizer.find_token(name));
    };
    if (!has(kUserToken) || !has(kAssistantToken)) return kRaw;
    if (has(kThinkBegin) && has(kThinkEnd)) {
        return has(kSearchBegin) ? kDeepSeekV31Card : kDeepSeekR1;
    }
    return has(kPadToken) ? kDeepSeekV3 : kDeepSeekV25;
}

}  // namespace

PromptSegments& PromptSegments::control(std::string_view spelling) {
    list_.push_back({PromptSegment::Kind::kControl, std::string(spelling)});
    return *this;
}

PromptSegments& PromptSegments::marker(std::string_view spelling) {
    list_.push_back({PromptSegment::Kind::kMarker, std::string(spelling)});
    return *this;
}

PromptSegments& PromptSegments::text(std::string_view text) {
    if (text.empty()) return *this;
    if (list_.empty() || list_.back().kind != PromptSegment::Kind::kText) {
        list_.push_back({PromptSegment::Kind::kText, {}});
    }
    list_.back().text.append(text);
    return *this;
}

const std::string& content_of(std::span<const Message> messages, size_t index) {
    if (!messages[index].has_content) {
        fail(Status::kTemplate, "messages[", index, "].content: found null, wanted text");
    }
    return messages[index].content;
}

std::string_view without_reasoning(std::string_view content, bool first) {
    const size_t end = first ? content.find(kThinkEnd) : content.rfind(kThinkEnd);
    return end == content.npos ? content : content.substr(end + kThinkEnd.size());
}

bool Dialect::render_segments(std::span<const Message> messages, const RenderOptions& options,
                              PromptSegments& out) const {
    if (render_ == nullptr) {
        fail(Status::kTemplate, "dialect '", name_,
             "': takes text and tokens, not messages; a dialect that does can be named: ", names());
    }
    return render_(messages, options, out);
}

bool Dialect::render(std::span<const Message> messages, const RenderOptions& options,
                     std::string& out) const {
    PromptSegments segments;
    const bool in_reasoning = render_segments(messages, options, segments);
    for (const PromptSegment& segment : segments.list()) out.append(segment.text);
    return in_reasoning;
}

bool Dialect::render(const Tokenizer& tokenizer, std::span<const Message> messages,
                     const RenderOptions& options, std::vector<int32_t>& out) const {
    PromptSegments segments;
    const bool in_reasoning = render_segments(messages, options, segments);
    // A marker that the tokenizer lacks is text and joins its neighbours.
    std::string text;
    const auto flush = [&] {
        if (!text.empty()) tokenizer.encode(text, false, out);
        text.clear();
    };
    for (const PromptSegment& segment : segments.list()) {
        const int32_t id =
            segment.kind == PromptSegment::Kind::kText ? -1 : tokenizer.find_token(segment.text);
        if (tokenizer.is_control(id)) {
            flush();
            out.push_back(id);
        } else if (segment.kind == PromptSegment::Kind::kControl) {
            fail(Status::kTemplate, "dialect '", name_, "': the tokenizer has no token '",
                 segment.text, "'; this model speaks another dialect");
        } else {
            text.append(segment.text);
        }
    }
    flush();
    return in_reasoning;
}

std::vector<int32_t> Dialect::end_ids(const Tokenizer& tokenizer) const {
    std::vector<int32_t> ids;
    const auto add = [&](int32_t id) {
        const bool known = std::find(ids.begin(), ids.end(), id) != ids.end();
        if (tokenizer.is_control(id) && !known) ids.push_back(id);
    };
    add(tokenizer.eos_id());
    if (is_raw()) return ids;
    add(tokenizer.find_token(kEosToken));
    // A model that goes on to play the user has missed its end.
    add(tokenizer.find_token(kUserToken));
    return ids;
}

const Dialect* find_dialect(std::string_view name) {
    for (const Dialect* const dialect : kDialects) {
        if (dialect->name() == name) return dialect;
    }
    return nullptr;
}

const Dialect& dialect_named(std::string_view name) {
    const Dialect* const found = find_dialect(name);
    if (found != nullptr) return *found;
    fail(Status::kUnsupported, "dialect: found '", printable(name), "', wanted one of ", names());
}

const Dialect& dialect_named(std::string_view name, const Tokenizer& tokenizer) {
    const Dialect& named = dialect_named(name);
    if (&named != &kDeepSeekV31 || tokenizer.chat_template().empty()) return named;
    const Dialect& own = detect_by_template(tokenizer.chat_template());
    return &own == &kDeepSeekV31Card ? own : named;
}

const Dialect& detect_dialect(const Tokenizer& tokenizer) {
    return tokenizer.chat_template().empty() ? detect_by_tokens(tokenizer)
                                             : detect_by_template(tokenizer.chat_template());
}

}  // namespace fathom
