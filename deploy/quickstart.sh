#!/bin/sh
# From a clean clone on Debian 12 to proven-optimal masks of real weights: installs what the build
# needs, builds server and client, and runs deploy/demo.sh with them. No GPU is needed.
#
#   sh deploy/quickstart.sh
set -eu
cd "$(dirname "$0")/.."

sh deploy/install-packages.sh deploy/packages-build.txt
# A first build leaves the tests out, so that it needs none of their packages. A build folder that
# is there already keeps its setting.
without_tests=-DTSENOR_TESTS=OFF
[ ! -f build/release/CMakeCache.txt ] || without_tests=""
echo "building build/release/bin/tsenor-server and build/release/bin/tsenor"
# shellcheck disable=SC2086  # no word at all if empty
cmake --preset release $without_tests >/dev/null
cmake --build --preset release --target tsenor-server tsenor
sh deploy/demo.sh build/release/bin
