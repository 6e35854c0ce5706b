#!/usr/bin/env bash
# Builds the jars, puts them into the Maven repository of ${FATHOM_CACHE:-~/.cache/fathom}/m2, and
# prints the class path of a program that uses them. FATHOM_LIBRARY names the library (default:
# build/release/lib/libfathom.so.1), which goes into the natives jar.
set -euo pipefail
source "$(dirname "$0")/build.sh"

library=$(realpath -m "${FATHOM_LIBRARY:-$repository/build/release/lib/libfathom.so.1}")
if [ ! -e "$library" ]; then
    echo "java: no library at $library; build it (bash examples/quickstart.sh) or set" \
        "FATHOM_LIBRARY" >&2
    exit 2
fi
stamp=$java_build/install.stamp
if [ ! -e "$stamp" ] || [ -n "$(find -L "$java_folder" "$repository/include" "$library" \
    -newer "$stamp" -type f | head -n 1)" ]; then
    build_shim
    cp "$library" "$natives/libfathom.so.1"
    forget_classes
    maven -Dmaven.test.skip=true --file "$java_folder/pom.xml" install >&2
    check_downloads
    touch "$stamp"
fi
printf '%s:' "$java_build"/fathom{,-jni}/fathom*-1.0.0.jar
[ -z "$java_new" ] || printf '%s:' "$java_build"/fathom-ffm/fathom-ffm-1.0.0.jar
echo "$java_build/fathom-natives/fathom-natives-1.0.0-linux-$(uname -m).jar"
