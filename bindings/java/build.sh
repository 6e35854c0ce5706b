# Sourced by the scripts beside it: what is needed to build, and the building itself.
#
#   FATHOM_LIBRARY          the library (default: build/release/lib/libfathom.so.1)
#   FATHOM_CACHE            what is downloaded (default: ~/.cache/fathom)
#   FATHOM_BINDINGS_BUILD   what is built (default: build/bindings)

java_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$java_folder/../.." && pwd)
java_build=$(realpath -m "${FATHOM_BINDINGS_BUILD:-$repository/build/bindings}")/java
maven_cache=$(realpath -m "${FATHOM_CACHE:-$HOME/.cache/fathom}")/m2
natives=$java_build/natives/dev/fathom/natives/linux-$(uname -m)

# The JDK whose version lies in a range, in JAVA_HOME or where Debian and others put them.
find_jdk() { # find_jdk MIN MAX
    local home version
    for home in "${JAVA_HOME:-/none}" /usr/lib/jvm/*; do
        [ -x "$home/bin/javac" ] && [ -e "$home/release" ] || continue
        version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
        if [ "${version:-0}" -ge "$1" ] && [ "$version" -le "$2" ]; then
            echo "$home"
            return
        fi
    done
}

java17=$(find_jdk 17 17)
if [ -z "$java17" ] || ! command -v mvn >/dev/null || ! command -v gcc >/dev/null; then
    {
        apt-get update -qq
        apt-get install -y -qq openjdk-17-jdk-headless maven gcc libc6-dev
    } >&2 || exit 1
    java17=$(find_jdk 17 17)
fi
java_new=$(find_jdk 22 99)
if [ -z "$java_new" ]; then
    echo "java: no JDK 22 or later in /usr/lib/jvm; the provider ffm is left out" >&2
fi

# The shim for JNI, into the folder that becomes the natives jar.
build_shim() {
    mkdir -p "$natives"
    gcc -std=c11 -O2 -Wall -Wextra -Wno-unused-parameter -Werror -fPIC -shared -fvisibility=hidden \
        -I"$repository/include" -I"$java17/include" -I"$java17/include/linux" \
        "$java_folder"/fathom-jni/src/main/c/*.c -o "$natives/libfathom_jni.so.part" &&
        mv "$natives/libfathom_jni.so.part" "$natives/libfathom_jni.so"
}

# Removes what was compiled: Maven does not notice every change of a module that others use.
forget_classes() {
    rm -rf "$java_build"/fathom*/{classes,test-classes,maven-status} "$java_build"/fathom*/*.jar
}

# Maven with everything outside the sources; offline once everything is there.
maven() {
    local offline="" complete
    complete=$maven_cache/complete-$(sha256sum <"$java_folder/checksums.sha256" | cut -c1-16)
    [ -e "$complete" ] && offline=--offline
    JAVA_HOME=${java_new:-$java17} mvn --batch-mode --quiet --strict-checksums $offline \
        -Dmaven.repo.local="$maven_cache" -Dfathom.build="$java_build" \
        -Dfathom.repository="$repository" -Dfathom.java17="$java17" "$@"
}

# Every jar and pom that Maven took is the one that it was when checksums.sha256 was written.
check_downloads() {
    local found
    found=$(cd "$maven_cache" && find . -name '*.jar' -not -path './dev/fathom/*' | sort)
    if ! (cd "$maven_cache" && sha256sum --check --quiet --ignore-missing \
        "$java_folder/checksums.sha256") >&2; then
        echo "java: a download differs from bindings/java/checksums.sha256" >&2
        return 1
    fi
    while read -r jar; do
        if [ -n "$jar" ] && ! grep -qF "  $jar" "$java_folder/checksums.sha256"; then
            echo "java: $jar is not in bindings/java/checksums.sha256" >&2
            return 1
        fi
    done <<<"$found"
}
