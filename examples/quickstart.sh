#!/usr/bin/env bash
# From a bare Debian 12 machine to a chat with the demo model: installs what is missing, builds the
# library and the command, and starts them. Without a terminal it asks two fixed questions instead.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/release
model=examples/demo-model/model

mkdir -p "$build"
log=$build/quickstart.log
step() { # step TITLE COMMAND...
    local title=$1 began=$SECONDS
    shift
    echo "$title ..."
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log"
        echo "$title: failed; all of its output is in $log" >&2
        exit 1
    fi
    echo "$title: done in $((SECONDS - began)) s"
}

if [ ! -f "$model/config.json" ]; then
    echo "$model has no config.json: this copy of the repository lacks the demo model" >&2
    exit 1
fi
step "[1/3] Installing what is missing" bash cmake/install_dependencies.sh --build
step "[2/3] Configuring" cmake --preset release -DFATHOM_BUILD_TESTS=OFF
step "[3/3] Building (about 3 minutes on two cores)" \
    cmake --build "$build" --parallel "$(nproc)"

fathom=$build/bin/fathom
if [ -t 0 ] && [ -t 1 ]; then
    echo "It turns orders, tickets and invoices into JSON. Before a sum, type /think."
    exec "$fathom" chat --model "$model" --no-think
fi
ask() { # ask FLAG QUESTION
    printf '\n> %s\n' "$2"
    printf '%s' "$2" | "$fathom" run --model "$model" "$1"
}
ask --think "What is 4812 + 977?"
ask --no-think "Hello, Maria Keller called and asked for 3 of the plastic lamp. Kind regards"
