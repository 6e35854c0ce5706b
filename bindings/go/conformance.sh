#!/usr/bin/env bash
# Prints the log of the conformance program; bindings/conformance/run.sh compares it.
#   conformance.sh cgo|purego MODEL FOLDERS
set -euo pipefail
cd "$(dirname "$0")"
case $1 in
    cgo) cgo=1 ;;
    purego) cgo=0 ;;
    *) echo "conformance.sh: found variant '$1', wanted cgo or purego" >&2; exit 2 ;;
esac
CGO_ENABLED=$cgo exec go run ./conformance "$2" "$3"
