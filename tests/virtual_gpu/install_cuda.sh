#!/usr/bin/env bash
# Installs the CUDA compiler that Fathom's kernels are built with, into a cache outside the source
# tree, and prints the folder that holds bin/nvcc. Run again, it only checks and prints.
#
#   tests/virtual_gpu/install_cuda.sh              compiler, headers, cuobjdump and nvdisasm
#
# The folder is $FATHOM_CUDA_DIR, by default ${XDG_CACHE_HOME:-$HOME/.cache}/fathom/cuda-13.0. The
# wheels come from wherever pip is set up to look; each must have the SHA-256 given here before
# anything in it is unpacked. No GPU and no driver is needed, and nothing is installed elsewhere.
set -euo pipefail

cuda=${FATHOM_CUDA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/fathom/cuda-13.0}
home=$cuda/nvidia/cu13

# There is no 13.0 of cuobjdump and nvdisasm; 13.2 reads what 13.0 wrote.
requirements='nvidia-cuda-nvcc==13.0.88 \
    --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88 \
    --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
nvidia-cuda-crt==13.0.88 \
    --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
nvidia-cuda-cccl==13.0.85 \
    --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
nvidia-cuda-runtime==13.0.96 \
    --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cuobjdump==13.2.51 \
    --hash=sha256:95c69d3ddf0c2c1f535ec44c3433a66aeee19f588d9d22f73356e20b25f12b50
nvidia-cuda-nvdisasm==13.2.51 \
    --hash=sha256:5a7acf77c55d6d2911ed6155d4d5bc156ffadf9df7a68a89b0c1155f4b13688c'

say() { echo "[cuda] $*" >&2; }
die() { echo "[cuda] error: $*" >&2; exit 1; }

# The stamp is written last, so a broken-off installation is never taken for a whole one.
if [ "$(cat "$cuda/STAMP" 2>/dev/null)" = "$requirements" ] && [ -x "$home/bin/nvcc" ]; then
    echo "$home"
    exit 0
fi
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "the pinned wheels are for Linux x86_64"
python3 -m pip --version >/dev/null 2>&1 || die "pip is missing; install python3-pip"

mkdir -p "$(dirname "$cuda")"
exec 9>"$cuda.lock"
flock 9
work=$(mktemp -d "$cuda.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "$requirements" >"$work/requirements.txt"
say "installing the CUDA 13.0 compiler into $cuda"
python3 -m pip install --quiet --no-deps --require-hashes --only-binary :all: --no-compile \
    --disable-pip-version-check --root-user-action=ignore \
    --target "$work/site" --requirement "$work/requirements.txt" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; die "pip could not install the compiler"; }
[ -x "$work/site/nvidia/cu13/bin/nvcc" ] || die "the wheels hold no nvidia/cu13/bin/nvcc"
rm -rf "$cuda"
mv "$work/site" "$cuda"
"$home/bin/nvcc" --version >/dev/null || die "$home/bin/nvcc does not run"
echo "$requirements" >"$cuda/STAMP"
echo "$home"
