#!/usr/bin/env bash
# Writes down the interface of a built library: accept.sh LIBRARY [FILE]. Without FILE the library
# becomes the baseline that later ones are compared with.
set -euo pipefail
library=$(realpath "$1")
cd "$(dirname "$0")/../.."
abidw --exported-interfaces-only --headers-dir include --drop-private-types --no-corpus-path \
    --no-comp-dir-path --no-show-locs --no-elf-needed \
    --out-file "${2:-tests/abi/fathom.abi}" "$library"
