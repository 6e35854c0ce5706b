#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// What people look at. Colour and progress bars appear only where a person can see them.
namespace fathom::cli {

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

/// Writes to stdout at once; throws Failure when the reader is gone.
void print(std::string_view text);

/// Writes one line to stderr.
void print_error(std::string_view text);

/// `text` in grey when stdout is a terminal.
std::string dim(std::string_view text);

/// A bar on stderr that redraws itself, and nothing at all when stderr is not a terminal.
class ProgressBar {
public:
    explicit ProgressBar(std::string label);
    ~ProgressBar();
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void show(uint64_t done, uint64_t total);
    void clear();

private:
    std::string label_;
    bool visible_;
    bool drawn_ = false;
    int percent_ = -1;
};

/// "31.4 GB", for people.
std::string human_bytes(uint64_t bytes);
/// `value` with a fixed number of decimals.
std::string decimals(double value, int digits);

}  // namespace fathom::cli
