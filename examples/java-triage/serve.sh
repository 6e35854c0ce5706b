#!/usr/bin/env bash
# Builds the binding and the service where that is not done yet, and serves MODEL on PORT (8080):
# serve.sh [MODEL [PORT]]. MODEL is the demo model without one.
set -euo pipefail
source "$(dirname "$0")/../../bindings/java/build.sh"
bash "$java_folder/install.sh" >/dev/null
maven --file "$repository/examples/java-triage/pom.xml" -Dmaven.test.skip=true package >&2
exec "${java_new:-$java17}/bin/java" -Dfathom.cache="$java_build/cache" \
    -jar "$java_build/fathom-triage/fathom-triage-1.0.0.jar" \
    "${1:-$repository/examples/demo-model/model}" "${2:-8080}"
