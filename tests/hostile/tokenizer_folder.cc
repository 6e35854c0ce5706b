// Number 24 of the list of bad inputs for the files of a tokenizer: what a folder can do to a
// reader that trusts its names.
#include <string>
#include <string_view>

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <catch2/catch_test_macros.hpp>

#include "base/status.h"
#include "hostile/heap_meter.h"
#include "hostile/temporary_folder.h"
#include "hostile/without_openat2.h"
#include "unit/tokenizer_builder.h"

using namespace fathom;
using namespace fathom::test;

namespace {

/// A folder whose tokenizer opens, without the file of this name.
void prepare(const TemporaryFolder& folder, std::string_view name) {
    if (name == "tokenizer_config.json" || name == "chat_template.jinja") {
        folder.write("tokenizer.json", TokenizerBuilder().json());
    }
    folder.remove(name);
}

}  // namespace

// Breaks when a tokenizer's file may be a link to a secret of the host, a FIFO on which the host
// waits for ever, a device without end, or larger than the memory.
TEST_CASE("hostile C24: the same for the files of a tokenizer", "[hostile]") {
    with_and_without_openat2([] {
        const TemporaryFolder outside;
        outside.write("secret", TokenizerBuilder().json());
        for (const std::string name : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                       "chat_template.jinja"}) {
            CAPTURE(name);
            const TemporaryFolder folder;
            prepare(folder, name);
            const auto refusal = [&](Status status = Status::kFormat) {
                std::string message = error_message([&] { open_folder(folder.path()); }, status);
                CHECK(message.starts_with(folder.path(name) + ": "));
                folder.remove(name);
                return message.substr(message.find(": ") + 2);
            };
            for (const std::string& target :
                 {outside.path("secret"), std::string("/dev/zero"), std::string("/etc/passwd"),
                  std::string("/proc/self/exe"), name}) {
                CAPTURE(target);
                folder.link(name, target);
                CHECK(refusal() == "cannot open: the link leads out of the folder");
            }
            folder.link(name, "nowhere");
            CHECK(refusal(Status::kIo) == "cannot open: ENOENT (errno 2)");
            REQUIRE(mkfifo(folder.path(name).c_str(), 0600) == 0);
            CHECK(refusal() == "not a regular file");
            std::filesystem::create_directory(folder.path(name));
            CHECK(refusal() == "not a regular file");
            // Only root can make a device; elsewhere the links above have to do.
            if (mknod(folder.path(name).c_str(), S_IFCHR | 0600, makedev(1, 5)) == 0) {
                CHECK(refusal() == "not a regular file");
            }
            const HeapMeter meter;
            folder.write(name, "{");
            folder.resize(name, 10'000'000'000);
            CHECK(refusal().starts_with("file has 10000000000 bytes, the limit is "));
            CHECK(meter.peak_bytes() < (uint64_t{1} << 20));
            folder.write("tokenizer.json", TokenizerBuilder().json());
            CHECK(encode(*open_folder(folder.path()), "ok") == std::vector<int32_t>{'o', 'k'});
        }
    });
}

// Breaks when a link that stays in the folder, as download caches make them, is refused where the
// kernel cannot follow it safely by itself.
TEST_CASE("hostile C24: a link inside the folder, and a chain of them", "[hostile]") {
    with_and_without_openat2([] {
        const TemporaryFolder folder;
        folder.write("blob", TokenizerBuilder().json());
        folder.link("hop", "blob");
        folder.link("tokenizer.json", "hop");
        CHECK(encode(*open_folder(folder.path()), "ok") == std::vector<int32_t>{'o', 'k'});
        folder.link("hop", "tokenizer.json");
        CHECK(error_message([&] {
                  open_folder(folder.path());
              }).ends_with("the link leads out of the folder"));
    });
}
