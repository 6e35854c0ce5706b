#!/usr/bin/env bash
# Brings what a Debian 12 machine lacks for building Fathom, and nothing else. Run again, it only
# checks. Packages come through the package managers as this machine has them set up (apt, pip).
#
#   cmake/install_dependencies.sh --build   compiler, CMake and the libraries that Fathom links
#   cmake/install_dependencies.sh --tests   the same, and what tests/run.sh needs
#
# Two libraries are newer than Debian 12's and are built here from their pinned source archives into
# $FATHOM_DEPS_DIR (default: ${XDG_CACHE_HOME:-$HOME/.cache}/fathom/deps), outside the source tree.
# The SHA-256 of each archive is checked before anything in it runs, and that of each installed
# file every time this script runs.
set -euo pipefail

level=${1:---build}
case $level in
    --build | --tests) ;;
    *) echo "usage: $0 [--build|--tests]" >&2; exit 2 ;;
esac

deps=${FATHOM_DEPS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/fathom/deps}
recipe=2  # Raise it when the way in which a library is built here changes.

sentencepiece_version=0.2.1
sentencepiece_sha256=8138cec27c2f2282f4a34d9a016e3374cd40e5c6e9cb335063db66a0a3b71fad
catch2_version=3.7.1
catch2_sha256=c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c
catch2_suite=trixie  # The Debian release whose source package holds that version.

say() { echo "[dependencies] $*"; }
die() { echo "[dependencies] error: $*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "not root and no sudo; as root run: $*"
    fi
}

# ---- Debian packages -------------------------------------------------------------------------

# Commands may come from anywhere, so they are looked up by name; libraries are packages.
# command:package, or a package alone.
build_needs="g++:g++ gcc:gcc cmake:cmake ninja:ninja-build ccache:ccache python3:python3
    pkg-config:pkg-config flock:util-linux ca-certificates libpcre2-dev libutf8proc-dev
    libxxhash-dev rapidjson-dev nlohmann-json3-dev"
test_needs="clang-14:clang-14 clang-format-14:clang-format-14 libclang-rt-14-dev
    abidiff:abigail-tools gcovr:gcovr doxygen:doxygen python3-numpy readelf:binutils locales"

package_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

missing_packages() {
    local need
    for need in "$@"; do
        if [ "${need%%:*}" != "$need" ]; then
            command -v "${need%%:*}" >/dev/null || echo "${need#*:}"
        else
            package_installed "$need" || echo "$need"
        fi
    done
}

apt_install() {
    say "installing with apt: $*"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 && return
    as_root apt-get update -q >"$log" 2>&1 || { tail -n 20 "$log"; die "apt-get update failed"; }
    as_root apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 ||
        { tail -n 20 "$log"; die "apt-get could not install: $*"; }
}

install_packages() {
    local needs=$build_needs packages
    [ "$level" = --build ] || needs="$needs $test_needs"
    # shellcheck disable=SC2086  # A list of words is what is wanted.
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian machine: nothing installed; CMake will name what it does not find"
        return
    fi
    packages=$(missing_packages $needs | sort -u | tr '\n' ' ')
    # shellcheck disable=SC2086
    [ -z "$packages" ] || apt_install $packages
}

# ---- Source archives -------------------------------------------------------------------------

archive_good() { [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status; }

# Downloads an upstream archive out of a Debian source package. The machine's own list of sources
# stays as it is: apt works on a list and on index files in a temporary folder.
download_debian_source() {
    local package=$1 file=$2 work=$3 uri keyring
    uri=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' \
        'Created-By: Packages' | awk '$1 == "Debian" && $2 !~ /-/ && $3 == "main" {print $4; exit}')
    [ -n "$uri" ] || die "apt knows no Debian archive to fetch the source of $package from"
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb-src [signed-by=$keyring] $uri $catch2_suite main" >"$work/sources.list"
    local options="-q -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=-
        -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o Acquire::Languages=none
        -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086
    (cd "$work" && apt-get $options update && apt-get $options source --download-only "$package") \
        >"$log" 2>&1 || { tail -n 20 "$log"; die "apt could not fetch the source of $package"; }
    [ -f "$work/$file" ] || die "the source package of $package in $catch2_suite has no $file"
}

# Downloads the source distribution of a Python package. pip checks the hash before it runs a line.
download_python_source() {
    local package=$1 version=$2 sha256=$3 work=$4
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
    echo "$package==$version --hash=sha256:$sha256" >"$work/requirements.txt"
    python3 -m pip download --quiet --no-deps --no-binary "$package" --require-hashes \
        --dest "$work" --requirement "$work/requirements.txt" >"$log" 2>&1 ||
        { tail -n 20 "$log"; die "pip could not fetch $package $version"; }
}

# Leaves the archive, with the right checksum, in $deps/archives.
fetch() {
    local name=$1 file=$2 sha256=$3 work
    archive_good "$deps/archives/$file" "$sha256" && return
    say "downloading $file"
    work=$(mktemp -d "$deps/download.XXXXXX")
    case $name in
        catch2) download_debian_source catch2 "$file" "$work" ;;
        sentencepiece)
            download_python_source sentencepiece "$sentencepiece_version" "$sha256" "$work" ;;
    esac
    archive_good "$work/$file" "$sha256" ||
        die "$file: SHA-256 is $(sha256sum "$work/$file" | cut -d ' ' -f 1), wanted $sha256"
    mkdir -p "$deps/archives"
    mv "$work/$file" "$deps/archives/$file"
    rm -rf "$work"
}

