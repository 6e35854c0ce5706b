#!/usr/bin/env bash
# Tests fathom-gateway against the library at FATHOM_LIBRARY (default: that of the release build):
# with OpenAI's Go and Python clients, in a headless Chromium, and under load. Installs the browser
# with apt and the Python client, pinned, into ${FATHOM_CACHE:-~/.cache/fathom}. The last line
# counts.
set -uo pipefail
cd "$(dirname "$0")"
export FATHOM_LIBRARY=$(realpath "${FATHOM_LIBRARY:-../../build/release/lib/libfathom.so.1}")
cache=${FATHOM_CACHE:-$HOME/.cache/fathom}
passed=0 failed=0

if ! command -v go >/dev/null; then
    echo "test.sh: there is no Go; install version 1.21 or later" >&2
    exit 2
fi
go mod download >&2 || exit 2
if ! command -v chromedriver >/dev/null; then
    as_root=$([ "$(id -u)" = 0 ] || echo sudo)
    { $as_root apt-get update && $as_root apt-get install -y --no-install-recommends chromium \
        chromium-driver; } >&2 || exit 2
fi
# The folder is named after what belongs in it, so that a new lock makes a new one.
client=$cache/openai-$(sha256sum clients/testdata/requirements.txt | cut -c 1-16)
if [ ! -e "$client/ready" ]; then
    rm -rf "$client"
    { python3 -m venv "$client" &&
        "$client/bin/pip" install -q --require-hashes --only-binary :all: \
            -r clients/testdata/requirements.txt &&
        touch "$client/ready"; } >&2 || exit 2
fi
export FATHOM_OPENAI_PYTHON=$client/bin/python3

check() { # check NAME COMMAND...: passes when the command succeeds and prints nothing
    local name=$1 output
    shift
    if output=$("$@" 2>&1) && [ -z "$output" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name: $output"
    fi
}

tests() { # tests GO-TEST-ARGUMENTS...: counts the test functions; one that is skipped fails
    local log
    log=$(go test -count=1 -v "$@" 2>&1)
    local result=$?
    echo "$log" | grep -v '^=== '
    passed=$((passed + $(grep -c '^--- PASS' <<<"$log")))
    failed=$((failed + $(grep -cE '^--- (FAIL|SKIP)' <<<"$log")))
    # A program that ends before its tests do has failed, too.
    [ $result = 0 ] || grep -q '^--- FAIL' <<<"$log" || failed=$((failed + 1))
}

check gofmt gofmt -l .
check vet go vet ./...
tests ./...
tests -race -skip Page .
echo "gateway: $passed passed, $failed failed"
[ "$failed" = 0 ]
