#include "cli/terminal.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <iterator>

#include <unistd.h>

#include "cli/command_line.h"

namespace fathom::cli {
namespace {

bool is_terminal(int descriptor) { return isatty(descriptor) == 1; }

}  // namespace

bool stdin_is_terminal() { return is_terminal(STDIN_FILENO); }
bool stdout_is_terminal() { return is_terminal(STDOUT_FILENO); }
bool stderr_is_terminal() { return is_terminal(STDERR_FILENO); }

void print(std::string_view text) {
    const size_t written = fwrite(text.data(), 1, text.size(), stdout);
    if (written != text.size() || fflush(stdout) != 0) {
        throw Failure("stdout: the reader is gone");
    }
}

void print_error(std::string_view text) {
    fwrite(text.data(), 1, text.size(), stderr);
    fputc('\n', stderr);
}

std::string dim(std::string_view text) {
    if (!stdout_is_terminal()) return std::string(text);
    return "\x1b[90m" + std::string(text) + "\x1b[0m";
}

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), visible_(stderr_is_terminal()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::show(uint64_t done, uint64_t total) {
    if (!visible_ || total == 0) return;
    const int percent = static_cast<int>(100.0 * static_cast<double>(done) /
                                         static_cast<double>(total));
    if (percent == percent_) return;
    percent_ = percent;
    constexpr int kWidth = 30;
    std::string bar(static_cast<size_t>(percent * kWidth / 100), '#');
    bar.resize(kWidth, '.');
    fprintf(stderr, "\r%s [%s] %3d %% of %s", label_.c_str(), bar.c_str(), percent,
            human_bytes(total).c_str());
    fflush(stderr);
    drawn_ = true;
}

void ProgressBar::clear() {
    if (!drawn_) return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    drawn_ = false;
    percent_ = -1;
}

std::string human_bytes(uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
    double value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 1000 && unit + 1 < std::size(kUnits)) {
        value /= 1000;
        ++unit;
    }
    return decimals(value, unit == 0 ? 0 : value < 10 ? 2 : 1) + " " + kUnits[unit];
}

std::string decimals(double value, int digits) {
    char text[64];
    const std::to_chars_result end =
        std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
    return std::string(text, end.ptr);
}

}  // namespace fathom::cli