# ---- Builds ----------------------------------------------------------------------------------

# A finished prefix holds SHA256SUMS of its files and how it was made.
prefix_good() {
    local prefix=$1 stamp=$2
    [ "$(cat "$prefix/STAMP" 2>/dev/null)" = "$stamp" ] &&
        (cd "$prefix" && sha256sum --check --status SHA256SUMS)
}

seal_prefix() {
    local prefix=$1 stamp=$2
    (cd "$prefix" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum \
        >SHA256SUMS && echo "$stamp" >STAMP)
}

replace() {  # replace FILE OLD NEW: fails if OLD is not there, so that no change is lost unseen.
    grep -qF -- "$2" "$1" || die "$1: '$2' not found; the recipe does not fit this version"
    python3 - "$@" <<'PYTHON'
import sys
path, old, new = sys.argv[1:]
text = open(path, encoding="utf-8").read()
open(path, "w", encoding="utf-8").write(text.replace(old, new))
PYTHON
}

# SentencePiece ends the process and writes to stderr when an internal check fails; inside a host it
# must throw and be silent instead.
teach_sentencepiece_manners() {
    local src=$1/src lite=$1/third_party/protobuf-lite
    replace "$src/common.h" '  ~Die() {
    std::cerr << std::endl;
    if (die_) {' '  ~Die() noexcept(false) {
    if (die_) {'
    replace "$src/common.h" 'int operator&(std::ostream &) { return 0; }' \
        'int operator&(const NullStream &) { return 0; }'
    replace "$src/common.h" 'class Die {' 'struct NullStream {
  template <typename T>
  const NullStream &operator<<(const T &) const { return *this; }
};

class Die {'
    replace "$src/common.h" 'std::cerr <<' '::sentencepiece::error::NullStream() <<'
    replace "$src/error.cc" \
        '    std::cerr << "Program terminated with an unrecoverable error." << std::endl;
    ShutdownLibrary();
    exit(-1);' '    throw std::logic_error("SentencePiece: a check of its own failed");'
    replace "$src/error.cc" '    ShutdownLibrary();
    exit(code);' '    throw std::logic_error("SentencePiece: it asked to end the process");'
    replace "$src/error.cc" '#include <cstring>' '#include <cstring>
#include <stdexcept>'
    replace "$lite/common.cc" 'static LogHandler* log_handler_ = &DefaultLogHandler;' \
        'static LogHandler* log_handler_ = &NullLogHandler;'
}

configure() {
    cmake -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
        -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG -ffunction-sections -fdata-sections" \
        -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "$@"
}

compile_sentencepiece() {
    local source=$1 build=$2 prefix=$3
    teach_sentencepiece_manners "$source/sentencepiece"
    configure -S "$source/sentencepiece" -B "$build" -DCMAKE_CXX_VISIBILITY_PRESET=hidden \
        -DCMAKE_VISIBILITY_INLINES_HIDDEN=ON -DSPM_ENABLE_SHARED=OFF -DSPM_ENABLE_TCMALLOC=OFF
    ninja -C "$build" sentencepiece-static
    mkdir -p "$prefix/lib" "$prefix/include" "$prefix/licenses"
    cp "$build/src/libsentencepiece.a" "$prefix/lib/"
    cp "$source/sentencepiece/src/sentencepiece_processor.h" "$prefix/include/"
    cp "$source/sentencepiece/LICENSE" "$prefix/licenses/sentencepiece"
    local part
    for part in absl darts_clone protobuf-lite; do
        cp "$source/sentencepiece/third_party/$part/LICENSE" "$prefix/licenses/$part"
    done
}

compile_catch2() {
    local source=$1 build=$2 prefix=$3
    configure -S "$source" -B "$build" -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_CXX_STANDARD=20 \
        -DCMAKE_INSTALL_LIBDIR=lib -DCATCH_INSTALL_DOCS=OFF -DBUILD_TESTING=OFF
    ninja -C "$build" install
}

build() {
    local name=$1 version=$2 file=$3 sha256=$4 prefix=$deps/$1-$2 stamp work
    fetch "$name" "$file" "$sha256"
    stamp="$sha256 recipe $recipe $(c++ -dumpfullversion -dumpversion) $(uname -m)"
    prefix_good "$prefix" "$stamp" && return
    say "building $name $version (about half a minute on two cores)"
    work=$(mktemp -d "$deps/build.XXXXXX")
    mkdir "$work/source"
    tar -xzf "$deps/archives/$file" -C "$work/source" --strip-components 1
    rm -rf "$prefix"
    # Not 'compile || die': the left side of || would run on after a failed command.
    set +e
    (set -e; "compile_$name" "$work/source" "$work/build" "$prefix") >"$log" 2>&1
    local result=$?
    set -e
    [ $result = 0 ] || { tail -n 30 "$log"; die "$name $version did not build in $work"; }
    seal_prefix "$prefix" "$stamp"
    rm -rf "$work"
}

# ----------------------------------------------------------------------------------------------

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_packages
mkdir -p "$deps"
exec 9>"$deps/lock"
flock 9  # Two builds on one machine share the cache.
build sentencepiece "$sentencepiece_version" "sentencepiece-$sentencepiece_version.tar.gz" \
    "$sentencepiece_sha256"
[ "$level" = --build ] ||
    build catch2 "$catch2_version" "catch2_$catch2_version.orig.tar.gz" "$catch2_sha256"
say "everything for '${level#--}' is there (libraries built from source: $deps)"
