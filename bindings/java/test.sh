#!/usr/bin/env bash
# Builds the Java binding and runs its tests: JNI on JDK 17, JNI and FFM on the newest JDK, and the
# triage example. build.sh has the variables. The last line is "java: N passed, M failed".
set -uo pipefail
source "$(dirname "$0")/build.sh"

library=$(realpath -m "${FATHOM_LIBRARY:-$repository/build/release/lib/libfathom.so.1}")
if [ ! -e "$library" ]; then
    echo "java: no library at $library; build it (bash tests/run.sh --quick) or set" \
        "FATHOM_LIBRARY" >&2
    exit 2
fi
unset FATHOM_LIBRARY # The tests take the library out of the natives jar.
build_shim && cp "$library" "$natives/libfathom.so.1" &&
    gcc -std=gnu11 -O2 -Wall -Wextra -Wno-missing-field-initializers -Werror \
        -I"$repository/include" "$java_folder/tests/src/test/c/overhead.c" \
        -o "$java_build/overhead" "$natives/libfathom.so.1" -Wl,-rpath,"$natives" || exit 1
python3 "$repository/bindings/generate/generate.py" --check java || exit 1

forget_classes
rm -rf "$java_build"/*/reports-*
# Failures are counted below, from the reports of all runs.
maven -Dmaven.test.failure.ignore=true --file "$java_folder/pom.xml" install || exit 1
maven -Dmaven.test.failure.ignore=true --file "$repository/examples/java-triage/pom.xml" package ||
    exit 1
check_downloads || exit 1
touch "$maven_cache/complete-$(sha256sum <"$java_folder/checksums.sha256" | cut -c1-16)"

grep -hE '^(an event|an open|5,000|before|after)' "$java_build"/*/reports-*/*-output.txt
[ -n "$java_new" ] || echo "java: ffm and jni on a new JVM were skipped: no JDK 22 or later"
python3 - "$java_build" <<'PYTHON'
import glob
import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for path in sorted(glob.glob(sys.argv[1] + "/*/reports-*/TEST-*.xml")):
    for case in tree.parse(path).iter("testcase"):
        if case.find("skipped") is not None:
            skipped += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            print(f"failed: {path.split('/')[-2]} {case.get('classname')} {case.get('name')}")
        else:
            passed += 1
print(f"java: {passed} passed, {failed} failed, {skipped} skipped")
sys.exit(failed != 0 or passed == 0)
PYTHON
