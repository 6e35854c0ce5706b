#!/usr/bin/env python3
"""Breaks if tests/tidy.py stops seeing what it is there to see, or sees what is not there."""

import unittest

import tidy


def messages(findings):
    return [f"{f.line}: {f.message}" for f in findings]


class Includes(unittest.TestCase):
    def check(self, path, line):
        return list(tidy.check_includes(path, line + "\n"))

    def test_down_is_allowed_and_up_is_not(self):
        self.assertEqual(self.check("src/model/a.cc", '#include "format/json.h"'), [])
        self.assertEqual(self.check("src/tokenizer/a.cc", '#include "base/status.h"'), [])
        self.assertTrue(self.check("src/format/a.cc", '#include "model/config.h"'))
        self.assertTrue(self.check("src/tokenizer/a.cc", '#include "backend/ops.h"'))

    def test_kernels_see_few_headers_and_nobody_sees_kernels(self):
        self.assertEqual(self.check("kernels/cpu/a.cc", '#include "backend/ops.h"'), [])
        self.assertEqual(self.check("kernels/cpu/a.cc", '#include "cpu/dot.inl"'), [])
        self.assertTrue(self.check("kernels/cpu/a.cc", '#include "base/file.h"'))
        self.assertTrue(self.check("src/engine/a.cc", '#include "cpu/cpu_isa.h"'))

    def test_the_command_sees_the_public_header_alone(self):
        self.assertEqual(self.check("src/cli/a.cc", "#include <fathom/fathom.h>"), [])
        self.assertTrue(self.check("src/cli/a.cc", '#include "base/text.h"'))
        self.assertTrue(self.check("src/engine/a.cc", "#include <fathom/fathom.h>"))

    def test_libraries_and_system_headers_have_homes(self):
        self.assertEqual(self.check("src/base/hash.cc", "#include <xxhash.h>"), [])
        self.assertTrue(self.check("src/format/a.cc", "#include <xxhash.h>"))
        self.assertEqual(self.check("src/base/file.cc", "#include <fcntl.h>"), [])
        self.assertTrue(self.check("src/format/a.cc", "#include <sys/stat.h>"))
        self.assertTrue(self.check("src/format/a.cc", "#include <boost/any.hpp>"))
        self.assertEqual(self.check("src/format/a.cc", "#include <vector>"), [])

    def test_one_include_site_each(self):
        site = ("src/tokenizer/a.cc", "#include <pcre2.h>\n")
        self.assertEqual(list(tidy.check_include_sites([site])), [])
        other = ("src/tokenizer/b.cc", "#include <pcre2.h>\n")
        self.assertEqual(len(list(tidy.check_include_sites([site, other]))), 1)


class Banned(unittest.TestCase):
    BAD = r"""
        std::regex r;
        abort();
        std::exit(1);
        _exit(1);
        assert(x);
        setlocale(0, p);
        getenv("A");
        signal(2, f);
        #include <iostream>
        std::cerr << 1;
        printf("a");
        strtod(p, q);
        std::stoi(s);
        atoi(p);
        rand();
        dlopen(p, 1);
        pread(f, p, 1, 0);
        openat(1, p, 0);
        pthread_create(a, b, c, d);
        std::thread t;
        std::to_string(1);
        using namespace std;
        sprintf(p, q);
    """.strip().split("\n")
    GOOD = r"""
        static_assert(x);
        file.abort_reading();
        rows.exit(1);
        my_assert(x);
        // abort()
        const char* s = "exit(1)";
        on_signal(2);
        operand(1);
        std::from_chars(a, b, c);
        using namespace fathom;
        strand(4);
        char c = '"'; int a; char d = '\'';
        auto s = R"(abort();)";
        int million = 1'000'000; f(million);
    """.strip().split("\n")

    def test_bad_lines_are_found(self):
        for line in self.BAD:
            self.assertTrue(list(tidy.check_banned("src/engine/a.cc", line)), line)

    def test_good_lines_are_not(self):
        for line in self.GOOD:
            self.assertEqual(list(tidy.check_banned("src/engine/a.cc", line)), [], line)

    def test_the_one_home_is_free(self):
        self.assertEqual(list(tidy.check_banned("src/base/thread.cc", "pthread_join(t, p);")), [])
        self.assertEqual(list(tidy.check_banned("src/backend/plugin.cc", "dlopen(p, 1);")), [])
        self.assertEqual(list(tidy.check_banned("src/cli/a.cc", 'getenv("TERM");')), [])

    def test_tests_do_not_sleep(self):
        line = "std::this_thread::sleep_for(x);"
        self.assertTrue(list(tidy.check_banned("tests/unit/a.cc", line)))

    def test_todo_needs_an_issue(self):
        self.assertTrue(list(tidy.check_words("src/engine/a.cc", "// TODO: later")))
        self.assertEqual(list(tidy.check_words("src/engine/a.cc", "// TODO(#12): later")), [])


