#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fathom::cli {

/// Wrong use of the command: exit code 2 and a pointer to --help.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// The work failed: exit code 1 and the message on stderr.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// One option that a command takes.
struct Flag {
    const char* name;   // "--model"
    const char* value;  // what stands for its value in the help text; null: a switch
    const char* help;
};

/// The parsed words after the command's name. Options may be written `--name value` or
/// `--name=value`; everything after `--` is a plain word.
class CommandLine {
public:
    CommandLine(std::span<const char* const> words, std::span<const Flag> flags);

    bool has(std::string_view name) const;
    /// The option's value; throws UsageError when it is missing.
    const std::string& required(std::string_view name) const;
    std::string text(std::string_view name, std::string_view fallback) const;
    int64_t integer(std::string_view name, int64_t fallback, int64_t low, int64_t high) const;
    double number(std::string_view name, double fallback, double low, double high) const;
    std::vector<std::string> all(std::string_view name) const;
    const std::vector<std::string>& words() const { return words_; }

private:
    struct Given {
        std::string name;
        std::string value;
    };
    const Given* find(std::string_view name) const;

    std::vector<Given> given_;
    std::vector<std::string> words_;
};

inline constexpr size_t kAnyWords = SIZE_MAX;

/// A command: its flags, help and body. The body returns the exit code.
struct Command {
    const char* name;
    const char* summary;
    const char* examples;
    std::span<const Flag> flags;
    size_t max_words;  // beside the flags; a text of several words is one, in quotes
    int (*run)(const CommandLine& line);
};

std::string help_text(const Command& command);

}  // namespace fathom::cli
