#!/usr/bin/env bash
# Tests what the bindings share: the generator, the raw layers that are checked in, the conformance
# script in C and the chat in C. Each language has a test.sh of its own in its folder.
#
#   bash bindings/test.sh
#
# FATHOM_LIBRARY names the library (default: build/release/lib/libfathom.so.1). Needs gcc, python3,
# and what builds Fathom; FATHOM_BINDINGS_BUILD moves what this builds out of build/bindings.
set -uo pipefail
cd "$(dirname "$0")/.."

library=$(realpath -m "${FATHOM_LIBRARY:-build/release/lib/libfathom.so.1}")
export FATHOM_LIBRARY=$library PYTHONDONTWRITEBYTECODE=1
passed=0 failed=0

if [ ! -e "$library" ]; then
    echo "bindings: no library at $library; build it (bash tests/run.sh --quick) or set" \
        "FATHOM_LIBRARY" >&2
    exit 2
fi

check() { # check NAME COMMAND...: one check
    echo "--- $1"
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

units() { # units FOLDER: each test case is a check
    local output
    echo "--- unit tests of $1"
    output=$(cd "$1" && python3 -m unittest discover -p 'test_*.py' 2>&1)
    if [ $? = 0 ]; then
        passed=$((passed + $(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} .*/\1/p' <<<"$output")))
    else
        failed=$((failed + 1))
        echo "$output"
    fi
}

compilers=gcc
for other in clang-14 clang; do
    command -v $other >/dev/null && { compilers="gcc $other"; break; }
done

units bindings/generate
units bindings/conformance
# shellcheck disable=SC2086
check "the layout that compilers see" python3 bindings/generate/layout_probe.py $compilers
check "the raw layers" python3 bindings/generate/generate.py --check
check "the conformance script in C" bash bindings/conformance/run.sh c
sanitize="-g -fsanitize=address,undefined -fno-sanitize-recover=all"
check "the same with sanitizers" env CFLAGS="$sanitize" bash bindings/conformance/run.sh c
units examples/c-chat
echo "bindings: $passed passed, $failed failed"
[ $failed = 0 ]
