#include "cli/command_line.h"

#include <algorithm>
#include <charconv>

namespace fathom::cli {
namespace {

template <typename Number>
Number parse_number(const std::string& name, const std::string& text, Number low, Number high) {
    Number value{};
    const char* end = text.data() + text.size();
    const std::from_chars_result result = std::from_chars(text.data(), end, value);
    // The negated form also refuses NaN.
    const bool in_range = result.ec == std::errc() && result.ptr == end && value >= low &&
                          value <= high;
    if (!in_range) {
        throw UsageError(name + ": found '" + text + "', wanted a number from " +
                         std::to_string(low) + " to " + std::to_string(high));
    }
    return value;
}

}  // namespace

CommandLine::CommandLine(std::span<const char* const> words, std::span<const Flag> flags) {
    bool only_words = false;
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string_view word = words[i];
        if (only_words || !word.starts_with("--")) {
            words_.emplace_back(word);
            continue;
        }
        if (word == "--") {
            only_words = true;
            continue;
        }
        const size_t equals = word.find('=');
        const std::string_view name = word.substr(0, equals);
        const auto flag = std::find_if(flags.begin(), flags.end(),
                                       [&](const Flag& known) { return name == known.name; });
        if (flag == flags.end()) {
            throw UsageError("unknown option '" + std::string(name) + "'");
        }
        if (flag->value == nullptr) {
            if (equals != std::string_view::npos) {
                throw UsageError(std::string(name) + " takes no value");
            }
            given_.push_back({std::string(name), ""});
        } else if (equals != std::string_view::npos) {
            given_.push_back({std::string(name), std::string(word.substr(equals + 1))});
        } else if (i + 1 < words.size()) {
            given_.push_back({std::string(name), words[++i]});
        } else {
            throw UsageError(std::string(name) + " needs a value: " + flag->value);
        }
    }
}

const CommandLine::Given* CommandLine::find(std::string_view name) const {
    // The last one wins, so that a wrapper script's defaults can be overridden.
    const auto found = std::find_if(given_.rbegin(), given_.rend(),
                                    [&](const Given& given) { return given.name == name; });
    return found == given_.rend() ? nullptr : &*found;
}

bool CommandLine::has(std::string_view name) const { return find(name) != nullptr; }

const std::string& CommandLine::required(std::string_view name) const {
    const Given* given = find(name);
    if (given == nullptr) throw UsageError(std::string(name) + " is missing");
    return given->value;
}

std::string CommandLine::text(std::string_view name, std::string_view fallback) const {
    const Given* given = find(name);
    return given == nullptr ? std::string(fallback) : given->value;
}

int64_t CommandLine::integer(std::string_view name, int64_t fallback, int64_t low,
                             int64_t high) const {
    const Given* given = find(name);
    return given == nullptr ? fallback : parse_number(given->name, given->value, low, high);
}

double CommandLine::number(std::string_view name, double fallback, double low,
                           double high) const {
    const Given* given = find(name);
    return given == nullptr ? fallback : parse_number(given->name, given->value, low, high);
}

std::vector<std::string> CommandLine::all(std::string_view name) const {
    std::vector<std::string> values;
    for (const Given& given : given_) {
        if (given.name == name) values.push_back(given.value);
    }
    return values;
}

std::string help_text(const Command& command) {
    std::string text = std::string("fathom ") + command.name + ": " + command.summary + "\n\n";
    for (const Flag& flag : command.flags) {
        std::string left = std::string("  ") + flag.name;
        if (flag.value != nullptr) left += std::string(" ") + flag.value;
        left.resize(std::max<size_t>(left.size() + 2, 30), ' ');
        text += left + flag.help + "\n";
    }
    text += std::string("\nExamples:\n") + command.examples;
    return text;
}

}  // namespace fathom::cli
