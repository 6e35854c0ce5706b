#!/usr/bin/env bash
# Runs the conformance program: conformance.sh runtime MODEL FOLDERS. bindings/conformance/run.sh
# calls this with FATHOM_LIBRARY set; the log alone goes to standard output.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${FATHOM_CACHE:-$HOME/.cache/fathom}/rust/target}
[ "$1" = runtime ] || { echo "conformance.sh: no variant '$1'; there is: runtime" >&2; exit 2; }
cargo build --quiet --locked --manifest-path "$here/Cargo.toml" -p conformance >&2
exec "$CARGO_TARGET_DIR/debug/conformance" "$2" "$3"
