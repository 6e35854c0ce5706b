#!/usr/bin/env bash
# Checks the Rust binding against the library at FATHOM_LIBRARY (default: that of the release
# build): the raw layer against the header, form, tests, documentation, packages, what an event
# costs, what the README promises, and the application built on it. The last line counts.
set -uo pipefail
cd "$(dirname "$0")"
root=$(realpath ../..)
cache=${FATHOM_CACHE:-$HOME/.cache/fathom}/rust
export FATHOM_LIBRARY=$(realpath "${FATHOM_LIBRARY:-../../build/release/lib/libfathom.so.1}")
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export CARGO_TERM_QUIET=true RUSTDOCFLAGS="-D warnings"
extractor=$root/examples/rust-extractor/Cargo.toml
passed=0 failed=0
mkdir -p "$cache" "$CARGO_TARGET_DIR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Cargo.lock pins the crates and their hashes.
if ! cargo --version >/dev/null 2>&1; then
    echo "test.sh: there is no cargo; install Rust 1.88 or later" >&2
    exit 2
fi

check() { # check NAME COMMAND...: passes when the command succeeds
    local name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $name"; fi
}

tests() { # tests CARGO-ARGUMENTS: counts the test functions
    local log result
    log=$(cargo test --locked "$@" 2>&1)
    result=$?
    [ $result = 0 ] || echo "$log"
    passed=$((passed + $(grep -Eo '^test result: .* ([0-9]+) passed' <<<"$log" |
        awk '{n += $(NF - 1)} END {print n + 0}')))
    failed=$((failed + $(grep -Eo '[0-9]+ failed' <<<"$log" | awk '{n += $1} END {print n + 0}')))
    # A program that does not build, or ends before its tests do, has failed, too.
    [ $result = 0 ] || failed=$((failed + 1))
}

raw_layer() {
    local libclang=$cache/libclang-18.1.1
    if [ ! -e "$libclang/libclang.so" ]; then
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
            --dest "$work" --requirement generate/libclang.txt &&
            python3 -m zipfile -e "$work"/libclang-*.whl "$work/libclang" &&
            mkdir -p "$libclang" &&
            find "$work/libclang" -name libclang.so -exec cp {} "$libclang" \; || return 1
    fi
    LIBCLANG_PATH=$libclang cargo run --locked -p generate -- --check
}

packages() { # Built from their tarballs, where nothing else of this tree is there.
    cargo package --locked --allow-dirty --no-verify -p fathom-sys -p fathom &&
        for crate in "$CARGO_TARGET_DIR"/package/fathom{-sys,}-[0-9]*.crate; do
            tar -xzf "$crate" -C "$work" || return 1
        done &&
        cargo build --manifest-path "$work"/fathom-[0-9]*/Cargo.toml \
            --config "patch.crates-io.fathom-sys.path='$(echo "$work"/fathom-sys-[0-9]*)'"
}

overhead() {
    gcc -std=c11 -O2 -Wall -Wextra -Werror -Wno-missing-field-initializers -shared -fPIC \
        -I"$root/include" -o "$work/libdrain.so" fathom/benches/drain.c "$FATHOM_LIBRARY" &&
        FATHOM_DRAIN=$work/libdrain.so cargo bench --locked -p fathom --bench overhead
}

readme() { # The program of the README, in a crate of a stranger's.
    cargo new --vcs none "$work/hello" &&
        cargo add --manifest-path "$work/hello/Cargo.toml" --path "$PWD/fathom" 2>/dev/null &&
        sed -n '/^```rust$/,/^```$/p' README.md | sed '/^```/d' >"$work/hello/src/main.rs" &&
        (cd "$root" && cargo run --manifest-path "$work/hello/Cargo.toml") >"$work/answer" &&
        diff <(sed -n '/^```text$/,/^```$/p' README.md | sed '/^```/d') <(cat "$work/answer"; echo)
}

check "the raw layer is that of the header" raw_layer
check "a C compiler agrees about the layout" \
    gcc -std=c11 -fsyntax-only -I"$root/include" fathom-sys/layout.c
check "form" cargo fmt --check
check "form of the extractor" cargo fmt --check --manifest-path "$extractor"
check "clippy" cargo clippy --locked --workspace --all-targets -- -D warnings
check "clippy on the extractor" \
    cargo clippy --locked --all-targets --manifest-path "$extractor" -- -D warnings
tests
check "documentation" cargo doc --locked --no-deps
check "packages" packages
check "an event costs at most 50 ns on top of C" overhead
check "the README's first program" readme
tests --manifest-path "$extractor"
echo "rust: $passed passed, $failed failed"
[ $failed = 0 ]