class Sizes(unittest.TestCase):
    def test_columns_spaces_tabs_end(self):
        self.assertEqual(list(tidy.check_sizes("src/a.cc", "x" * 100 + "\n")), [])
        self.assertTrue(list(tidy.check_sizes("src/a.cc", "x" * 101 + "\n")))
        self.assertTrue(list(tidy.check_sizes("src/a.cc", "x \n")))
        self.assertTrue(list(tidy.check_sizes("src/a.cc", "\tx\n")))
        self.assertTrue(list(tidy.check_sizes("src/a.cc", "x")))

    def test_file_length(self):
        self.assertEqual(list(tidy.check_sizes("src/a.cc", "x\n" * 500)), [])
        self.assertTrue(list(tidy.check_sizes("src/a.cc", "x\n" * 501)))
        self.assertEqual(list(tidy.check_sizes(tidy.HEADER, "x\n" * 501)), [])

    def test_function_length(self):
        for head in ("void f(int a) {", "A::A(int a)\n    : a_(a), b_{a} {",
                     "int f() const noexcept {", "auto f(std::span<int> a) -> int {",
                     "void f() {\n  auto g = [](int b) {\n  };"):
            body = "namespace n {\nclass C {\n" + head + "\n" + "  x();\n" * 80 + "}\n};\n}\n"
            found = [m for m in messages(tidy.check_sizes("src/a.cc", body)) if "function" in m]
            self.assertEqual(len(found), 1, head)
            self.assertTrue(found[0].startswith("3:"), found)
        short = "void f() {\n" + "  x();\n" * 68 + "}\n"
        self.assertEqual(list(tidy.check_sizes("src/a.cc", short)), [])
        self.assertTrue(list(tidy.check_sizes("src/a.cc", short.replace("{\n", "{\n\n\n", 1))))

    def test_a_long_table_or_class_is_no_function(self):
        table = "const int kTable[] = {\n" + "  1,\n" * 100 + "};\n"
        self.assertEqual(list(tidy.check_sizes("src/a.cc", table)), [])
        body = "class C {\n" + "  int f() { return 1; }\n" * 100 + "};\n"
        self.assertEqual(list(tidy.check_sizes("src/a.cc", body)), [])


class Tree(unittest.TestCase):
    def test_names_are_unique(self):
        self.assertEqual(list(tidy.check_names(["src/a/x.cc", "src/a/x.h", "tests/unit/y.cc"])), [])
        self.assertEqual(len(list(tidy.check_names(["src/a/x.cc", "tests/unit/x.cc"]))), 1)

    def test_token_path(self):
        files = {"src/a.cc": "int A::begin() {", "src/b.cc": "void finish(int x) {"}
        row = "| x | `{}` | `{}` |\n".format
        readme = "# F\n## The path of a token\n" + row("src/a.cc", "A::begin") + \
            row("src/b.cc", "finish") + "## Next\n" + row("src/c.cc", "f")

        def check(text):
            return list(tidy.check_token_path(text, files.get))

        self.assertEqual(check(readme), [])
        self.assertEqual(len(check(readme.replace("src/b.cc", "src/d.cc"))), 1)
        self.assertEqual(len(check(readme.replace("A::begin", "A::end"))), 1)
        self.assertEqual(len(check("# F\n## How a token goes\n" + row("src/a.cc", "A::begin"))), 1)
        many = "## The path of a token\n" + row("src/a.cc", "A::begin") * 13
        self.assertEqual(len(check(many)), 1)

    def test_tags_name_tests(self):
        def check(header):
            return list(tidy.check_test_tags(header, ["host fork", "abi struct sizes"]))

        self.assertEqual(check("/** [T:host fork] [T:struct\n *  sizes] */"), [])
        self.assertEqual(len(check("/** [T:host fork] [T:host knife] */")), 1)
        self.assertEqual(len(check("/** nothing */")), 1)

    def test_skips_have_reasons(self):
        def check(text, path="tests/host/a.cc"):
            return list(tidy.check_skips(path, text))

        self.assertEqual(check('SKIP("no reference data");'), [])
        self.assertEqual(check('SKIP("ThreadSanitizer owns malloc");'), [])
        self.assertEqual(len(check('if (n == 0) SKIP("no locale here");')), 1)
        self.assertEqual(len(check("SKIP(reason);")), 1)
        self.assertEqual(check('SKIP("no locale");', "src/base/a.cc"), [])

    def test_symbols_agree(self):
        header = "FATHOM_API int32_t fathom_a(void);\nFATHOM_API const char* fathom_b(int32_t x);\n"
        version_map = "F {\n  global:\n    fathom_a;\n    fathom_b;\n  local:\n    *;\n};\n"
        self.assertEqual(list(tidy.check_symbols(header, "fathom_a\nfathom_b\n", version_map)), [])
        self.assertEqual(len(list(tidy.check_symbols(header, "fathom_a\n", version_map))), 1)
        self.assertEqual(len(list(tidy.check_symbols(header, "fathom_a fathom_b fathom_c",
                                                     version_map))), 1)


if __name__ == "__main__":
    unittest.main()
