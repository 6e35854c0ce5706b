#!/usr/bin/env bash
# Runs the conformance script in each language and compares the logs and the functions called.
#
#   bash bindings/conformance/run.sh                  c, go, rust, java in all their variants
#   bash bindings/conformance/run.sh c go-cgo java    some languages or variants
#   bash bindings/conformance/run.sh --available      all whose tools are on this machine
#
# FATHOM_LIBRARY names the library (default: build/release/lib/libfathom.so.1). A language other
# than C brings bindings/LANGUAGE/conformance.sh, called as 'conformance.sh VARIANT MODEL FOLDERS'
# with FATHOM_LIBRARY set; it builds what it needs (with output on stderr) and prints the log on
# stdout.
set -uo pipefail
cd "$(dirname "$0")/../.."

here=bindings/conformance
library=$(realpath -m "${FATHOM_LIBRARY:-build/release/lib/libfathom.so.1}")
work=$(realpath -m "${FATHOM_BINDINGS_BUILD:-build/bindings}")/conformance
model=$PWD/examples/demo-model/model
folders=$PWD/$here/folders
variants="c go-cgo go-purego rust-runtime java-ffm java-jni"
passed=0 failed=0 skipped=0

if [ ! -e "$library" ]; then
    echo "conformance: no library at $library; build it (bash tests/run.sh --quick) or set" \
        "FATHOM_LIBRARY" >&2
    exit 2
fi
mkdir -p "$work"
python3 $here/call_trace.py build "$library" "$work/trace" || exit 1

build_c() {
    # shellcheck disable=SC2086
    gcc -std=c11 -O1 ${CFLAGS:-} -Wall -Wextra -Werror -Wno-missing-field-initializers -Iinclude \
        -o "$work/conformance" $here/*.c "$library" -lm
}

program() { # program VARIANT: prints the log
    local language=${1%%-*}
    if [ "$language" = c ]; then
        "$work/conformance" "$model" "$folders"
    elif [ -e "bindings/$language/conformance.sh" ]; then
        bash "bindings/$language/conformance.sh" "${1#*-}" "$model" "$folders"
    else
        echo "bindings/$language/conformance.sh is missing" >&2
        return 1
    fi
}

# Java's files say 'JAVA_VERSION="25.0.1"'.
has_new_java() {
    [ -n "$(grep -Ehs '^JAVA_VERSION="(2[2-9]|[3-9][0-9])' "${JAVA_HOME:-/none}/release" \
        /usr/lib/jvm/*/release)" ]
}

tools_of() { # tools_of VARIANT: whether this machine can build and run it
    case $1 in
        go-*) command -v go ;;
        rust-*) command -v cargo ;;
        java-jni) command -v mvn ;;
        java-ffm) command -v mvn && has_new_java ;;
    esac >/dev/null
}

run() { # run VARIANT: 0 when log and functions are as wanted
    local variant=$1 log=$work/$1.log counts=$work/$1.counts
    rm -f "$counts"
    # The library that counts is found as the real one would be: by variable or by the loader.
    FATHOM_LIBRARY=$work/trace/libfathom.so.1 FATHOM_TRACE_COUNTS=$counts \
        LD_LIBRARY_PATH=$work/trace${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
        program "$variant" >"$log" 2>"$work/$variant.err"
    local result=$?
    if [ $result != 0 ]; then
        echo "$variant: the program ended with status $result:"
        tail -n 20 "$work/$variant.err" | sed 's/^/    /'
        return 1
    fi
    # The first difference is the one that matters; what follows is often its consequence.
    if ! diff -u $here/expected.log "$log" >"$work/$variant.diff"; then
        echo "$variant: the log differs from $here/expected.log:"
        head -n 30 "$work/$variant.diff" | sed 's/^/    /'
        return 1
    fi
    if [ ! -e "$counts" ]; then
        echo "$variant: it did not load $work/trace/libfathom.so.1"
        return 1
    fi
    python3 $here/call_trace.py check "$counts" >"$work/$variant.trace" || {
        echo "$variant: functions of fathom.h are missing:"
        sed 's/^/    /' "$work/$variant.trace"
        return 1
    }
    echo "$variant: $(wc -l <"$log") lines as expected;" \
        "$(sed 's/^trace: //' "$work/$variant.trace")"
}

available=""
if [ "${1:-}" = --available ]; then
    available=1
    shift
fi
wanted=""
for name in ${*:-$variants}; do
    matching=""
    for variant in $variants; do
        case $variant in "$name" | "$name"-*) matching="$matching $variant" ;; esac
    done
    if [ -z "$matching" ]; then
        echo "conformance: no language or variant '$name'; there are: $variants" >&2
        exit 2
    fi
    wanted="$wanted$matching"
done
case " $wanted " in *" c "*) build_c || exit 1 ;; esac
for variant in $wanted; do
    if [ -n "$available" ] && ! tools_of "$variant"; then
        echo "$variant: skipped, this machine lacks its tools"
        skipped=$((skipped + 1))
        continue
    fi
    if run "$variant"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
line="conformance: $passed passed, $failed failed"
[ $skipped = 0 ] || line="$line, $skipped skipped"
echo "$line"
[ $failed = 0 ]
