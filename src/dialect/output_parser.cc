#include "dialect/output_parser.h"

#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "dialect/control_tokens.h"

namespace fathom {

StreamMatcher::StreamMatcher(std::string_view wanted)
    : wanted_(wanted), fallback_(wanted.size(), 0) {
    for (size_t i = 1, border = 0; i < wanted_.size(); ++i) {
        while (border > 0 && wanted_[i] != wanted_[border]) border = fallback_[border - 1];
        if (wanted_[i] == wanted_[border]) ++border;
        fallback_[i] = static_cast<uint32_t>(border);
    }
}

bool StreamMatcher::push(char byte) {
    if (matched_ == wanted_.size()) matched_ = fallback_[matched_ - 1];
    while (matched_ > 0 && byte != wanted_[matched_]) matched_ = fallback_[matched_ - 1];
    if (byte == wanted_[matched_]) ++matched_;
    return matched_ == wanted_.size();
}

OutputParser::OutputParser(const Tokenizer& tokenizer, const Dialect& dialect, bool in_reasoning,
                           std::span<const std::string> stop_strings)
    : tokenizer_(tokenizer),
      newlines_(dialect.newlines_around_reasoning()),
      reasoning_end_(kThinkEnd) {
    if (in_reasoning) {
        phase_ = Phase::kReasoning;
        may_open_ = true;
    } else if (dialect.reasoning() == Dialect::Reasoning::kByAnswer) {
        phase_ = Phase::kStart;
    }
    if (stop_strings.size() > kStopStringsMax) {
        fail(Status::kInvalidArgument, "stop strings: found ", stop_strings.size(),
             ", wanted at most ", kStopStringsMax);
    }
    size_t longest = kThinkEnd.size();
    for (size_t i = 0; i < stop_strings.size(); ++i) {
        const std::string& stop = stop_strings[i];
        const bool sized = !stop.empty() && stop.size() <= kStopBytesMax;
        if (!sized || utf8_valid_prefix(stop) != stop.size()) {
            fail(Status::kInvalidArgument, "stop strings[", i, "]: found ", stop.size(),
                 " bytes, wanted 1 to ", kStopBytesMax, " bytes of UTF-8");
        }
        stops_.emplace_back(stop);
        longest = std::max(longest, stop.size());
    }
    // Most of these are not marked special in tokenizer.json, so nobody else leaves them out. Tool
    // tokens stay: their spelling is how a host sees a tool call.
    for (const std::string_view name :
         {kBosToken, kEosToken, kPadToken, kUserToken, kAssistantToken}) {
        const int32_t id = tokenizer.find_token(name);
        if (tokenizer.is_control(id)) silent_.push_back(id);
    }
    buffer_.reserve(2 * longest + 1024);
    pieces_.reserve(2);
}

bool OutputParser::is_silent(int32_t id) const {
    return tokenizer_.is_special(id) ||
           std::find(silent_.begin(), silent_.end(), id) != silent_.end();
}

void OutputParser::push(int32_t id) {
    pieces_.clear();
    buffer_.erase(0, delivered_);
    scanned_ -= delivered_;
    delivered_ = 0;
    if (stopped_ || is_silent(id)) return;
    assembler_.push(tokenizer_.token_bytes(id), buffer_);
    scan();
}

void OutputParser::finish() {
    pieces_.clear();
    buffer_.erase(0, delivered_);
    scanned_ -= delivered_;
    delivered_ = 0;
    if (stopped_) return;
    assembler_.finish(buffer_);
    finished_ = true;
    scan();
}

void OutputParser::scan() {
    if (phase_ == Phase::kStart && !scan_start()) return;
    if (phase_ == Phase::kReasoning) scan_reasoning();
    if (phase_ == Phase::kText) scan_text();
}

/// False while it is open whether the answer begins with <think>.
bool OutputParser::scan_start() {
    const size_t common = std::min(buffer_.size(), kThinkBegin.size());
    if (std::string_view(buffer_).substr(0, common) != kThinkBegin.substr(0, common)) {
        phase_ = Phase::kText;
    } else if (common == kThinkBegin.size()) {
        phase_ = Phase::kReasoning;
        may_open_ = true;
    } else if (!finished_) {
        return false;
    } else {
        phase_ = Phase::kText;
    }
    return true;
}

void OutputParser::scan_reasoning() {
    if (may_open_) {
        const size_t common = std::min(buffer_.size(), kThinkBegin.size());
        const bool agrees =
            std::string_view(buffer_).substr(0, common) == kThinkBegin.substr(0, common);
        if (agrees && common < kThinkBegin.size() && !finished_) return;
        may_open_ = false;
        if (agrees && common == kThinkBegin.size()) delivered_ = scanned_ = common;
        newlines_to_skip_ = newlines_ ? 1 : 0;
    }
    skip_newlines();
    while (scanned_ < buffer_.size()) {
        if (!reasoning_end_.push(buffer_[scanned_++])) continue;
        size_t end = scanned_ - kThinkEnd.size();
        if (newlines_ && end > delivered_ && buffer_[end - 1] == '\n') --end;
        deliver(Kind::kReasoning, end);
        delivered_ = scanned_;
        newlines_to_skip_ = newlines_ ? 2 : 0;
        phase_ = Phase::kText;
        return;
    }
    size_t end = buffer_.size();
    if (!finished_) {
        end -= std::min(end - delivered_, reasoning_end_.matched());
        // The newline before </think> belongs to the marker.
        if (newlines_ && end > delivered_ && buffer_[end - 1] == '\n') --end;
    }
    deliver(Kind::kReasoning, end);
}

void OutputParser::scan_text() {
    skip_newlines();
    while (scanned_ < buffer_.size()) {
        const char byte = buffer_[scanned_++];
        size_t found = 0;
        for (StreamMatcher& stop : stops_) {
            if (stop.push(byte)) found = std::max(found, stop.size());
        }
        if (found == 0) continue;
        deliver(Kind::kText, scanned_ - found);
        stopped_ = true;
        return;
    }
    size_t held = 0;
    if (!finished_) {
        for (const StreamMatcher& stop : stops_) held = std::max(held, stop.matched());
    }
    deliver(Kind::kText, buffer_.size() - held);
}

void OutputParser::skip_newlines() {
    while (newlines_to_skip_ > 0 && delivered_ < buffer_.size()) {
        newlines_to_skip_ =
            buffer_[delivered_] == '\n' ? uint8_t(newlines_to_skip_ - 1) : uint8_t{0};
        if (buffer_[delivered_] != '\n') break;
        ++delivered_;
        scanned_ = std::max(scanned_, delivered_);
    }
}

void OutputParser::deliver(Kind kind, size_t end) {
    if (end <= delivered_) return;
    pieces_.push_back({kind, std::string_view(buffer_).substr(delivered_, end - delivered_)});
    delivered_ = end;
}

}  // namespace fathom
