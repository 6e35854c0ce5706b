#!/usr/bin/env bash
# Installs what is missing, builds Fathom and runs all its tests. Works on a bare Debian 12 machine.
#
#   bash tests/run.sh              everything
#   bash tests/run.sh --quick      release build and its tests only
#   bash tests/run.sh --coverage   everything, and line coverage of src/format and src/tokenizer
#   bash tests/run.sh STAGE...     these stages only: see the list at the end of this file
#
# Each stage writes build/logs/STAGE.log; the end of it is shown when the stage fails. The last line
# counts checks: one a test case, one a stage that is a single check.
set -uo pipefail
cd "$(dirname "$0")/.."

jobs=${JOBS:-$(nproc)}
logs=build/logs
passed=0 failed=0 skipped=0
failed_stages=""

export CTEST_OUTPUT_ON_FAILURE=1 CLICOLOR_FORCE=0
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:detect_leaks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# ---- stages: each is a function that fails if a check of its own fails ------------------------

build() { # build PRESET [cmake options] [-- targets]
    local preset=$1 options=() targets=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    [ $# -gt 0 ] && { shift; targets=(--target "$@"); }
    # Sanitizers make the compiler suspect what it does not suspect otherwise, so there warnings are
    # only shown; both compilers' plain builds are free of them.
    case $preset in
        release | clang) options+=(-DFATHOM_WERROR=ON) ;;
    esac
    cmake --preset "$preset" -DFATHOM_BUILD_TESTS=ON "${options[@]}" &&
        cmake --build "build/$preset" --parallel "$jobs" "${targets[@]}"
}

stage_dependencies() { bash cmake/install_dependencies.sh --tests; }

stage_release() { build release; }

stage_unit() { ctest --test-dir build/release --verbose --parallel "$jobs"; }

stage_tidy() { python3 tests/tidy.py && (cd tests && python3 -m unittest -v test_tidy); }

# The oracle needs NumPy; Debian's Python has it, another one that comes first may not.
python_with_numpy() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import numpy' 2>/dev/null && break
    done
    echo "$python"
}

stage_reference() {
    (cd tests/reference && "$(python_with_numpy)" -m unittest discover -v -p 'test_*.py')
}

stage_command() { (cd tests/cli && "$(python_with_numpy)" -m unittest -v test_command); }

stage_docs() { mkdir -p build/docs && doxygen docs/Doxyfile; }

stage_header() { python3 tests/abi/check_header.py gcc clang-14; }

stage_library() {
    python3 tests/abi/check_library.py build/release/lib/libfathom.so.1 build/release || return 1
    local change
    bash tests/abi/accept.sh build/release/lib/libfathom.so.1 build/fathom.abi || return 1
    abidiff --no-added-syms --suppressions tests/abi/fathom.abignore tests/abi/fathom.abi \
        build/fathom.abi
    change=$?
    [ $change = 0 ] || echo "the ABI differs from tests/abi/fathom.abi; see tests/abi/README.md"
    return $change
}

