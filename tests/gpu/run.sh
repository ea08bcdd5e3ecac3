#!/bin/sh
# On a machine with an NVIDIA GPU: all tests of the CUDA backend, the benchmarks' tables, the server,
# where python3 has PyTorch, PyTorch beside the backend, and compute-sanitizer's four tools over
# tests that touch every kernel. Needs Python with numpy. Writes what it finds, with device, driver, date and
# commit, to tests/gpu/results.md; what a failed step printed stands there, too.
#
#   sh tests/gpu/run.sh [BIN_DIR]     with programs built elsewhere; default: builds preset release
#
# Exit code 0 only if there is a GPU and every step passed.
set -eu
cd "$(dirname "$0")/../.."
results=tests/gpu/results.md

if [ $# -gt 0 ]; then
  bin=$1
else
  bin=build/release/bin
  cmake --preset release -DTSENOR_TESTS=ON -DTSENOR_CUDA=ON
  cmake --build --preset release \
    --target cuda_tests cuda_benchmark cuda_host_benchmark cuda_solve_matrix tsenor-server tsenor
fi
gpus=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

# step TITLE PATTERN COMMAND...: runs the command; of what it prints the lines that match are results.
step() {
  title=$1
  pattern=$2
  shift 2
  printf '\n## %s\n\n' "$title"
  if "$@" >"$log" 2>&1; then
    grep -E "$pattern" "$log" || true
  else
    failed=1
    echo "**Failed:**"
    echo
    tail -n 100 "$log" | sed 's/^/    /'
  fi
}

# sanitize TOOL TESTS: small batches, since a checker takes some hundred times as long.
sanitize() {
  step "compute-sanitizer $1, tests \`$2\`" 'ERROR SUMMARY|RACECHECK SUMMARY' \
    compute-sanitizer --tool "$1" --error-exitcode 1 \
    "$bin/cuda_tests" --gtest_brief=1 --gtest_filter="$2"
}

# Every kernel, in few and small launches.
small='*EveryTypeAndScoreKind*:*TilesCut*:*Strides*:*BitsAreThose*:ExhaustiveTest.*-*FewWideRows*:*WideAndNarrow*'

{
  echo "# Results of tests/gpu/run.sh"
  echo
  echo "Written by the script. $(date -u +%Y-%m-%d), commit $(git describe --always --dirty)."
  echo "GPUs (name, driver):"
  echo
  echo "$gpus" | sed 's/^/- /'
  step "Tests" '^\[ *(=|PASSED|FAILED|SKIPPED)' "$bin/cuda_tests" --gtest_brief=1
  step "Device memory" '.' "$bin/cuda_benchmark"
  step "Host memory" '.' "$bin/cuda_host_benchmark"
  step "Server" '.' python3 tests/gpu/server.py "$bin"
  if python3 -c 'import torch' 2>/dev/null; then
    step "PyTorch beside the backend" '.' python3 tests/gpu/compare_torch.py "$bin"
  else
    printf '\n## PyTorch beside the backend\n\nLeft out: python3 has no PyTorch.\n'
  fi
  # One test makes the device fail; others solve millions of blocks.
  sanitize memcheck '-*Campaign*:*EveryKindAndSize*:*PassesThatEnd*:*FailedForGood*:MemoryGrowthTest.*'
  sanitize racecheck "$small"
  sanitize initcheck "$small"
  sanitize synccheck "$small"
  if [ "$failed" -eq 0 ]; then printf '\nEvery step passed.\n'; else printf '\nSome steps failed.\n'; fi
} >"$results"
cat "$results"
exit "$failed"
