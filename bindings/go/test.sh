#!/usr/bin/env bash
# Checks the Go binding against the library at FATHOM_LIBRARY (default: that of the release build):
# the raw layer against the header, then the same tests through cgo, through purego and with the
# race detector. The last line counts.
set -uo pipefail
cd "$(dirname "$0")"
export FATHOM_LIBRARY=$(realpath "${FATHOM_LIBRARY:-../../build/release/lib/libfathom.so.1}")
passed=0 failed=0

# go.mod pins the modules and go.sum their hashes; a Go from 1.21 on fetches the version in go.mod.
if ! command -v go >/dev/null; then
    echo "test.sh: there is no Go; install version 1.21 or later" >&2
    exit 2
fi

check() { # check NAME COMMAND...: passes when the command succeeds
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}

silent() { # silent COMMAND...: succeeds when the command prints nothing
    local output
    output=$("$@" 2>&1)
    [ -z "$output" ] || { echo "$output"; return 1; }
}

tests() { # tests VARIABLE=VALUE... GO-TEST-ARGUMENTS: counts the test functions
    local log
    log=$(env "$@" 2>&1)
    local result=$?
    echo "$log" | grep -v '^=== '
    passed=$((passed + $(grep -c '^--- PASS' <<<"$log")))
    failed=$((failed + $(grep -c '^--- FAIL' <<<"$log")))
    # A program that ends before its tests do has failed, too.
    [ $result = 0 ] || grep -q '^--- FAIL' <<<"$log" || failed=$((failed + 1))
}

check gofmt silent gofmt -l .
check "the raw layer fits the header" python3 ../generate/generate.py go --check
check "the header's layout" "${CC:-cc}" -fsyntax-only -I../../include testdata/layout.c
check "vet with cgo" env CGO_ENABLED=1 go vet ./...
check "vet without cgo" env CGO_ENABLED=0 go vet ./...
tests CGO_ENABLED=1 go test -count=1 -v ./...
tests CGO_ENABLED=0 go test -count=1 -v ./...
tests CGO_ENABLED=1 go test -count=1 -v -race ./...
tests CGO_ENABLED=1 go test -count=1 -v -race -tags fathom_purego -run 'Close|One|Many|Panic' ./...
echo "go: $passed passed, $failed failed"
[ "$failed" = 0 ]
