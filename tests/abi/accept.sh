#!/usr/bin/env bash
# Makes the library given the baseline that later ones are compared with.
set -euo pipefail
library=$(realpath "$1")
cd "$(dirname "$0")/../.."
abidw --headers-dir include --drop-private-types --no-corpus-path --no-comp-dir-path \
    --no-show-locs --no-elf-needed --out-file tests/abi/fathom.abi "$library"
wc -c tests/abi/fathom.abi