stage_package() {
    local at=$PWD/build/package
    rm -rf "$at"
    # Installed in one place, moved to another: nothing in it may know where it was.
    cmake --install build/release --prefix "$at/before" && mv "$at/before" "$at/prefix" &&
        cmake -G Ninja -S tests/abi/consumer_cmake -B "$at/cmake" \
            -DCMAKE_PREFIX_PATH="$at/prefix" &&
        cmake --build "$at/cmake" && "$at/cmake/consumer" || return 1
    local pc
    pc=$(find "$at/prefix" -name fathom.pc) || return 1
    export PKG_CONFIG_PATH=${pc%/*}
    # shellcheck disable=SC2046
    gcc -std=c99 -Wall -Wextra -Werror $(pkg-config --cflags fathom) -o "$at/consumer" \
        tests/abi/consumer.c $(pkg-config --libs fathom) &&
        LD_LIBRARY_PATH=$(pkg-config --variable=libdir fathom) "$at/consumer" &&
        "$at/prefix/bin/fathom" --help
}

stage_clang() { build clang -- fathom fathom_command; }

stage_asan() {
    build asan && ctest --test-dir build/asan --verbose --parallel "$jobs"
}

# The programs in which more than one thread uses the library; tests/CMakeLists.txt names the cases.
stage_tsan() {
    build tsan -- fathom_abi_tests fathom_host_tests fathom_simulation_tests &&
        ctest --test-dir build/tsan --verbose -R '^(abi|host)$' &&
        build/tsan/bin/fathom_simulation_tests "[threads]"
}

# By name only: the backend for NVIDIA GPUs, on the virtual GPU. It joins the release build, so that
# `--device cuda --driver build/release/virtual_gpu` works afterwards.
stage_cuda() {
    build release -DFATHOM_CUDA=ON &&
        ctest --test-dir build/release --verbose -R '^(cuda|virtual_gpu)'
}

# What the bindings share, and C. The languages run by name only: they fetch packages of their own.
# One whose tools are not on the machine is skipped, since install_dependencies.sh brings none.
stage_bindings() { bash bindings/test.sh; }

stage_go() { needs go "Go 1.21 or later" && bash bindings/go/test.sh; }

stage_rust() { needs cargo "Rust with cargo" && bash bindings/rust/test.sh; }

# The server written in Go, with the clients that its users have, and in a browser.
stage_gateway() { needs go "Go 1.21 or later" && bash examples/go-gateway/test.sh; }

stage_java() { needs mvn "JDK 17 and Maven" && bash bindings/java/test.sh; }

# The same log in every language, and every function of the header called in each.
stage_conformance() { bash bindings/conformance/run.sh --available; }

needs() { # needs COMMAND WORDS
    command -v "$1" >/dev/null && return
    echo "skipped: needs $2"
    return $skipped_stage
}
skipped_stage=77

stage_coverage() {
    build coverage -- fathom_unit_tests fathom_hostile_tests || return 1
    find build/coverage -name '*.gcda' -delete
    ctest --test-dir build/coverage --verbose --parallel "$jobs" -R '^(unpack|unit|hostile)' ||
        return 1
    local folder result=0
    for folder in format tokenizer; do
        echo "line coverage of src/$folder, wanted 95 %:"
        gcovr --root . --filter "src/$folder/" --fail-under-line 95 build/coverage || result=1
    done
    return $result
}

# ---- running them ------------------------------------------------------------------------------

# Adds up what the test programs of a log say of themselves; a stage without any is one check.
count() { # count STAGE RESULT
    local log=$logs/$1.log counts
    counts=$(python3 tests/tools/count_tests.py "$log" 2>/dev/null) || counts="0 0 0"
    # shellcheck disable=SC2086
    set -- "$1" "$2" $counts
    local good=$3 bad=$4 skip=$5
    if [ "$2" = $skipped_stage ]; then
        skip=1
    elif [ "$2" = 0 ]; then
        [ $((good + bad + skip)) = 0 ] && good=1
    elif [ "$bad" = 0 ]; then
        bad=1
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skip))
    summary="$good passed, $bad failed"
    [ "$skip" = 0 ] || summary="$summary, $skip skipped"
}

run_stage() { # run_stage NAME
    local name=$1 log=$logs/$1.log began=$SECONDS result summary
    number=$((number + 1))
    echo "[$number/$total] $name ..."
    "stage_$name" >"$log" 2>&1
    result=$?
    count "$name" $result
    if [ $result = $skipped_stage ]; then
        echo "[$number/$total] $name: $(tail -n 1 "$log")"
        return 0
    elif [ $result = 0 ]; then
        echo "[$number/$total] $name: ok, $summary, $((SECONDS - began)) s"
        grep -hE '^(tidy|library|header): |^lines: ' "$log" | sed 's/^/    /'
    else
        echo "[$number/$total] $name: FAILED, $summary, $((SECONDS - began)) s; end of $log:"
        tail -n 60 "$log" | sed 's/^/    /'
        failed_stages="$failed_stages $name"
    fi
    return $result
}

quick="dependencies release unit"
all="dependencies release unit tidy reference command header docs library package bindings clang
    asan tsan"
by_name="cuda conformance go rust java gateway coverage fuzz"
case ${1:-} in
    "") stages=$all ;;
    --quick) stages=$quick ;;
    --coverage) stages="$all coverage" ;;
    -*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) stages=$* ;;
esac
# shellcheck disable=SC2086
total=$(set -- $stages; echo $#)
number=0
mkdir -p "$logs"
for stage in $stages; do
    if ! declare -F "stage_$stage" >/dev/null; then
        echo "no stage '$stage'; there are:" $all $by_name >&2
        exit 2
    fi
done
for stage in $stages; do
    run_stage "$stage" && continue
    case $stage in dependencies | release) break ;; esac # Nothing after it can work.
done

echo "took $((SECONDS / 60)) min $((SECONDS % 60)) s on $(nproc) cores"
[ -z "$failed_stages" ] || echo "failed stages:$failed_stages"
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" = 0 ] && [ -z "$failed_stages" ]
