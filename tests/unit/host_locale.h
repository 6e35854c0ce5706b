#pragma once

#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <catch2/catch_test_macros.hpp>

namespace fathom::test {

/// A host whose locale has a decimal comma, until this object goes. The locale is compiled here, so
/// that no machine has to have it set up; a machine without the sources fails, because a test that
/// is skipped tells nobody anything.
class HostLocale {
public:
    explicit HostLocale(const std::string& name) {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "fathom-locale-XXXXXX").string();
        REQUIRE(mkdtemp(pattern.data()) != nullptr);
        folder_ = pattern;
        const std::string command = "localedef -i " + name + " -f UTF-8 " + folder_ + "/" + name +
                                    ".UTF-8 >/dev/null 2>&1";
        const bool compiled = std::system(command.c_str()) == 0;
        setenv("LOCPATH", folder_.c_str(), 1);
        const bool comma = compiled && std::setlocale(LC_ALL, (name + ".UTF-8").c_str()) &&
                           *std::localeconv()->decimal_point == ',';
        if (!comma) restore();
        INFO("wanted: the Debian package locales (cmake/install_dependencies.sh --tests)");
        REQUIRE(compiled);
        REQUIRE(comma);
    }
    ~HostLocale() { restore(); }
    HostLocale(const HostLocale&) = delete;
    HostLocale& operator=(const HostLocale&) = delete;

private:
    void restore() {
        std::setlocale(LC_ALL, "C");
        unsetenv("LOCPATH");
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    std::string folder_;
};

}  // namespace fathom::test
