// How fast text becomes tokens: tokenizer_bench FOLDER TEXT_FILE...
// One line for each file and one for all together: bytes, ids, best of five passes in processor
// time of one thread. The bar is 30 MB/s for mixed text.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "tokenizer/tokenizer.h"

using namespace fathom;

namespace {

double processor_seconds() {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void measure(const Tokenizer& tokenizer, const char* name, std::string_view text) {
    std::vector<int32_t> ids;
    double best = 1e9;
    for (int pass = 0; pass < 5; ++pass) {
        ids.clear();
        const double begin = processor_seconds();
        tokenizer.encode(text, false, ids);
        best = std::min(best, processor_seconds() - begin);
    }
    std::printf("%-40s %9zu bytes %8zu ids %8.2f ms %7.1f MB/s\n", name, text.size(), ids.size(),
                best * 1e3, static_cast<double>(text.size()) / best * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::printf("usage: tokenizer_bench FOLDER TEXT_FILE...\n");
        return 2;
    }
    try {
        const double begin = processor_seconds();
        const auto tokenizer = Tokenizer::open(Directory(argv[1]));
        std::printf("%-40s loaded in %.1f ms\n", argv[1], (processor_seconds() - begin) * 1e3);
        std::string all;
        for (int i = 2; i < argc; ++i) {
            std::ifstream file(argv[i], std::ios::binary);
            const std::string text{std::istreambuf_iterator<char>(file),
                                   std::istreambuf_iterator<char>()};
            measure(*tokenizer, argv[i], text);
            all += text;
        }
        measure(*tokenizer, "all", all);
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
