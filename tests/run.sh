#!/bin/sh
# Installs what the tests need, builds everything, runs every test.
#
#   sh tests/run.sh [PRESET...]      presets of CMakePresets.json; default: release
#
# The results of a preset lie in build/PRESET/results.xml. Exit code 0 only if every test passed.
set -eu
cd "$(dirname "$0")/.."

sh deploy/install-packages.sh deploy/packages-build.txt deploy/packages-test.txt
# Tools that Debian does not have. The copy of the list tells what .venv was made from.
if ! cmp -s tests/requirements.txt .venv/requirements.txt; then
  python3 -m venv .venv
  .venv/bin/pip install --quiet --requirement tests/requirements.txt
  cp tests/requirements.txt .venv/requirements.txt
fi

[ $# -gt 0 ] || set -- release
for preset in "$@"; do
  cmake --preset "$preset" -DTSENOR_TESTS=ON
  cmake --build --preset "$preset"
  ctest --preset "$preset" --parallel "$(nproc)" --no-tests=error --output-junit results.xml
done
