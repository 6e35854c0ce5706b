#!/usr/bin/env bash
# The conformance program: conformance.sh ffm|jni MODEL FOLDERS prints the log.
# FATHOM_LIBRARY names the library. ffm runs on the newest JDK, jni on 17.
set -euo pipefail
source "$(dirname "$0")/build.sh"

variant=$1
stamp=$java_build/conformance.stamp
if [ ! -e "$stamp" ] || [ -n "$(find "$java_folder" "$repository/include" -newer "$stamp" \
    -type f | head -n 1)" ]; then
    build_shim
    forget_classes
    modules=fathom,fathom-jni,conformance${java_new:+,fathom-ffm}
    maven --projects "$modules" --file "$java_folder/pom.xml" package >&2
    check_downloads
    touch "$stamp"
fi
jars=$(printf '%s:' "$java_build"/fathom{,-ffm,-jni,-conformance}/fathom*-1.0.0.jar)
case $variant in
    ffm) java=${java_new:?"no JDK 22 or later"}/bin/java ;;
    jni) java=$java17/bin/java ;;
    *) echo "usage: conformance.sh ffm|jni MODEL FOLDERS" >&2 && exit 2 ;;
esac
access=--enable-native-access=ALL-UNNAMED
exec "$java" $access -ea -Dfathom.provider="$variant" \
    -Dfathom.jni.path="$natives/libfathom_jni.so" -cp "$jars" \
    dev.fathom.conformance.Conformance "$2" "$3"
